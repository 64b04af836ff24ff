"""The record of a run, and the store of records: the only place that writes either.

A run leaves ``OUT/runs/<run id>/record.json`` and ``samples.parquet`` beside it. The record is written last,
so its presence means that the run is complete. ``docs/results-format.md`` describes every field.
"""

import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import unicodedata
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from benchmarks.errors import RecordError
from benchmarks.files import atomic_path, write_text

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION: Final = 1
RECORD_NAME = "record.json"
SAMPLES_NAME = "samples.parquet"

Status = Literal["full", "partial", "limited", "quick", "sample"]

_PACKAGES = (
    *("detailclip-bench", "torch", "torchvision", "mmengine", "mmcv-lite", "mmcv", "mmdet", "mmsegmentation"),
    *("open_clip_torch", "timm", "numpy", "pandas", "pyarrow", "scipy", "pydantic", "pillow", "safetensors"),
    *("opencv-python", "opencv-python-headless", "pycocotools"),
)


def _plain(value: object) -> object:
    """The value as JSON gives it back: tuples become lists, keys strings; NaN and objects are refused."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except TypeError as error:  # pydantic reports a ValueError with the field's name, a TypeError not
        raise ValueError(f"only plain JSON values can be recorded: {error}") from error


def _readable(value: object) -> object:
    """A file name that is no valid text (bytes of another encoding) in a form that UTF-8 can hold."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(value, str) else value


JsonDict = Annotated[dict[str, JsonValue], BeforeValidator(_plain)]
Text = Annotated[str, BeforeValidator(_readable)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Percent = Annotated[FiniteFloat, Field(ge=0, le=100)]
RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]


def fingerprint(fields: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that name a set of fields: the order of keys does not matter, every value does.

    It is the beginning of the sha256 of the fields as canonical JSON (sorted keys, no spaces, ASCII).

    Raises:
        ValueError: a value is NaN, infinite, or nothing that JSON can hold.
    """
    canonical = json.dumps(_plain(dict(fields)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:16]


class _Part(BaseModel):
    """What all parts of a record share: frozen, complete, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)


class Metric(_Part):
    """A value in percent, unrounded, the ends of its 95 % interval (None: there is none), the sample size."""

    value: Percent
    low: Percent | None
    high: Percent | None
    n: PositiveInt

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends or none")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"the interval's ends are swapped: {self.low} > {self.high}")
        return self


class CheckpointInfo(_Part):
    """The evaluated file: what it is, and which row of the paper it stands for (``METHOD[@EPOCHS]``)."""

    name: Text
    path: Text
    sha256: Sha256
    family: str
    load_report: JsonDict
    row: Annotated[Text, Field(pattern=r"^[^@]+(@[0-9]+)?$")] | None
    training: JsonDict | None


class Counts(_Part):
    """Images of the official split, images that this run was to score, and images it did score."""

    official: PositiveInt
    expected: PositiveInt
    scored: NonNegativeInt

    @model_validator(mode="after")
    def _nothing_skipped(self) -> Self:
        if self.scored != self.expected:
            raise ValueError(f"{self.scored} of {self.expected} images were scored: nothing may be skipped")
        return self


class DataInfo(_Part):
    """The scored data: name and split, and a fingerprint of what lay in the folder."""

    name: str
    split: str
    fingerprint: str


class Environment(_Part):
    """Where the run took place; ``commit`` and ``dirty`` are None outside a git checkout of the project."""

    python: str
    platform: str
    packages: dict[str, str]
    device: str
    commit: str | None
    dirty: bool | None
    threads: PositiveInt


class Record(_Part):
    """One benchmark, one checkpoint, one seed: the result and everything needed to judge it."""

    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: RunId
    benchmark: str
    status: Status
    run_state: Literal["uninterrupted", "resumed"]
    checkpoint: CheckpointInfo
    protocol: JsonDict
    protocol_fingerprint: str
    model_protocol: JsonDict
    metrics: Annotated[dict[str, Metric], Field(min_length=1)]
    per_class: dict[str, dict[Text, Percent | None]]
    counts: Counts
    data: DataInfo
    seed: NonNegativeInt
    norm_layer: str | None
    operators: Literal["compiled", "torchvision"] | None
    precision: Literal["fp32", "fp16", "bf16"] | None
    environment: Environment
    command: list[Text]
    started: AwareDatetime
    wall_seconds: Annotated[FiniteFloat, NonNegativeFloat]
    peak_memory: NonNegativeInt | None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.protocol_fingerprint != fingerprint(self.protocol):
            raise ValueError("protocol_fingerprint is not the fingerprint of protocol")
        if self.status == "full" and self.counts.expected != self.counts.official:
            raise ValueError(f"status {self.status!r} contradicts counts {self.counts}")
        return self


def status_of(*, sample: bool, quick: bool, limited: bool, complete: bool) -> Status:
    """How far a run is from the paper's setting; the first reason that applies.

    Args:
        sample: the data is the generated sample, not the benchmark's own.
        quick: the run was shortened.
        limited: the user asked to leave images out.
        complete: every split that the run reads, for training too, holds the official number of images.

    Returns:
        ``sample``, ``quick``, ``limited``, ``partial`` (images are missing), or ``full``.
    """
    if sample:
        return "sample"
    if quick:
        return "quick"
    if limited:
        return "limited"
    return "full" if complete else "partial"


def make_run_id(
    *,
    benchmark: str,
    checkpoint_name: str,
    checkpoint_sha256: str,
    tower: str | None,
    protocol_fingerprint: str,
    data_fingerprint: str,
    seed: int,
    status: Status,
    expected: int,
    model_protocol: Mapping[str, Any] | None = None,
) -> str:
    """A readable folder name that is the same for the same run and different for any other.

    Names may hold anything: only letters, digits, dots, underscores and dashes survive, shortened; a digest
    of all arguments as they were given ends the id, so that names which look alike afterwards still differ.

    Args:
        benchmark: id of the benchmark.
        checkpoint_name: any text.
        checkpoint_sha256: of the evaluated file.
        tower: ``ema``, ``online``, or None where the checkpoint has one.
        protocol_fingerprint: of the protocol's fields.
        data_fingerprint: of the scored data.
        seed: of the run.
        status: of the run.
        expected: number of images to score (``--limit`` changes it without changing anything else).
        model_protocol: the checkpoint's own choices (heads, preprocessing ...) in which runs can differ.
    """
    digest = fingerprint(
        {
            "benchmark": benchmark,
            "checkpoint": [checkpoint_name, checkpoint_sha256, tower],
            "protocol": [protocol_fingerprint, dict(model_protocol or {})],
            "data": data_fingerprint,
            "run": [seed, status, expected],
        }
    )
    names = [_slug(name) for name in (benchmark, checkpoint_name, tower) if name is not None]
    return "--".join([*names, f"seed{seed}", status, digest[:12]])


def _slug(text: str) -> str:
    """At most 40 characters that every file system takes, beginning and ending with a letter or a digit."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^A-Za-z0-9._]+", "-", ascii_only)[:40].strip("-._") or "unnamed"


def environment(device: str = "cpu", threads: int | None = None) -> Environment:
    """Describe this process's surroundings: interpreter, packages, device, the project's git state.

    Args:
        device: what the run computes on, for example ``cpu`` or ``cuda (NVIDIA A100)``.
        threads: threads used for computing; None means the number of cores.
    """
    commit, dirty = _git_state(Path(__file__).resolve().parents[1])
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        packages=_versions(),
        device=device,
        commit=commit,
        dirty=dirty,
        threads=threads or os.cpu_count() or 1,
    )


def _versions() -> dict[str, str]:
    """Versions of the packages that can influence a result, as far as they are installed."""
    installed = {}
    for name in _PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def _git_state(tree: Path) -> tuple[str | None, bool | None]:
    """Commit and dirty flag of a source tree; (None, None) when it is no checkout, or git cannot tell."""
    git = shutil.which("git")
    # An installed wheel may lie below some other project's checkout, whose commit would be misleading.
    if git is None or not (tree / ".git").exists():
        return None, None

    def ask(*arguments: str) -> str | None:
        command = [git, "--no-optional-locks", "-C", str(tree), *arguments]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit, changes = ask("rev-parse", "HEAD"), ask("status", "--porcelain", "--untracked-files=no")
    return (commit, bool(changes)) if commit is not None and changes is not None else (None, None)


class Store:
    """The runs below an output folder: one folder each in ``OUT/runs``."""

    def __init__(self, out: Path) -> None:
        """A store that reads and writes ``out``; nothing is created before the first write."""
        self.runs = out / "runs"

    def folder(self, run_id: str) -> Path:
        """The folder of a run, whether it exists or not.

        Raises:
            RecordError: the id is none (it holds a slash, for example).
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", run_id):
            raise RecordError(f"{run_id!r} is no run id; the folders in {self.runs} are")
        return self.runs / run_id

    def has(self, run_id: str) -> bool:
        """Whether the run is complete, that is, whether its record lies in its place."""
        return (self.folder(run_id) / RECORD_NAME).is_file()

    def write(self, record: Record, samples: "pd.DataFrame") -> None:
        """Store a run durably: samples first, record last, so that a kill never leaves a false record.

        Args:
            record: what the run found.
            samples: a row for each scored image, with a unique text ``sample_id``.

        Raises:
            ValueError: the samples do not belong to the record.
            OSError: the folder cannot be written to.
        """
        if len(samples) != record.counts.scored:
            raise ValueError(f"{len(samples)} samples for {record.counts.scored} scored images")
        if not samples["sample_id"].is_unique:
            raise ValueError("sample_id is not unique")
        folder = self.folder(record.run_id)
        with atomic_path(folder / SAMPLES_NAME) as temporary:
            samples.to_parquet(temporary, engine="pyarrow", index=False)
            # An older record must not stand beside newer samples, not even for a moment.
            (folder / RECORD_NAME).unlink(missing_ok=True)
        write_record(folder, record)

    def relabel(self, run_id: str, row: str) -> Record:
        """Let the checkpoint of a complete run stand for another row of the paper; its numbers do not depend on it.

        Raises:
            RecordError: there is no such run, or its record is damaged.
        """
        record = self.read(run_id)
        relabelled = record.model_copy(update={"checkpoint": record.checkpoint.model_copy(update={"row": row})})
        write_record(self.folder(run_id), relabelled)
        return relabelled

    def require_writable(self) -> None:
        """Make the folder of all runs, so that a wrong one is noticed before any work.

        Raises:
            RecordError: it cannot be made or written to.
        """
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"{self.runs}: cannot be made ({error.strerror}); name another --out") from error
        if not os.access(self.runs, os.W_OK):
            raise RecordError(f"{self.runs}: cannot be written to; name another --out")

    def read(self, run_id: str) -> Record:
        """The record of a complete run.

        Raises:
            RecordError: there is none, it is damaged, or a newer release wrote it.
        """
        if not self.has(run_id):
            raise RecordError(f"no complete run {run_id!r} in {self.runs}: `bench run` makes one")
        path = self.folder(run_id) / RECORD_NAME
        record = parse_record(path)
        if record.run_id != run_id:
            raise RecordError(f"{path} is the record of run {record.run_id!r}: rename its folder to that")
        return record

    def read_samples(self, run_id: str) -> "pd.DataFrame":
        """The per-sample results of a complete run, in the order in which they were written.

        Raises:
            RecordError: the run is not complete, or its samples are missing or damaged.
        """
        import pandas as pd
        import pyarrow as pa

        self.read(run_id)
        path = self.folder(run_id) / SAMPLES_NAME
        try:
            return pd.read_parquet(path, engine="pyarrow")
        except (FileNotFoundError, pa.ArrowInvalid) as error:
            raise RecordError(f"{path} is missing or damaged: delete its folder and run again") from error

    def load_all(self) -> list[Record]:
        """The records of all complete runs, sorted by run id; folders without a record are runs under way.

        Raises:
            RecordError: one of them is damaged, or a newer release wrote it.
        """
        return [self.read(path.parent.name) for path in sorted(self.runs.glob(f"*/{RECORD_NAME}"))]


def write_record(folder: Path, record: Record) -> None:
    """Write a run's record, whole or not at all; whatever belongs to the run must be in the folder already."""
    write_text(folder / RECORD_NAME, record.model_dump_json(indent=2) + "\n")


def parse_record(path: Path, name: str | None = None) -> Record:
    """Read and validate a record of any known schema version.

    Args:
        path: the file.
        name: what a record that was brought from elsewhere is called in errors; None: it lies in its place.

    Raises:
        RecordError: it is damaged, breaks the schema, or a newer release wrote it.
    """
    label, remedy = (name, "it cannot be used") if name else (str(path), "delete its folder and run again")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(fields, ensure_ascii=False).encode("utf-8")  # JSON can spell text that UTF-8 cannot hold
    except (ValueError, RecursionError) as error:  # JSON or UTF-8; nested without end
        raise RecordError(f"{label} is damaged ({error}): {remedy}") from error
    version = fields.get("schema_version") if isinstance(fields, dict) else None
    if not isinstance(version, int):
        raise RecordError(f"{label} is no record (it has no schema_version): {remedy}")
    if version > SCHEMA_VERSION:
        raise RecordError(
            f"{label} has schema version {version}, this release reads up to {SCHEMA_VERSION}: "
            "update detailclip-bench (pip install --upgrade detailclip-bench)"
        )
    try:
        return Record.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "record"
        raise RecordError(f"{label} does not follow the schema ({where}: {first['msg']}): {remedy}") from error


def load(out: Path) -> "pd.DataFrame":
    """All results below ``out`` as a tidy table: a row for each metric of each run, with where it came from.

    Values and intervals are percentages, unrounded. The columns are the same when there are no runs. What is nested in
    a record (``training``, ``protocol``, ``model_protocol``, ``packages``) is JSON text.

    Raises:
        RecordError: a record is damaged, or a newer release wrote it.
    """
    import pandas as pd

    rows = [_tidy(record, name) for record in Store(out).load_all() for name in sorted(record.metrics)]
    return pd.DataFrame(rows, columns=list(_TIDY_COLUMNS))


_TIDY_COLUMNS = (
    *("run_id", "benchmark", "status", "metric", "value", "low", "high", "n"),
    *("checkpoint", "path", "sha256", "family", "row", "training", "tower"),
    *("protocol_fingerprint", "protocol", "model_protocol"),
    *("official", "expected", "scored", "data", "split", "data_fingerprint"),
    *("seed", "run_state", "norm_layer", "operators", "precision"),
    *("device", "threads", "python", "platform", "packages", "commit", "dirty"),
    *("command", "started", "wall_seconds", "peak_memory", "schema_version"),
)


def _tidy(record: Record, name: str) -> dict[str, object]:
    """One metric of a record as a flat row (``_TIDY_COLUMNS``)."""
    source = record.model_dump(include=set(_TIDY_COLUMNS) & set(Record.model_fields))
    training = record.checkpoint.training
    return source | {
        "metric": name,
        **record.metrics[name].model_dump(),
        **record.counts.model_dump(),
        "checkpoint": record.checkpoint.name,
        **record.checkpoint.model_dump(include={"path", "sha256", "family", "row"}),
        "training": None if training is None else _json(training),
        "tower": record.model_protocol.get("tower"),
        "protocol": _json(record.protocol),
        "model_protocol": _json(record.model_protocol),
        "data": record.data.name,
        "split": record.data.split,
        "data_fingerprint": record.data.fingerprint,
        **record.environment.model_dump(include={"device", "threads", "python", "platform", "commit", "dirty"}),
        "packages": _json(record.environment.packages),
        "command": shlex.join(record.command),
    }


def _json(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``record.json``, shipped as ``results/record.schema.json``."""
    described = Record.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **described}


def write_schema(path: Path) -> None:
    """Write the JSON Schema to ``path``; run after every change of the record."""
    write_text(path, json.dumps(schema(), indent=2, ensure_ascii=False) + "\n")
