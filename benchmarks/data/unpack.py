"""Archives of data sets taken apart, without trusting them.

Whatever an archive says, only plain files and folders come out, beneath the folder that was named. They are written
into a folder of their own and moved to their places when all of them are whole.
"""

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, cast

from benchmarks.download import ByteProgress
from benchmarks.errors import DataError
from benchmarks.files import TEMPORARY

_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_BLOCK = 1 << 20
_RATIO = 200  # pictures do not shrink; the arrays and tables among the data sets shrink to a tenth
_ALWAYS = 1 << 26  # bytes that any archive may unpack to
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    UnicodeDecodeError,
    NotImplementedError,  # a compression that Python does not know
)


class _Entry(NamedTuple):
    """One thing in an archive: a file with its content, or a folder (``open`` is None)."""

    name: str
    open: Callable[[], IO[bytes]] | None


def is_archive(name: str) -> bool:
    """Whether ``unpack`` takes a file of this name apart."""
    return name.lower().endswith((*_TAR_SUFFIXES, ".zip", ".gz"))


def unpack(archive: Path, folder: Path, progress: ByteProgress | None = None) -> tuple[str, ...]:
    """Unpack an archive into a folder, beside and over what is there.

    A file appears in its place only when the whole archive has been read without a fault; what an interrupted call
    left is removed by the next one. One process at a time may unpack the same archive.

    Args:
        archive: a .zip, a .tar (plain, .gz, .bz2, .xz) or a single file's .gz.
        folder: where its content goes; made if need be.
        progress: told (bytes of the archive that were read, its size).

    Returns:
        The names of what now lies in ``folder`` because of it, at the topmost level.

    Raises:
        DataError: the archive is damaged or encrypted; it holds a path that leads out of the folder, a link to
            something that is not in it, a device, or far more bytes than its own size can explain; the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{TEMPORARY}{archive.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with _opened(archive) as (entries, stream):
            _Extraction(archive, temporary, stream, progress or (lambda done, total: None)).run(entries)
        return _move(temporary, folder)
    except _DAMAGE as error:
        raise _refusal(archive, f"is damaged ({' '.join(str(error).split()) or type(error).__name__})") from error
    except OSError as error:
        if error.errno is None:  # bz2 has no error of its own
            raise _refusal(archive, f"is damaged ({error})") from error
        raise DataError(
            f"{archive}: cannot be unpacked into {folder} ({error.strerror}); mend that and start again"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _refusal(archive: Path, reason: str) -> DataError:
    return DataError(f"{archive}: {reason}; nothing was unpacked; remove it and get it anew from its publisher")


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[Iterator[_Entry], IO[bytes]]]:
    """What an archive holds, and the file behind it, whose position tells how far we are."""
    name = archive.name.lower()
    if not archive.stat().st_size:
        raise EOFError("it is empty")  # which gzip takes for an empty file
    with archive.open("rb") as stream:
        if name.endswith(".zip"):
            with zipfile.ZipFile(stream) as opened:
                yield _zip_entries(archive, opened), stream
        elif name.endswith(_TAR_SUFFIXES):
            with tarfile.open(fileobj=stream) as opened_tar:
                yield _tar_entries(archive, opened_tar), stream
        else:
            yield iter([_Entry(archive.name[: -len(".gz")], partial(_gunzip, stream))]), stream


def _gunzip(stream: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile(fileobj=stream))


def _zip_entries(archive: Path, opened: zipfile.ZipFile) -> Iterator[_Entry]:
    """The entries of a .zip; the sizes it declares are judged before anything is written."""
    members = opened.infolist()
    declared = sum(member.file_size for member in members)
    if declared > _limit(archive):
        raise _bomb(archive)
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if member.flag_bits & 1:
            raise _refusal(archive, f"{member.filename!r} inside is encrypted")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refusal(archive, f"{member.filename!r} inside is neither a file nor a folder")
        yield _Entry(member.filename, None if member.is_dir() else partial(opened.open, member))


def _tar_entries(archive: Path, opened: tarfile.TarFile) -> Iterator[_Entry]:
    """The entries of a .tar. A link becomes a copy of the file that it points to inside the archive."""
    for member in opened:
        if member.size > _limit(archive):
            raise _bomb(archive)
        if not (member.isdir() or member.isreg() or member.islnk() or member.issym()):
            raise _refusal(archive, f"{member.name!r} inside is neither a file nor a folder")
        yield _Entry(member.name, None if member.isdir() else partial(_content, archive, opened, member))


def _content(archive: Path, opened: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """The bytes of a member of a .tar."""
    try:
        stream = opened.extractfile(member)
    except (KeyError, RecursionError):
        stream = None
    if stream is None:
        raise _refusal(archive, f"{member.name!r} inside links to {member.linkname!r}, which is no file in it")
    return stream


def _limit(archive: Path) -> int:
    """The bytes that an archive may unpack to."""
    return max(_ALWAYS, _RATIO * archive.stat().st_size)


def _bomb(archive: Path) -> DataError:
    return _refusal(archive, f"would unpack to more than {_limit(archive):,} bytes, {_RATIO} times its size")


class _Extraction:
    """The writing of one archive's entries into a folder of their own."""

    def __init__(self, archive: Path, folder: Path, stream: IO[bytes], report: ByteProgress) -> None:
        self.archive = archive
        self.folder = folder
        self.stream = stream
        self.report = report
        self.size = archive.stat().st_size
        self.limit = _limit(archive)
        self.written = 0

    def run(self, entries: Iterator[_Entry]) -> None:
        """Write all entries."""
        for entry in entries:
            path = self._place(entry.name)
            if entry.open is None:
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                with entry.open() as source, path.open("wb") as sink:
                    self._copy(source, sink)
        self.report(self.size, self.size)

    def _place(self, name: str) -> Path:
        """Where an entry goes, if its name stays beneath the folder.

        No link is ever written, so that a name without ``..`` cannot lead elsewhere.
        """
        parts = PurePosixPath(name).parts
        if not name or "\0" in name or "\\" in name or ".." in parts or name.startswith("/"):
            raise _refusal(self.archive, f"{name!r} inside leads out of the folder")
        return self.folder.joinpath(*parts)

    def _copy(self, source: IO[bytes], sink: IO[bytes]) -> None:
        """Copy one file; what is really written counts, whatever was declared."""
        while block := source.read(_BLOCK):
            self.written += len(block)
            if self.written > self.limit:
                raise _bomb(self.archive)
            sink.write(block)
            self.report(min(self.stream.tell(), self.size), self.size)


def _move(source: Path, target: Path) -> tuple[str, ...]:
    """Move what lies in one folder into another of the same file system; folders that are there already take it in.

    A folder that is new appears whole.
    """
    names = sorted(path.name for path in source.iterdir())
    for name in names:
        if (target / name).is_dir() and (source / name).is_dir():
            _move(source / name, target / name)
        else:
            (source / name).replace(target / name)
    return tuple(names)
