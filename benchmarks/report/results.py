"""Everything below a results folder that a report shows, with the names it goes by."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import RecordError
from benchmarks.records import RECORD_NAME, Record, Store
from benchmarks.report.names import shown, slug
from benchmarks.suite import BENCHMARKS, Benchmark
from benchmarks.tables import Table, build
from benchmarks.tables.layouts import LAYOUTS
from benchmarks.tables.results import changed_reading

SHOWN_RUNS = 6
"""How many runs are shown side by side where each takes a chart or a column."""

_SUITE = {benchmark.id: benchmark for benchmark in BENCHMARKS}
_ORDER = {benchmark.id: place for place, benchmark in enumerate(BENCHMARKS)}


@dataclass(frozen=True)
class Run:
    """A complete run.

    Attributes:
        record: what it found.
        folder: where it lies.
        label: its checkpoint, with what tells it from others of that name.
        detail: seed and status, where they are not the usual ones.
    """

    record: Record
    folder: Path
    label: str
    detail: str

    @property
    def name(self) -> str:
        """Label and detail."""
        return f"{self.label} ({self.detail})" if self.detail else self.label

    @property
    def page(self) -> str:
        """Name of its page."""
        return f"run-{slug(self.record.run_id)}"

    @property
    def metric(self) -> str:
        """Its main metric: the benchmark's, or its first."""
        known = _SUITE.get(self.record.benchmark)
        return known.metric if known and known.metric in self.record.metrics else next(iter(self.record.metrics))


@dataclass(frozen=True)
class Pretraining:
    """What a pretraining left: curves, and pictures of what the student saw.

    Attributes:
        folder: where it lies.
        name: of the folder, relative to the results.
        facts: what ``training.json`` tells, if it is there.
        curves: name of a value to (steps, values).
        masks: (picture, caption, patches, removed patches).
    """

    folder: Path
    name: str
    facts: Mapping[str, Any]
    curves: Mapping[str, tuple[list[float], list[float]]]
    masks: Sequence[tuple[Path, str, str, str]]


@dataclass(frozen=True)
class Results:
    """All that a report shows.

    Attributes:
        out: the results folder.
        runs: all complete runs, in the order of the suite, best evidence first.
        unfinished: number of runs without a record.
        tables: the paper's tables.
        pretrainings: what lies beside the runs.
        defaults: benchmark id to fingerprint of its default protocol.
    """

    out: Path
    runs: tuple[Run, ...]
    unfinished: int
    tables: tuple[Table, ...]
    pretrainings: tuple[Pretraining, ...]
    defaults: Mapping[str, str]

    def benchmarks(self) -> dict[str, list[Run]]:
        """The runs of each benchmark, in the order of the suite."""
        grouped: dict[str, list[Run]] = defaultdict(list)
        for run in self.runs:
            grouped[run.record.benchmark].append(run)
        return dict(grouped)

    def checkpoints(self) -> dict[tuple[str, str], list[Run]]:
        """The runs of each checkpoint: (name, sha256)."""
        grouped: dict[tuple[str, str], list[Run]] = defaultdict(list)
        for run in self.runs:
            grouped[run.record.checkpoint.name, run.record.checkpoint.sha256].append(run)
        return dict(sorted(grouped.items()))


def benchmark_page(benchmark: str) -> str:
    """Name of a benchmark's page."""
    return f"benchmark-{slug(benchmark)}"


def checkpoint_page(name: str, sha256: str) -> str:
    """Name of a checkpoint's page."""
    return f"checkpoint-{slug(sha256, name)}"


def known_benchmark(benchmark: str) -> Benchmark | None:
    """The declaration of a benchmark; None for one that this release does not know."""
    return _SUITE.get(benchmark)


def representatives(runs: Sequence[Run], most: int = SHOWN_RUNS) -> list[Run]:
    """One run for each label: the fullest, of these the lowest seed; at most ``most``."""
    chosen: dict[str, Run] = {}
    for run in runs:
        chosen.setdefault(run.label, run)
    return list(chosen.values())[:most]


def gather(out: Path) -> Results:
    """Read the results folder.

    Raises:
        RecordError: it holds neither a run nor a pretraining, or a record is damaged.
    """
    from benchmarks.run import default_fingerprints

    store = Store(out)
    records = store.load_all()
    pretrainings = _pretrainings(out)
    if not records and not pretrainings:
        raise RecordError(f"{out}: holds no complete run and no pretraining; `bench run` and `bench demo` make some")
    defaults = default_fingerprints()
    folders = [folder for folder in store.runs.glob("*") if folder.is_dir()]
    return Results(
        out=out,
        runs=_named(store, records),
        unfinished=sum(not (folder / RECORD_NAME).is_file() for folder in folders),
        tables=tuple(build(number, records, defaults) for number in LAYOUTS),
        pretrainings=pretrainings,
        defaults=defaults,
    )


def _named(store: Store, records: Sequence[Record]) -> tuple[Run, ...]:
    """The records with the names that tell them apart, sorted: suite, status, label, seed."""
    hashes, towers = defaultdict(set), defaultdict(set)
    for record in records:
        hashes[record.checkpoint.name].add(record.checkpoint.sha256)
        towers[record.checkpoint.sha256].add(record.model_protocol.get("tower"))
    seeds = Counter((record.benchmark, _label(record, hashes, towers)) for record in records)
    runs = []
    for record in records:
        label = _label(record, hashes, towers)
        several = seeds[record.benchmark, label] > 1
        details = [f"seed {record.seed}"] * several + [record.status] * (record.status != "full")
        runs.append(Run(record, store.folder(record.run_id), label, ", ".join(details)))
    return tuple(sorted(runs, key=_place))


def _place(run: Run) -> tuple[int, str, bool, str, int, str]:
    record = run.record
    order = _ORDER.get(record.benchmark, len(_ORDER))
    return order, record.benchmark, record.status != "full", run.label, record.seed, record.run_id


def _label(record: Record, hashes: Mapping[str, set[str]], towers: Mapping[str, set[Any]]) -> str:
    checkpoint, tower = record.checkpoint, record.model_protocol.get("tower")
    label = shown(checkpoint.name, 60)
    if len(hashes[checkpoint.name]) > 1:
        label += f" [{checkpoint.sha256[:6]}]"
    if reading := changed_reading(record):
        label += f" [{reading}]"
    return f"{label} ({shown(str(tower), 20)})" if len(towers[checkpoint.sha256]) > 1 and tower else label


# ---- pretraining


def _pretrainings(out: Path) -> tuple[Pretraining, ...]:
    """Folders of pretraining in ``out`` and in ``out/pretrained`` (where `bench pretrain` puts them unless told)."""
    folders = [*out.glob("*/"), *out.glob("pretrained/*/")]
    found = [_pretraining(folder, out) for folder in sorted(folders) if folder.name != "runs"]
    return tuple(each for each in found if each.curves or each.masks)


def _pretraining(folder: Path, out: Path) -> Pretraining:
    facts = folder / "training.json"
    return Pretraining(
        folder=folder,
        name=shown(str(folder.relative_to(out))),
        facts=_facts(facts) if facts.is_file() else {},
        curves=curves(sorted(folder.glob("logs/*/vis_data/scalars.json"))),
        masks=_masks(folder / "masks"),
    )


def _facts(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{path} is damaged ({error}): remove it or train again") from error
    return told if isinstance(told, dict) else {}


def curves(logs: Sequence[Path]) -> dict[str, tuple[list[float], list[float]]]:
    """MMEngine's scalars as curves over the step; where a run was taken up again, the later value of a step counts.

    Args:
        logs: ``scalars.json`` of each part of the run, in the order of time.

    Returns:
        name of the value to (steps, values), ascending.
    """
    values: dict[str, dict[float, float]] = defaultdict(dict)
    for log in logs:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                told = json.loads(line)
            except ValueError:  # a killed run may have written half of its last line
                continue
            if isinstance(told, dict) and isinstance(told.get("step"), int | float) and "loss" in told:
                for name, value in told.items():
                    if isinstance(value, int | float):
                        values[name][told["step"]] = value
    return {name: (sorted(points), [points[step] for step in sorted(points)]) for name, points in values.items()}


def _masks(folder: Path) -> list[tuple[Path, str, str, str]]:
    """The pictures of `bench pretrain --show-masks`; the table may name only files beside it."""
    table = folder / "masks.csv"
    if not table.is_file():
        return []
    rows = csv.DictReader(table.read_text(encoding="utf-8", errors="replace").splitlines())
    present = {path.name: path for path in folder.glob("*.png")}
    return [
        (present[row["file"]], row.get("caption") or "", row.get("patches") or "", row.get("removed") or "")
        for row in rows
        if row.get("file") in present
    ]
