"""What several pages share."""

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.records import Record
from benchmarks.report.blocks import Cell, Grid
from benchmarks.report.charts import interval_bar
from benchmarks.report.names import shown
from benchmarks.report.results import Run, benchmark_page, checkpoint_page

FULL = "full"


def title_of(benchmark: str) -> str:
    """A benchmark's id as it is shown."""
    return shown(benchmark, 60)


def told(value: object) -> str:
    """A value of a protocol for people."""
    if isinstance(value, Mapping):
        return ", ".join(f"{shown(str(name), 60)} {told(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(told(inner) for inner in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else shown(str(value), 300)


def signed(number: float) -> str:
    """A difference with its sign."""
    return f"{number:+.2f}".replace("-", "\N{MINUS SIGN}")


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def size(amount: int | None) -> str:
    """Bytes as people say them."""
    return "not measured" if amount is None else f"{amount / 2**30:.2f} GiB"


def ends(values: Iterable[float | None]) -> tuple[float, float]:
    """The ends of an axis on which all of these lie, with a little room."""
    known = [value for value in values if value is not None]
    if not known:
        return 0.0, 1.0
    margin = 0.04 * (max(known) - min(known)) or 1.0
    return min(known) - margin, max(known) + margin


def status_cell(record: Record) -> Cell:
    """The status as a label."""
    return Cell(record.status, style="status" if record.status == FULL else "status other")


def runs_grid(title: str, runs: Sequence[Run], by_benchmark: bool, reference: float | None = None) -> Grid:
    """Runs with their results.

    Args:
        title: caption.
        runs: the runs.
        by_benchmark: name the benchmark first (runs of one checkpoint), else the checkpoint (runs of one benchmark).
        reference: a value that every bar has a mark at.
    """
    names = list(dict.fromkeys(name for run in runs for name in run.record.metrics))
    shown_metrics = [] if by_benchmark else [name for name in names if name not in {run.metric for run in runs}]
    mains = [run.record.metrics[run.metric] for run in runs]
    shared = ends(
        [*(main.low for main in mains), *(main.high for main in mains), *(main.value for main in mains), reference]
    )
    rows = []
    for run in runs:
        record, main = run.record, run.record.metrics[run.metric]
        axis = (0.0, 100.0) if by_benchmark else shared
        first = Cell(record.benchmark, title_of(record.benchmark), f"{run.page}.html") if by_benchmark else None
        who = Cell(run.label, href=f"{run.page}.html")
        value = Cell(main.value, picture=interval_bar(main.value, main.low, main.high, reference, axis))
        value = Cell(value.value, href=None, picture=value.picture, note=run.metric if by_benchmark else "")
        others = [Cell(metric.value if (metric := record.metrics.get(name)) else None) for name in shown_metrics]
        counts = Cell(record.counts.scored, f"{record.counts.scored:,}")
        rows.append([first or who, status_cell(record), Cell(record.seed), value, *others, counts])
    main_title = "result" if by_benchmark else (runs[0].metric if runs else "result")
    headings = [("benchmark" if by_benchmark else "run", False), ("status", False), ("seed", True), (main_title, True)]
    headings += [(name, True) for name in shown_metrics] + [("images", True)]
    return Grid(title, headings, rows, raw=_raw(runs))


def _raw(runs: Sequence[Run]) -> tuple[list[str], list[list[str | int | float | None]]]:
    """A line for each metric of each run, unrounded."""
    headings = ["run_id", "benchmark", "checkpoint", "status", "seed", "metric", "value", "low", "high", "n"]
    rows: list[list[str | int | float | None]] = []
    for run in runs:
        record = run.record
        for name, metric in record.metrics.items():
            who: list[str | int | float | None] = [
                record.run_id,
                record.benchmark,
                run.label,
                record.status,
                record.seed,
            ]
            rows.append([*who, name, metric.value, metric.low, metric.high, metric.n])
    return headings, rows


def benchmark_href(record: Record) -> str:
    """The address of the page of a record's benchmark."""
    return f"{benchmark_page(record.benchmark)}.html"


def checkpoint_href(record: Record) -> str:
    """The address of the page of a record's checkpoint."""
    return f"{checkpoint_page(record.checkpoint.name, record.checkpoint.sha256)}.html"
