"""The first page: what is there, which cells of the paper's tables are filled and by what, and how far from it."""

from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks.report.blocks import Block, Cell, Grid, Page, Prose, Section, Tiles
from benchmarks.report.charts import interval_bar, share_bar
from benchmarks.report.names import slug
from benchmarks.report.pages import tables
from benchmarks.report.pages.common import ends, signed
from benchmarks.report.results import Results, Run, benchmark_page, checkpoint_page
from benchmarks.suite import BENCHMARKS, filling
from benchmarks.tables import Measured, PaperValue, Row, Table

NAME = "index"


def page(results: Results, pictures: int) -> Page:
    """The overview.

    Args:
        results: what there is.
        pictures: number of pictures in the site.
    """
    filled, cells = (sum(counts) for counts in zip(*map(_filled, results.tables), strict=True))
    checkpoints = results.checkpoints()
    tiles = Tiles(
        [
            (f"{filled} of {cells}", "cells of the paper measured", "by complete runs of the unchanged protocol"),
            (f"{len(results.runs):,}", "complete runs", _statuses(results.runs)),
            (
                f"{len(checkpoints):,}",
                "checkpoints",
                ", ".join(dict.fromkeys(run.record.checkpoint.family for run in results.runs))[:60],
            ),
            (f"{pictures:,}", "pictures", "of predictions and of pretraining"),
        ]
    )
    sections = [Section("At a glance", [tiles, *_remarks(results)])]
    sections.append(Section("Cells of the paper", [_coverage(table, results) for table in results.tables], _LEGEND))
    if compared := _compared(results):
        sections.append(Section("Measured beside printed", [compared]))
    sections.append(Section("Checkpoints", [_checkpoints(results)]))
    sections.append(Section("Benchmarks", [_benchmarks(results)]))
    lead = "What was measured, on which checkpoints, and how it compares with what the DetailCLIP paper prints."
    return Page(NAME, "Benchmark report", sections, lead, NAME)


_WIDE = 6
"""From so many columns on a table takes the whole width."""

_LEGEND = (
    "● measured by a complete run of the unchanged protocol · ○ there are only runs that must not stand beside the "
    "paper (sample, quick, limited, partial, or of another protocol) · – the paper has no value · a dot: not run."
)


def _statuses(runs: Sequence[Run]) -> str:
    counts = Counter(run.record.status for run in runs)
    return ", ".join(f"{number} {status}" for status, number in counts.most_common())


def _remarks(results: Results) -> list[Block]:
    """What a reader must know before looking at a number."""
    remarks = []
    if not any(run.record.status == "full" for run in results.runs):
        remarks.append("No run is full: these numbers show that the chain works and say nothing about a method.")
    if results.unfinished:
        remarks.append(f"{results.unfinished} runs are under way or were stopped; they are not shown.")
    if any(run.record.environment.dirty for run in results.runs):
        remarks.append("Some runs were made from a working tree with uncommitted changes; their pages say which.")
    return [Prose(remarks, points=True)] if remarks else []


def _filled(table: Table) -> tuple[int, int]:
    """Cells of the paper that are measured, and all that could be; computed averages are not counted."""
    columns = table.layout.measured
    known = [(row, column.name) for row in table.rows for column in columns if column.name in row.paper]
    return sum(any(name in entry.cells for entry in row.entries) for row, name in known), len(known)


# ---- which cells are filled


def _coverage(table: Table, results: Results) -> Grid:
    other = _other_cells(table)
    rows = []
    for row in table.rows:
        name = row.name or ", ".join(entry.checkpoint for entry in row.entries)
        rows.append(_coverage_row(table, row, name, other.pop(row.name.casefold(), {}) if row.name else {}))
    for name, cells in other.items():
        rows.append(_coverage_row(table, Row("", {}, {}, ()), name.removeprefix("\0"), cells))
    filled, cells_in_all = _filled(table)
    headings = [("row, and what stands for it", False), *((column.title, False) for column in table.layout.measured)]
    lead = f"{filled} of {cells_in_all} cells measured"
    half = len(table.layout.columns) < _WIDE
    return Grid(tables.anchor(table.number), headings, rows, lead, sortable=False, dense=True, half=half)


def _coverage_row(table: Table, row: Row, name: str, other: Mapping[str, set[str]]) -> list[Cell]:
    by = ", ".join(dict.fromkeys(entry.checkpoint for entry in row.entries))
    cells = [Cell(name, note=by if row.name else "")]
    benchmarks = filling(table.number)
    for column in table.layout.measured:
        page_of = f"{benchmark_page(benchmarks[column.name][0].id)}.html"
        measured = [entry for entry in row.entries if column.name in entry.cells]
        if measured:
            seeds = sum(entry.cells[column.name].seeds for entry in measured)
            cells.append(Cell("full", "●", page_of, style="filled", hidden=f"measured, {seeds} runs"))
        elif column.name in other:
            statuses = ", ".join(sorted(other[column.name]))
            cells.append(Cell(statuses, "○", page_of, style="hollow", hidden=f"not comparable: {statuses}"))
        elif row.paper and column.name not in row.paper:
            cells.append(Cell(None, "–", style="none", hidden="the paper has no value"))
        else:
            cells.append(Cell("", "·", style="none", hidden="not run"))
    return cells


def _other_cells(table: Table) -> dict[str, dict[str, set[str]]]:
    """For runs that may not enter: the row (or checkpoint) and column they would fill, and why they do not."""
    columns = {(benchmark.id, metric): column for column, (benchmark, metric) in filling(table.number).items()}
    rows = {row.name.casefold() for row in table.rows if row.name}
    found: dict[str, dict[str, set[str]]] = {}
    for run in table.other:
        column = columns.get((run.benchmark, run.metric))
        if column:
            row = run.row.casefold() if run.row and run.row.casefold() in rows else f"\0{run.checkpoint}"
            found.setdefault(row, {}).setdefault(column, set()).add(run.reason)
    return found


# ---- how far from the paper


def _compared(results: Results) -> Grid | None:
    """Each measured cell that the paper has too; None if there is none."""
    found = [
        (table, row, column.title, entry.checkpoint, cell, row.paper[column.name])
        for table in results.tables
        for row in table.rows
        for column in table.layout.columns
        for entry in row.entries
        if (cell := entry.cells.get(column.name)) and column.name in row.paper
    ]
    if not found:
        return None
    axis = ends([0.0, *(number for *_, cell, paper in found for number in _differences(cell, paper))])
    rows = []
    for table, row, column, checkpoint, cell, paper in found:
        low, high = cell.difference_low, cell.difference_high
        difference = cell.value - paper.value
        bar = interval_bar(difference, low, high, 0.0, axis)
        where = f"tables.html#{slug(tables.anchor(table.number))}"
        inside = low is not None and high is not None and low <= 0 <= high
        verdict = "" if low is None else "within the interval" if inside else "outside the interval"
        rows.append(
            [
                Cell(f"{row.name}, {column}", href=where, note=f"Table {table.number}"),
                Cell(checkpoint),
                Cell(paper.value, paper.printed),
                Cell(cell.value, note=f"{cell.seeds} seeds" if cell.seeds > 1 else "1 seed"),
                Cell(difference, signed(difference), picture=bar, note=verdict),
            ]
        )
    lead = "The mark is no difference; the paper's value is taken as exact, and the interval is over images only."
    headings = [("cell", False), ("checkpoint", False), ("paper", True), ("measured", True), ("difference", True)]
    return Grid("Measured less printed", headings, rows, lead)


def _differences(cell: Measured, paper: PaperValue) -> list[float | None]:
    return [cell.value - paper.value, cell.difference_low, cell.difference_high]


# ---- lists


def _checkpoints(results: Results) -> Grid:
    rows = []
    for (name, sha256), runs in results.checkpoints().items():
        record = runs[0].record
        label = runs[0].label.partition(" (")[0]
        href = f"{checkpoint_page(name, sha256)}.html"
        full = sum(run.record.status == "full" for run in runs)
        cells = [Cell(record.checkpoint.family), Cell(record.checkpoint.row, None if record.checkpoint.row else "–")]
        cells += [Cell(sha256, sha256[:12], style="code"), Cell(len(runs)), Cell(full)]
        rows.append([Cell(label, href=href), *cells])
    headings = [("checkpoint", False), ("family", False), ("stands for", False), ("sha256", False)]
    return Grid("Evaluated checkpoints", [*headings, ("runs", True), ("full", True)], rows)


def _benchmarks(results: Results) -> Grid:
    rows = []
    for benchmark, runs in results.benchmarks().items():
        best = max(runs, key=lambda run: run.record.metrics[run.metric].value)
        value = best.record.metrics[best.metric]
        bar = share_bar(value.value / 100, f"{value.value:.1f} of 100")
        statuses = Cell(_statuses(runs))
        name = Cell(benchmark, href=f"{benchmark_page(benchmark)}.html")
        rows.append(
            [name, Cell(len(runs)), statuses, Cell(value.value, picture=bar, note=best.metric), Cell(best.name)]
        )
    headings = [("benchmark", False), ("runs", True), ("status", False), ("highest", True), ("by", False)]
    missing = [benchmark.id for benchmark in BENCHMARKS if benchmark.id not in results.benchmarks()]
    lead = f"Not run: {', '.join(missing)}." if missing else ""
    return Grid("Benchmarks that were run", headings, rows, lead)
