"""Random access into tar and zip archives: their lists of members are read once and kept; bytes are read in place.

Opening a zip file of 3,600 images costs some 40 ms, which at random access every image would pay anew; kept as plain
arrays of offsets, the lists of all archives fit in memory, and forked workers share them.
"""

import hashlib
import os
import struct
import tarfile
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from benchmarks.errors import DataError
from benchmarks.files import atomic_path, cache_folder

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
"""How a member's bytes lie in its archive: as they are, or deflated."""

_SCHEMA = pa.schema([("name", pa.string()), ("offset", pa.int64()), ("size", pa.int64()), ("method", pa.int8())])
_RULES = "1"  # raise it when what is kept changes: every list is then made anew
_SUFFIX = ".members.parquet"
_OPEN_FILES = 64
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, …, length of the name, length of the extra field


def members(archive: Path) -> Any:
    """The regular files in a ``.tar`` or ``.zip``, in their order, as a ``pyarrow.Table``.

    Its columns are ``name``, ``offset`` and ``size`` (bytes of the data in the archive) and ``method``. Names are
    only compared with others, never used as paths. The list is kept beside the archive, or in the cache folder
    where that cannot be written to, and made anew when the archive's size or time of modification changes.

    Raises:
        DataError: the archive is missing, damaged, or holds members that cannot be read in place.
    """
    try:
        status = archive.stat()
    except OSError as error:
        raise DataError(f"{archive}: cannot be read ({error.strerror}); restore the archive") from error
    stamp = {"rules": _RULES, "size": str(status.st_size), "mtime_ns": str(status.st_mtime_ns)}
    places = (archive.with_name(archive.name + _SUFFIX), _cache_file(archive))
    for place in places:
        known = _load(place, stamp)
        if known is not None:
            return known
    table = _list_zip(archive) if archive.suffix == ".zip" else _list_tar(archive)
    _store(table.replace_schema_metadata(stamp), places)
    return table


def _cache_file(archive: Path) -> Path:
    key = hashlib.sha256(os.fsencode(archive.resolve())).hexdigest()[:16]
    return cache_folder() / "archives" / f"{archive.name}-{key}{_SUFFIX}"


def _load(place: Path, stamp: dict[str, str]) -> Any | None:
    """The list kept here, if it is of the same archive. A damaged one counts as none: it only spares work."""
    try:
        table = parquet.read_table(place)
    except (OSError, pa.ArrowInvalid):
        return None
    kept = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    return table if all(kept.get(key) == value for key, value in stamp.items()) else None


def _store(table: Any, places: tuple[Path, ...]) -> None:
    """Keep the list in the first place that can be written to."""
    for place in places:
        try:
            with atomic_path(place) as temporary:
                parquet.write_table(table, temporary)
        except OSError:
            continue
        return
    raise DataError(
        f"{places[-1].parent}: cannot be written to; point the environment variable DETAILCLIP_BENCH_CACHE to a "
        "folder that can"
    )


def _table(rows: list[tuple[str, int, int, int]]) -> Any:
    columns = zip(*rows, strict=True) if rows else [()] * 4
    return pa.table([pa.array(column, kind.type) for column, kind in zip(columns, _SCHEMA, strict=True)], _SCHEMA)


def _list_tar(archive: Path) -> Any:
    rows = []
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if member.isreg() and not member.issparse():
                    rows.append((member.name, member.offset_data, member.size, STORED))
    except tarfile.TarError as error:
        raise DataError(f"{archive}: is no uncompressed tar file, or truncated ({error}); download it again") from error
    return _table(rows)


def _list_zip(archive: Path) -> Any:
    try:
        with zipfile.ZipFile(archive) as opened:
            infos = [info for info in opened.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive}: is no zip file, or truncated ({error}); download it again") from error
    for info in infos:
        if info.compress_type not in (STORED, DEFLATED) or info.flag_bits & 1:
            raise DataError(f"{archive}: {info.filename} is encrypted or compressed in another way than deflate")
    rows = [(info.filename, info.header_offset, info.compress_size, info.compress_type) for info in infos]
    return _table(rows)


class ArchiveReader:
    """Reads members by their place; keeps the most recently used archives open.

    Reading goes by position (``pread``), so that processes that inherited an open file do not disturb each other.
    A copy sent to another process opens its own.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Path, int] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"_open": OrderedDict()}

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def tar(self, archive: Path, offset: int, size: int) -> bytes:
        """The bytes of a tar file's member.

        Raises:
            OSError: the archive cannot be read, or became shorter.
        """
        return _exactly(self._descriptor(archive), size, offset)

    def zip(self, archive: Path, offset: int, size: int, method: int) -> bytes:
        """The bytes of a zip file's member, unpacked.

        Raises:
            OSError: the archive cannot be read, or the member is damaged.
        """
        descriptor = self._descriptor(archive)
        header = _exactly(descriptor, _LOCAL_HEADER.size, offset)
        signature, name, extra = _LOCAL_HEADER.unpack(header)
        if signature != b"PK\x03\x04":
            raise OSError(f"{archive}: no member begins at byte {offset}")
        packed = _exactly(descriptor, size, offset + _LOCAL_HEADER.size + name + extra)
        try:
            return _UNPACK[method](packed)
        except zlib.error as error:
            raise OSError(f"{archive}: the member at byte {offset} is damaged ({error})") from error

    def _descriptor(self, archive: Path) -> int:
        if archive not in self._open:
            if len(self._open) >= _OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            self._open[archive] = os.open(archive, os.O_RDONLY | os.O_CLOEXEC)
        self._open.move_to_end(archive)
        return self._open[archive]


def _exactly(descriptor: int, size: int, offset: int) -> bytes:
    content = os.pread(descriptor, size, offset)
    if len(content) < size:
        raise OSError(f"the archive ends within the {size} bytes from {offset} on")
    return content


def _inflate(packed: bytes) -> bytes:
    return zlib.decompress(packed, -zlib.MAX_WBITS)


_UNPACK: dict[int, Callable[[bytes], bytes]] = {STORED: bytes, DEFLATED: _inflate}
