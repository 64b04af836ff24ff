"""Embeddings that are computed once and kept in the cache folder, as ``embeddings/<key>/``.

The key is the sha256 of an identity: everything that decides an embedding, as JSON-able values. While they are being
computed, an entry holds parts of :data:`PART` rows, each in a file that is whole or absent, so that a kill loses
one part; a finished entry holds one array, to be memory-mapped, and its checksum.

Several processes may work on an entry at once. None waits for another's computation: each takes the missing parts of
its share in an order of its own, leaves out those that are there meanwhile, and a part that two of them made anyway
is used once. Only the moment in which parts become one array is under a lock, which vanishes with its process.
"""

import fcntl
import hashlib
import io
import json
import math
import random
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from benchmarks.errors import DataError
from benchmarks.files import TEMPORARY, atomic_path, cache_folder, remove_folder, sha256_of, write_text

PART = 1024
"""Rows of a part: what a kill can lose."""

Rows = NDArray[np.float32]

Encode = Callable[[Iterator[range]], Iterator[tuple[range, Rows]]]
"""Makes the embeddings (n, D) of each range of n rows that it is given, in the order given.

It may take ranges ahead of what it has delivered; whether one is still missing is decided when it is taken.
"""

_ARRAY, _META, _LOCK = "embeddings.npy", "meta.json", ".lock"
_KEY = re.compile(r"[0-9a-f]{64}")
_ATTEMPTS = 3


@dataclass(frozen=True)
class _Meta:
    """The content of ``meta.json``; without ``sha256`` the entry is not finished."""

    identity: dict[str, Any]
    names: dict[str, str]
    count: int
    created: str
    sha256: str | None = None


_META_FORM = TypeAdapter(_Meta)


@dataclass(frozen=True)
class Entry:
    """A line of the listing.

    Attributes:
        key: its folder's name.
        names: what it holds, in words for people (``checkpoint``, ``tower``, ``data``, ...); empty where ``meta.json``
            is damaged.
        count: rows, one a picture or text.
        finished: whether all rows are there.
        size: bytes on disk.
        created: when it was begun, UTC; None where ``meta.json`` is damaged.
    """

    key: str
    names: Mapping[str, str]
    count: int
    finished: bool
    size: int
    created: datetime | None


def key_of(identity: Mapping[str, Any]) -> str:
    """The sha256 of an identity's canonical JSON, 64 hexadecimal digits."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


class EmbeddingStore:
    """One entry of the cache.

    Attributes:
        key: see :func:`key_of`.
        folder: where it lies.

    Args:
        identity: everything that decides an embedding; JSON-able.
        names: what it is, for people.
        count: rows, at least one.
        part: rows of a part.
    """

    def __init__(self, identity: Mapping[str, Any], names: Mapping[str, str], count: int, part: int = PART) -> None:
        self.key = key_of(identity)
        self.folder = _root() / self.key
        self.count = count
        self._meta = _Meta(dict(identity), dict(names), count, datetime.now(UTC).isoformat(timespec="seconds"))
        self._part = part

    def load(self, encode: Encode) -> Rows:
        """All rows (count, D), memory-mapped and read-only; ``encode`` is asked for those that are not there.

        Raises:
            DataError: the cache folder cannot be written to or is full, or damages what is written.
        """
        found = self.read()
        for _ in range(_ATTEMPTS):  # a second one only where another process cleared the entry, or a part was damaged
            if found is None:
                self.encode_share(encode)
                self._assemble()
                found = self.read()
        if found is None:
            raise DataError(f"{self.folder}: what is written there does not stay as it was written; check that disk")
        return found

    def read(self) -> Rows | None:
        """All rows if they are finished and undamaged, else None; a damaged array is discarded.

        Raises:
            DataError: a damaged array cannot be discarded.
        """
        if not self._finished():
            return None
        if self._damaged():
            with _keeping(self.folder), _locked(self.folder):
                if self._damaged():
                    (self.folder / _META).unlink(missing_ok=True)
            return None
        array: Rows = np.load(self.folder / _ARRAY, mmap_mode="r", allow_pickle=False)
        return array

    def encode_share(self, encode: Encode, rank: int = 0, world: int = 1) -> int:
        """Compute and keep what is missing of the parts p with ``p % world == rank``.

        Args:
            encode: makes rows.
            rank: of this process ...
            world: ... among so many; they need not know of each other. When all have done this, :meth:`load`
                encodes nothing any more.

        Returns:
            The number of rows that were encoded here.

        Raises:
            DataError: the cache folder cannot be written to, or is full.
        """
        if self.read() is None:
            self._begin()
        encoded = 0
        for part, rows in encode(self._missing(rank, world)):
            with _keeping(self.folder):
                self._keep(part, rows)
            encoded += len(rows)
        return encoded

    def missing(self) -> int:
        """How many rows are not there yet."""
        return sum(len(part) for part in self._parts() if not self._there(part))

    def _missing(self, rank: int, world: int) -> Iterator[range]:
        """The parts of the share that are not there when they are asked for.

        In random order, so that two processes with the same share seldom make the same part.
        """
        share = self._parts()[rank::world]
        for part in random.SystemRandom().sample(share, len(share)):
            if not self._there(part):
                yield part

    def _parts(self) -> list[range]:
        starts = (number * self._part for number in range(math.ceil(self.count / self._part)))
        return [range(start, min(start + self._part, self.count)) for start in starts]

    def _there(self, part: range) -> bool:
        return self._file(part) is not None or self._finished()

    def _file(self, part: range) -> Path | None:
        """The file of a part; where two processes made it, the first by name."""
        return min(self.folder.glob(f"{part.start:08}-{part.stop:08}-*.npy"), default=None)

    def _finished(self) -> bool:
        meta = _read_meta(self.folder)
        return meta is not None and meta.sha256 is not None

    def _damaged(self) -> bool:
        """Whether the array is not the one that ``meta.json`` tells of."""
        meta, array = _read_meta(self.folder), self.folder / _ARRAY
        return meta is not None and (not array.is_file() or sha256_of(array) != meta.sha256)

    def _begin(self) -> None:
        """Say what the entry will hold, so that the listing can tell."""
        with _keeping(self.folder), _locked(self.folder):
            if _read_meta(self.folder) is None:
                self._write_meta(self._meta)

    def _write_meta(self, meta: _Meta) -> None:
        write_text(self.folder / _META, json.dumps(asdict(meta), indent=1))

    def _keep(self, part: range, rows: Rows) -> None:
        """Write a part. Its name ends with its checksum, by which damage is noticed."""
        content = io.BytesIO()
        np.save(content, np.asarray(rows, dtype="<f4"), allow_pickle=False)
        name = f"{part.start:08}-{part.stop:08}-{_digest(content.getvalue())}.npy"
        with atomic_path(self.folder / name) as temporary:
            temporary.write_bytes(content.getvalue())

    def _assemble(self) -> None:
        """Make one array of the parts, unless another process has; a part that is damaged or gone prevents it."""
        with _keeping(self.folder), _locked(self.folder):
            if not self._finished():
                files = [self._file(part) for part in self._parts()]
                whole = [file for file in files if file is not None and _whole(file)]
                if len(whole) < len(files):
                    return
                self._join(whole)
            for file in self.folder.glob("[0-9]*-*-*.npy"):
                file.unlink(missing_ok=True)

    def _join(self, files: list[Path]) -> None:
        """Write the array a part at a time, then the note that makes it count."""
        width = np.load(files[0], allow_pickle=False).shape[1]
        header = {"descr": "<f4", "fortran_order": False, "shape": (self.count, width)}
        with atomic_path(self.folder / _ARRAY) as temporary:
            with temporary.open("wb") as stream:
                np.lib.format.write_array_header_1_0(stream, header)  # type: ignore[no-untyped-call]
                for file in files:
                    stream.write(np.load(file, allow_pickle=False).data)
            digest = sha256_of(temporary)
        begun = _read_meta(self.folder) or self._meta
        self._write_meta(replace(begun, sha256=digest))


def entries() -> list[Entry]:
    """What the cache holds, finished or not, the oldest first."""
    listed = [_entry(folder) for folder in _folders()]
    return sorted(listed, key=lambda entry: entry.created.timestamp() if entry.created else 0)


def clear(keys: Iterable[str] | None = None) -> int:
    """Remove entries: those of ``keys``, or all; nothing else in the cache folder is touched.

    Programs that have one mapped keep what they have.

    Returns:
        The bytes that were freed.

    Raises:
        DataError: the folder cannot be written to.
    """
    chosen = None if keys is None else set(keys)
    freed = 0
    for folder in _folders():
        if chosen is None or folder.name in chosen:
            freed += _size(folder)
            with _keeping(folder):
                remove_folder(folder)
    for doomed in _root().glob(f"{TEMPORARY}*"):  # what a killed removal left
        freed += _size(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    return freed


def _entry(folder: Path) -> Entry:
    meta = _read_meta(folder)
    if meta is None:
        return Entry(folder.name, {}, 0, False, _size(folder), None)
    created = datetime.fromisoformat(meta.created)
    return Entry(folder.name, meta.names, meta.count, meta.sha256 is not None, _size(folder), created)


def _root() -> Path:
    return cache_folder() / "embeddings"


def _folders() -> list[Path]:
    """The folders of all entries; whatever else someone put there is not ours."""
    root = _root()
    found = root.iterdir() if root.is_dir() else ()
    return sorted(folder for folder in found if _KEY.fullmatch(folder.name) and folder.is_dir())


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())


def _read_meta(folder: Path) -> _Meta | None:
    """The content of ``meta.json``; None where it is absent, damaged, or of another entry."""
    try:
        meta = _META_FORM.validate_json((folder / _META).read_bytes())
        datetime.fromisoformat(meta.created)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # pydantic's errors are ValueErrors
        return None
    return meta if key_of(meta.identity) == folder.name else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _whole(file: Path) -> bool:
    """Whether a part is what was written; one that is not is removed."""
    whole = file.stem.rpartition("-")[2] == _digest(file.read_bytes())
    if not whole:
        file.unlink()
    return whole


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the entry's lock, waiting for it; it belongs to the process and vanishes with it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _keeping(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses (no space, no permission) into one line."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder}: embeddings cannot be kept there ({error.strerror}); free some space, or point the "
            "environment variable DETAILCLIP_BENCH_CACHE to a folder on another disk"
        ) from error
