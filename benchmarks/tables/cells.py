"""What one checkpoint reached: its runs as cells, its seeds averaged, and what its training record tells."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from benchmarks.records import CheckpointInfo
from benchmarks.tables.layouts import LOSS_WEIGHTS, Layout
from benchmarks.tables.model import Entry, Measured, PaperValue, Views
from benchmarks.tables.results import Result, printable, tower_of

_SETTING = {"model_protocol", "data", "norm_layer", "precision"}
"""What runs of one checkpoint must share, besides the protocol, to be seeds of the same thing."""

_DEPTH = 2
"""Levels of fields at which settings are compared: ``model_protocol.architecture.heads`` is the deepest."""

_LONGEST_VALUE = 30
_DIGITS = 12
"""Of a fingerprint, where a line is named after it: that of the data, or of a value that is too long to be shown."""

_LARGEST_FACTOR = 1e10
"""More views, epochs or images than any training has: such a number in a file is none."""


def entries_of(
    layout: Layout, results: Iterable[Result], incomparable: Iterable[Result], paper: Mapping[str, PaperValue]
) -> tuple[Entry, ...]:
    """An entry for each checkpoint and tower; more, each named, where runs differ in anything else than the seed.

    Args:
        layout: of the table.
        results: comparable ones, of one row.
        incomparable: those of the same row that are not; they say why a cell is empty.
        paper: the row's values in the paper.
    """
    checkpoints: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    others: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for result in results:
        checkpoints[result.who].append(result)
    for result in incomparable:
        others[result.who].append(result)
    return tuple(
        _entry(layout, setting, runs, absent_from(layout, runs, others[who], {each.column for each in found}), paper)
        for who, found in sorted(checkpoints.items())
        for setting, runs in _lines(found)
    )


Setting = tuple[tuple[str, str], ...]
"""(path of a field, its value) of what tells a line from others of its checkpoint and tower."""


def _lines(results: Sequence[Result]) -> list[tuple[Setting, dict[str, list[Result]]]]:
    """The results of one checkpoint and tower by column, in as many lines as it takes to mix no settings.

    One line, but for fields in which runs of the same column differ. Their values name the lines; a run stands in the
    line of those of its values that name any, so that runs of several columns meet where they were made alike.
    """
    settings = [dict(_flat("", each.record.model_dump(include=_SETTING, mode="json"))) for each in results]
    columns: dict[str, list[dict[str, str]]] = defaultdict(list)
    for result, setting in zip(results, settings, strict=True):
        columns[result.column].append(setting)
    naming: dict[str, set[str | None]] = defaultdict(set)
    for found in columns.values():
        for path in {path for setting in found for path in setting}:
            values = {setting.get(path) for setting in found}
            naming[path] |= values if len(values) > 1 else set()
    lines: dict[Setting, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for result, setting in zip(results, settings, strict=True):
        named = ((path, setting.get(path)) for path, values in sorted(naming.items()) if setting.get(path) in values)
        lines[tuple((path, value or "none") for path, value in named)][result.column].append(result)
    return sorted(lines.items())


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """The values inside nested fields as text, by their path."""
    if isinstance(value, dict) and path.count(".") < _DEPTH:
        for name, inner in value.items():
            yield from _flat(f"{path}.{name}" if path else name, inner)
    else:
        yield path, json.dumps(value, sort_keys=True) if isinstance(value, dict) else str(value)


def _entry(
    layout: Layout,
    setting: Setting,
    runs: Mapping[str, Sequence[Result]],
    absent: Mapping[str, str],
    paper: Mapping[str, PaperValue],
) -> Entry:
    record = next(iter(runs.values()))[0].record
    cells = {column: _measured(found, paper.get(column)) for column, found in runs.items()}
    for column in layout.columns:
        if column.mean_of and column.name not in absent:
            cells[column.name] = _mean([cells[name] for name in column.mean_of], paper.get(column.name))
    return Entry(
        checkpoint=_named(layout, record.checkpoint, setting),
        sha256=record.checkpoint.sha256,
        tower=tower_of(record),
        labels=_labels(layout, record.checkpoint),
        trained=_trained(record.checkpoint),
        cells=cells,
        absent=absent,
    )


def _named(layout: Layout, checkpoint: CheckpointInfo, setting: Setting) -> str:
    """The checkpoint's name, and in brackets what tells this line from others that bear it."""
    details = [] if layout.by_weights or not other_weights(checkpoint) else [written(loss_weights(checkpoint))]
    details += [f"{printable(path.removeprefix('model_protocol.'))}={_short(path, value)}" for path, value in setting]
    name = printable(checkpoint.name)
    return f"{name} [{', '.join(details)}]" if details else name


def _short(path: str, value: str) -> str:
    """A value as it names a line: two that differ are shown differently."""
    if path == "data.fingerprint":
        return printable(value[:_DIGITS])
    if len(value) > _LONGEST_VALUE:
        return f"#{hashlib.sha256(value.encode()).hexdigest()[:_DIGITS]}"
    return printable(value)


def absent_from(
    layout: Layout, there: Collection[str], others: Iterable[Result], elsewhere: Collection[str] = ()
) -> dict[str, str]:
    """For each column without a cell the reason.

    Args:
        layout: of the table.
        there: the measured columns.
        others: results for the same cells that are not comparable.
        elsewhere: columns that are measured in this or another line of the same checkpoint and tower.
    """
    reasons = defaultdict(set)
    for result in others:
        reasons[result.column].add(result.reason)
    absent = {}
    for column in layout.columns:
        parts = sum(name in there for name in column.mean_of)
        if column.name in there or (column.mean_of and parts == len(column.mean_of)):
            continue
        if parts:
            absent[column.name] = f"incomplete: {parts} of {len(column.mean_of)}"
        elif column.name in elsewhere:
            absent[column.name] = "other line"
        else:
            only = " / ".join(sorted(reasons[column.name]))
            absent[column.name] = f"only {only}" if only else "not run"
    return absent


# ---- values


def _measured(results: Sequence[Result], paper: PaperValue | None) -> Measured:
    """One run as it is; of several seeds the mean, its standard deviation, and the mean of their intervals."""
    values = [result.value.value for result in results]
    lows = [result.value.low for result in results if result.value.low is not None]
    highs = [result.value.high for result in results if result.value.high is not None]
    known = len(lows) == len(results)
    return _beside(
        paper,
        value=fmean(values),
        ends=(fmean(lows), fmean(highs)) if known else None,
        spread=stdev(values) if len(values) > 1 else None,
        seeds=len(results),
        run_ids=tuple(result.record.run_id for result in results),
    )


def _mean(cells: Sequence[Measured], paper: PaperValue | None) -> Measured:
    """The average over columns, and as many seeds as the column with the fewest.

    The columns are scored on different images, so their errors are independent: the distances from the mean to the
    ends of its interval are the root of the summed squares of theirs, divided by their number (the method of
    variance estimates recovery of Zou and Donner, Statistics in Medicine 2008).
    """
    value = fmean(cell.value for cell in cells)
    below = [cell.value - cell.low for cell in cells if cell.low is not None]
    above = [cell.high - cell.value for cell in cells if cell.high is not None]
    ends = None
    if len(below) == len(cells):
        down, up = (sqrt(sum(distance**2 for distance in distances)) / len(cells) for distances in (below, above))
        ends = (value - down, value + up)
    return _beside(
        paper,
        value=value,
        ends=ends,
        spread=None,
        seeds=min(cell.seeds for cell in cells),
        run_ids=tuple(run_id for cell in cells for run_id in cell.run_ids),
    )


def _beside(
    paper: PaperValue | None,
    *,
    value: float,
    ends: tuple[float, float] | None,
    spread: float | None,
    seeds: int,
    run_ids: tuple[str, ...],
) -> Measured:
    """A cell with its difference to the paper's printed value, which is taken as exact."""
    low, high = ends or (None, None)
    return Measured(
        value=value,
        low=low,
        high=high,
        spread=spread,
        seeds=seeds,
        difference=value - paper.value if paper else None,
        difference_low=low - paper.value if paper and low is not None else None,
        difference_high=high - paper.value if paper and high is not None else None,
        run_ids=run_ids,
    )


# ---- what the training record tells


def loss_weights(checkpoint: CheckpointInfo) -> dict[str, float]:
    """The loss weights in a checkpoint's training record, as the paper calls them; empty unless all are known."""
    alphas = (checkpoint.training or {}).get("alphas")
    if not isinstance(alphas, dict):
        return {}
    numbers = {label: _number(alphas.get(name)) for label, name in LOSS_WEIGHTS.items()}
    found = {label: number for label, number in numbers.items() if number is not None}
    return found if len(found) == len(numbers) else {}


def other_weights(checkpoint: CheckpointInfo) -> bool:
    """Whether a checkpoint is known to be trained with other loss weights than 1, 1, 1, those of the paper's method."""
    return any(weight != 1 for weight in loss_weights(checkpoint).values())


def written(weights: Mapping[str, float]) -> str:
    """Loss weights for people: ``a1 1, a2 1, a3 0``."""
    return ", ".join(f"{label} {number:g}" for label, number in weights.items())


def _labels(layout: Layout, checkpoint: CheckpointInfo) -> dict[str, str]:
    """The label columns that the training record tells."""
    training = checkpoint.training or {}
    told = {name: printable(str(training[name])) for name, _ in layout.labels if name in training}
    weights = loss_weights(checkpoint) if layout.by_weights else {}
    return told | {label: f"{number:g}" for label, number in weights.items()}


def _trained(checkpoint: CheckpointInfo) -> Views:
    training = checkpoint.training or {}
    return Views(*(_number(training.get(name)) for name in ("views", "epochs", "images")))


def _number(value: object) -> float | None:
    """A factor or weight out of a file, or None where it is nothing of the kind."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= _LARGEST_FACTOR else None
