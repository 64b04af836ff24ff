"""What one checkpoint reached: its runs as cells, its seeds averaged, and what its training record tells."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev

from benchmarks.records import CheckpointInfo, fingerprint
from benchmarks.tables.layouts import Layout
from benchmarks.tables.model import Entry, Measured, PaperValue, Views
from benchmarks.tables.results import Result, printable, tower_of

_SETTING = {"model_protocol", "data", "norm_layer", "precision"}
"""What runs of one checkpoint must share, besides the protocol, to be seeds of the same thing."""

_LARGEST_FACTOR = 1e10
"""More views, epochs or images than any training has: such a number in a file is none."""


def entries_of(
    layout: Layout, results: Iterable[Result], incomparable: Iterable[Result], paper: Mapping[str, PaperValue]
) -> tuple[Entry, ...]:
    """An entry for each checkpoint and tower; more where runs differ in anything else than the seed.

    Args:
        layout: of the table.
        results: comparable ones, of one row.
        incomparable: those of the same row that are not; they say why a cell is empty.
        paper: the row's values in the paper.
    """
    checkpoints: dict[tuple[str, str, str], dict[str, dict[str, list[Result]]]] = {}
    for result in results:
        setting = fingerprint(result.record.model_dump(include=_SETTING, mode="json"))
        columns = checkpoints.setdefault(result.who, defaultdict(lambda: defaultdict(list)))
        columns[result.column][setting].append(result)
    others: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for result in incomparable:
        others[result.who].append(result)
    entries = []
    for who, columns in sorted(checkpoints.items()):
        settings = {column: [runs for _, runs in sorted(found.items())] for column, found in columns.items()}
        for at in range(max(map(len, settings.values()))):
            runs = {column: found[at] for column, found in settings.items() if at < len(found)}
            entries.append(_entry(layout, runs, others[who], paper))
    return tuple(entries)


def _entry(
    layout: Layout,
    runs: Mapping[str, Sequence[Result]],
    others: Iterable[Result],
    paper: Mapping[str, PaperValue],
) -> Entry:
    record = next(iter(runs.values()))[0].record
    cells = {column: _measured(found, paper.get(column)) for column, found in runs.items()}
    for column in layout.columns:
        if column.mean_of and all(name in cells for name in column.mean_of):
            cells[column.name] = _mean([cells[name] for name in column.mean_of], paper.get(column.name))
    return Entry(
        checkpoint=printable(record.checkpoint.name),
        sha256=record.checkpoint.sha256,
        tower=tower_of(record),
        labels=_labels(layout, record.checkpoint),
        trained=_trained(record.checkpoint),
        cells=cells,
        absent=absent_from(layout, cells, others),
    )


def absent_from(layout: Layout, cells: Mapping[str, Measured], others: Iterable[Result]) -> dict[str, str]:
    """For each column without a cell the reason.

    Args:
        layout: of the table.
        cells: what there is.
        others: results for the same cells that are not comparable.
    """
    reasons = defaultdict(set)
    for result in others:
        reasons[result.column].add(result.reason)
    absent = {}
    for column in layout.columns:
        there = sum(name in cells for name in column.mean_of)
        if there and column.name not in cells:
            absent[column.name] = f"incomplete: {there} of {len(column.mean_of)}"
        elif column.name not in cells:
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


def loss_weights(layout: Layout, checkpoint: CheckpointInfo) -> dict[str, float]:
    """The loss weights in a checkpoint's training record, by the table's labels; empty unless all are known."""
    alphas = (checkpoint.training or {}).get("alphas")
    if not isinstance(alphas, dict):
        return {}
    numbers = {label: _number(alphas.get(name)) for label, name in layout.weights.items()}
    found = {label: number for label, number in numbers.items() if number is not None}
    return found if len(found) == len(numbers) else {}


def _labels(layout: Layout, checkpoint: CheckpointInfo) -> dict[str, str]:
    """The label columns that the training record tells."""
    training = checkpoint.training or {}
    told = {name: printable(str(training[name])) for name, _ in layout.labels if name in training}
    return told | {label: f"{number:g}" for label, number in loss_weights(layout, checkpoint).items()}


def _trained(checkpoint: CheckpointInfo) -> Views:
    training = checkpoint.training or {}
    return Views(*(_number(training.get(name)) for name in ("views", "epochs", "images")))


def _number(value: object) -> float | None:
    """A factor or weight out of a file, or None where it is nothing of the kind."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= _LARGEST_FACTOR else None
