"""Runs that leave and runs that arrive: results as one table, and record folders from another machine.

What arrives is not trusted: nothing of it is executed or unpacked by its own name, only known files are taken, each is
read up to a limit, and a run is stored when its record, its run id and its samples agree with each other.
"""

import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Literal, Protocol

from benchmarks.errors import OptionError, RecordError
from benchmarks.files import TEMPORARY, atomic_path, exclusive, sha256_of
from benchmarks.printing import unfolded
from benchmarks.records import RECORD_NAME, SAMPLES_NAME, Record, Store, load, make_run_id, parse_record, write_record
from benchmarks.run import STATE

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["imported", "already there"]

_MIB = 1 << 20
_LIMITS: Mapping[str, int] = {RECORD_NAME: 64 * _MIB, SAMPLES_NAME: 1024 * _MIB, "detections.json.gz": 1024 * _MIB}
"""The files that are taken, besides pictures, and the most bytes of each."""

_PICTURES = "pictures"
_LONGEST_NAME = 255  # bytes: what file systems take
_LARGEST_PICTURE = 64 * _MIB
_MOST_PICTURES = 10_000
_MOST_ENTRIES = 1_000_000
_DEEPEST = 8  # folders between what was named and a run
_MOST_VALUES = 500_000_000  # of a parquet file, which can promise far more than its bytes hold
_PNG = b"\x89PNG\r\n\x1a\n"


# ---- export


def export_table(out: Path, target: Path) -> int:
    """Write :func:`benchmarks.records.load` to a file, ``.csv`` or ``.parquet``.

    In CSV, texts that a spreadsheet would take for a formula get an apostrophe in front.

    Returns:
        The number of rows.

    Raises:
        OptionError: the file's suffix is another.
        RecordError: there are no runs, or a record is damaged.
    """
    if target.suffix not in (".csv", ".parquet"):
        raise OptionError(f"{target}: name a file that ends in .csv or .parquet")
    results = load(out)
    if results.empty:
        raise RecordError(f"{out / 'runs'}: holds no complete run, so there is nothing to export")
    with atomic_path(target) as temporary:
        if target.suffix == ".csv":
            results.map(unfolded).to_csv(temporary, index=False, encoding="utf-8")
        else:
            results.to_parquet(temporary, engine="pyarrow", index=False)
    return len(results)


# ---- where runs arrive from


class Files(Protocol):
    """A tree of regular files, named by their paths in it."""

    def names(self) -> Iterable[str]:
        """The paths of all files, with slashes."""

    def open(self, name: str) -> IO[bytes]:
        """Read one of them."""


@dataclass(frozen=True)
class _Folder:
    """A folder on disk. Symbolic links to folders are not followed, those to files are refused."""

    root: Path

    def names(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.root):
            here = Path(folder).relative_to(self.root)
            hidden = {name for name in folders if name.startswith(".")}
            folders[:] = [name for name in folders if name not in hidden] if len(here.parts) < _DEEPEST else []
            yield from ((here / name).as_posix() for name in files)

    def open(self, name: str) -> IO[bytes]:
        path = self.root / name
        if not stat.S_ISREG(path.lstat().st_mode):  # opening a pipe would wait for ever
            raise RecordError(f"{path}: is no regular file (links are not followed)")
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


@dataclass(frozen=True)
class _Archive:
    """A ZIP file; its members are read as streams and never unpacked by their own names."""

    path: Path
    archive: zipfile.ZipFile

    def names(self) -> Iterator[str]:
        members = self.archive.infolist()
        repeated = [name for name, count in Counter(member.filename for member in members).items() if count > 1]
        if repeated or len(members) > _MOST_ENTRIES:
            what = f"holds {repeated[0]!r} twice" if repeated else f"holds {len(members):,} files"
            raise RecordError(f"{self.path}: {what}; nothing of it was imported")
        for member in members:
            self._require_plain(member)
            if not member.is_dir():
                yield member.filename

    def _require_plain(self, member: zipfile.ZipInfo) -> None:
        path = PurePosixPath(member.filename)
        kind = stat.S_IFMT(member.external_attr >> 16)
        problem = {
            "leads out of the archive": path.is_absolute() or ".." in path.parts or "\\" in member.filename,
            "is a symbolic link or device": kind not in (0, stat.S_IFREG, stat.S_IFDIR),
            "is encrypted": bool(member.flag_bits & 1),
        }
        for what, applies in problem.items():
            if applies:
                raise RecordError(f"{self.path}: its member {member.filename!r} {what}; nothing of it was imported")

    def open(self, name: str) -> IO[bytes]:
        return self.archive.open(name)


@contextmanager
def _opened(source: Path) -> Iterator[Files]:
    """A folder or a ZIP file as a tree of files.

    Raises:
        RecordError: it is neither, or damaged.
    """
    if source.is_dir():
        yield _Folder(source.resolve())
        return
    try:
        with zipfile.ZipFile(source) as archive:
            yield _Archive(source, archive)
    except FileNotFoundError as error:
        raise RecordError(f"{source}: there is no such folder or ZIP file") from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError) as error:
        raise RecordError(f"{source}: is no folder and no readable ZIP file ({error})") from error


def _runs(names: Iterable[str]) -> tuple[dict[str, list[str]], int]:
    """For each folder with a record the files in it that are taken; and how many unfinished runs there are."""
    every = list(names)
    paths = map(PurePosixPath, every)
    found: dict[str, list[str]] = {str(path.parent): [] for path in paths if path.name == RECORD_NAME}
    unfinished = set()
    for name in every:
        path = PurePosixPath(name)
        picture = path.parent.name == _PICTURES and path.suffix == ".png"
        folder = str(path.parent.parent if picture else path.parent)
        if folder in found and (picture or path.name in _LIMITS):
            found[folder].append(name)
        elif path.name == SAMPLES_NAME:
            unfinished.add(folder)
    return found, len(unfinished)


# ---- import


def import_runs(out: Path, source: Path) -> Iterator[tuple[str, Outcome | RecordError]]:
    """Take over every run of a results folder, of a single run's folder, or of a ZIP file of either.

    Taken are ``record.json``, ``samples.parquet``, ``detections.json.gz`` and ``pictures/*.png``; logs and the state of
    unfinished runs are not.

    Args:
        out: the results folder that receives them.
        source: where they are.

    Yields:
        For each run its id (or the folder's name, where it has none) and what became of it; a run that is refused does
        not keep the others from being imported.

    Raises:
        RecordError: the source is no folder or ZIP file, holds no run, or holds what no run holds (links ...).
    """
    store = Store(out)
    store.require_writable()
    with _opened(source) as files:
        found, unfinished = _runs(files.names())
        if not found:
            more = f" ({unfinished} unfinished)" if unfinished else ""
            raise RecordError(
                f"{source}: holds no complete run{more}: the folders of complete ones hold a {RECORD_NAME}"
            )
        for folder, names in sorted(found.items()):
            label = f"{source}/{folder}" if folder != "." else str(source)
            with _staging(store.runs) as stage:
                try:
                    _copy(files, folder, names, stage, label)
                    record = _validated(stage, label)
                    yield record.run_id, _take(store, record, stage, label)
                except RecordError as error:
                    yield label, error


@contextmanager
def _staging(runs: Path) -> Iterator[Path]:
    """A folder beside the runs that is gone afterwards, and that no reader looks at."""
    stage = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=runs))
    try:
        yield stage
    finally:
        shutil.rmtree(stage)


def _copy(files: Files, folder: str, names: Sequence[str], stage: Path, label: str) -> None:
    """Bring a run's files into the stage under names of our own.

    Raises:
        RecordError: one is missing, too large, or no picture; or there are too many.
    """
    if f"{folder}/{SAMPLES_NAME}".removeprefix("./") not in names:
        raise RecordError(f"{label}: has no {SAMPLES_NAME}, so nothing of it can be checked or compared")
    if len(names) > _MOST_PICTURES:
        raise RecordError(f"{label}: holds {len(names):,} files; at most {_MOST_PICTURES:,} are imported")
    for name in names:
        path = PurePosixPath(name)
        picture = path.name not in _LIMITS
        target = stage / _PICTURES / path.name if picture else stage / path.name
        target.parent.mkdir(exist_ok=True)
        if len(path.name.encode()) > _LONGEST_NAME:
            raise RecordError(f"{label}: the name of a picture is longer than {_LONGEST_NAME} bytes")
        limit = _LARGEST_PICTURE if picture else _LIMITS[path.name]
        try:
            with files.open(name) as stream:
                _copy_bounded(stream, target, limit, f"{label}: {path.name}")
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
            raise RecordError(f"{label}: {path.name} is damaged ({error})") from error
        if picture:
            with target.open("rb") as stream:
                if stream.read(len(_PNG)) != _PNG:
                    raise RecordError(f"{label}: {path.name} is no PNG picture")


def _copy_bounded(stream: IO[bytes], target: Path, limit: int, label: str) -> None:
    """Copy what there is, whatever size was promised, and stop at the limit."""
    written = 0
    with target.open("wb") as copy:
        while block := stream.read(_MIB):
            written += len(block)
            if written > limit:
                raise RecordError(f"{label} is larger than {limit // _MIB:,} MiB")
            copy.write(block)


def _validated(stage: Path, label: str) -> Record:
    """The staged record, after a check that its id is that of its content and that its samples give its values.

    Raises:
        RecordError: one of these is not so.
    """
    record = parse_record(stage / RECORD_NAME, label)
    expected = make_run_id(
        benchmark=record.benchmark,
        checkpoint_name=record.checkpoint.name,
        checkpoint_sha256=record.checkpoint.sha256,
        tower=_tower(record),
        protocol_fingerprint=record.protocol_fingerprint,
        data_fingerprint=record.data.fingerprint,
        seed=record.seed,
        status=record.status,
        expected=record.counts.expected,
        model_protocol=record.model_protocol,
    )
    if record.run_id != expected:
        raise RecordError(
            f"{label}: its run id is {record.run_id}, but that of its content is {expected}: it was edited"
        )
    _check_samples(record, _read_samples(record, stage / SAMPLES_NAME, label), label)
    return record


def _tower(record: Record) -> str | None:
    tower = record.model_protocol.get("tower")
    return tower if isinstance(tower, str) else None


def _read_samples(record: Record, path: Path, label: str) -> "pd.DataFrame":
    """The samples, once the file's own description promises no more than a run can hold.

    Raises:
        RecordError: it is no parquet file, or promises too much or too little.
    """
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    try:
        described = parquet.read_metadata(path)
        groups = [described.row_group(at) for at in range(described.num_row_groups)]
        values = sum(group.column(at).num_values for group in groups for at in range(group.num_columns))
        size = sum(group.total_byte_size for group in groups)
        if described.num_rows != record.counts.scored:
            raise RecordError(f"{label}: {described.num_rows:,} samples for {record.counts.scored:,} scored images")
        if values > _MOST_VALUES or size > 4 * _LIMITS[SAMPLES_NAME]:
            raise RecordError(f"{label}: {SAMPLES_NAME} promises {values:,} values of {size:,} bytes: too many")
        return pd.read_parquet(path, engine="pyarrow")
    except (pa.ArrowException, ValueError, KeyError, TypeError, OSError) as error:
        raise RecordError(f"{label}: {SAMPLES_NAME} is no readable parquet file") from error


def _check_samples(record: Record, samples: "pd.DataFrame", label: str) -> None:
    """Refuse samples without proper names, or that do not give the record's values."""
    from benchmarks.comparison.scores import KINDS, read_score

    ids = samples.get("sample_id")
    if ids is None or not ids.map(lambda name: isinstance(name, str)).all() or not ids.is_unique:
        raise RecordError(f"{label}: the samples have no sample_id that is text and unique")
    for metric in record.metrics:
        if metric in KINDS:
            read_score(record, metric, samples)


def _take(store: Store, record: Record, stage: Path, label: str) -> Outcome:
    """Put a validated run in its place: samples and pictures first, the record last.

    Raises:
        RecordError: another run of that id is there, or another process works on it.
    """
    folder = store.folder(record.run_id)
    with exclusive(folder):
        if store.has(record.run_id):
            _require_same(store, record, stage, label)
            return "already there"
        if (folder / STATE).exists():
            raise RecordError(f"{label}: an unfinished run of that id is in {folder}; finish it or remove its folder")
        for path in sorted(stage.rglob("*")):
            if path.is_file() and path.name != RECORD_NAME:
                with atomic_path(folder / path.relative_to(stage)) as temporary:
                    shutil.copyfile(path, temporary)
        write_record(folder, record)
    return "imported"


def _require_same(store: Store, record: Record, stage: Path, label: str) -> None:
    """Refuse a run whose id is taken by a run that found something else; the row it stands for may differ."""
    there = store.read(record.run_id)
    same_row = there.model_copy(
        update={"checkpoint": there.checkpoint.model_copy(update={"row": record.checkpoint.row})}
    )
    samples = store.folder(record.run_id) / SAMPLES_NAME
    if same_row != record or not samples.is_file() or sha256_of(samples) != sha256_of(stage / SAMPLES_NAME):
        raise RecordError(
            f"{label}: run {record.run_id} is there already with other content; remove one of them, or import into "
            "another --out"
        )
