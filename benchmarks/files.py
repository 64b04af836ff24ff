"""Files that are either whole or absent: the one way in which this project writes anything that is read again.

A file is written under a temporary name in the same folder, flushed to disk, and renamed. A kill at any moment leaves
either the old file, or the new one, and at worst a temporary file that no reader looks at.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.errors import RecordError

TEMPORARY = ".tmp-"
"""How the names of unfinished files begin."""


def _sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable (POSIX: the folder's own entry must reach the disk too)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes ``path``, durably, and on failure it is removed.

    The temporary name keeps the suffix of ``path`` (libraries choose a format by it) and begins with ``.tmp-``.

    Raises:
        OSError: the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The process's file mode mask (``mkstemp`` ignores it and makes private files)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, atomically and durably."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def shipped(folder: str) -> Path:
    """A folder that is installed beside this package: ``mm_configs`` or ``results``.

    It is not looked up as a package: in a user's folder that holds a ``results`` of its own, as the default ``--out``
    makes one, Python could find that one first.
    """
    return Path(__file__).resolve().parents[1] / folder


def remove_folder(folder: Path) -> None:
    """Remove a folder so that it is gone at once: a kill on the way leaves no half of it under its name."""
    doomed = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder.parent))
    folder.rename(doomed / folder.name)
    shutil.rmtree(doomed)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed left in ``folder`` and below; nobody may be writing there."""
    for leftover in list(folder.rglob(f"{TEMPORARY}*")):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two processes never work on the same run.

    The lock belongs to the process and vanishes with it, so a killed run leaves none behind.

    Raises:
        RecordError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RecordError(f"{folder}: another process is working on this run; wait for it or stop it") from error
        sweep(folder)
        yield


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where generated data lie: ``$DETAILCLIP_BENCH_CACHE``, or ``detailclip-bench`` in the user's cache folder."""
    named = os.environ.get("DETAILCLIP_BENCH_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "detailclip-bench"
