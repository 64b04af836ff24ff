"""Getting one published file over HTTP: it can be stopped at any moment and taken up again, and is checked.

What has arrived lies beside its place as ``<name>.part``. Nothing here knows what a file is for.
"""

import fcntl
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import DataError

ByteProgress = Callable[[int, int | None], None]
"""Called with (bytes done, bytes in all); the latter is None where the server does not tell."""


@dataclass(frozen=True)
class Download:
    """One file to fetch: where it is published, where it goes and what is known of its content.

    Attributes:
        url: its address, http or https.
        filename: its path beneath the folder it is fetched into, joined by "/" (``dtd/dtd-r1.0.1.tar.gz``). Of a data
            set that folder is ``<data root>/<name>``, and an archive is unpacked into the folder in which it lies.
        sha256: of the content, where it is known: 64 hexadecimal digits, or the first ones where the publisher gives
            no more.
        md5: the same of the content's md5 (32 digits), as many publishers give it.
        size: bytes, where they are known.
    """

    url: str
    filename: str
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None

    @property
    def checked(self) -> bool:
        """Whether a digest tells if the content is right."""
        return bool(self.sha256 or self.md5)


_POLL = 0.2  # seconds between looks at another process's progress


def fetch(download: Download, folder: Path, progress: ByteProgress | None = None) -> Path:
    """Fetch a file, unless it is there, and check it.

    Two processes may ask for the same file: one fetches it, the other waits and shows the same progress.

    Args:
        download: what to fetch.
        folder: beneath it the file gets its ``filename``; made if need be.
        progress: told the bytes that have arrived.

    Returns:
        The path of the whole file.

    Raises:
        DataError: the server cannot be reached or refuses, the connection broke too often, the content is not the
            published one, or the disk is full. What has arrived is kept unless it is wrong.
    """
    from benchmarks.transfer import Transfer  # loads the HTTP libraries

    target = folder / download.filename
    report = progress or (lambda done, total: None)
    if not _there(download, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(beside(target, ".part"), report) as part:
            if not _there(download, target):  # the process that held the lock may have fetched it
                Transfer(download, target, part, report).run()
    return target


def beside(target: Path, suffix: str) -> Path:
    """The path of what belongs to a file while it is unfinished."""
    return target.with_name(target.name + suffix)


def _there(download: Download, target: Path) -> bool:
    """Whether the file is there.

    Raises:
        DataError: another content lies in its place, which may be the user's own.
    """
    if not target.is_file():
        return False
    found = defect(download, target)
    if found:
        raise DataError(f"{target}: {found}; remove it, and it is fetched from {download.url}")
    return True


def defect(download: Download, path: Path) -> str | None:
    """How a file differs from what is known of it."""
    size = path.stat().st_size
    if download.size not in (None, size):
        return f"has {size:,} bytes, but {download.size:,} are published"
    for name, expected in (("sha256", download.sha256), ("md5", download.md5)):
        if expected:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, name).hexdigest()
            if not found.startswith(expected.lower()):
                return f"its {name} is {found}, but {expected} is published"
    return None


@contextmanager
def _locked(path: Path, report: ByteProgress) -> Iterator[io.FileIO]:
    """The unfinished file, open and held by this process alone; an empty one is removed in the end.

    The lock is the file's own, so that nothing else lies about. The one who held it before may have renamed the
    file: then what was waited for is no longer the one under this name.
    """
    while True:
        with path.open("ab+", buffering=0) as stream:
            while not _try_lock(stream):
                report(os.fstat(stream.fileno()).st_size, None)
                time.sleep(_POLL)
            if not _same(path, stream):
                continue
            try:
                yield stream
            finally:
                if _same(path, stream) and not os.fstat(stream.fileno()).st_size:
                    path.unlink()
            return


def _try_lock(stream: io.FileIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same(path: Path, stream: io.FileIO) -> bool:
    """Whether the open file is the one that lies under this path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False
