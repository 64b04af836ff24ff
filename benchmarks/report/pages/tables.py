"""The paper's tables: its rows and the measured ones, each value with its interval beside the paper's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.report.blocks import Block, Cell, Grid, Page, Prose, Section
from benchmarks.report.charts import interval_bar
from benchmarks.report.names import shown
from benchmarks.report.pages.common import ends, signed
from benchmarks.report.results import Results, Run
from benchmarks.tables import Entry, Measured, OtherRun, PaperValue, Row, Table, render
from benchmarks.tables.layouts import VIEWS_LABEL, Column

NAME = "tables"
_SOURCE = "\0source"
_BEHIND = {"group", "dataset", VIEWS_LABEL}
"""Labels that a reader looks for last: behind the values, which a phone's screen then begins with."""
_RANKS = {1: "best", 2: "second"}
_RANK_WORDS = {1: "best of the paper's values", 2: "second best of the paper's values"}


def anchor(number: int) -> str:
    """The title of a table's section, by which it is linked."""
    return f"Table {number}"


def page(results: Results) -> Page:
    """All four tables."""
    by_id = {run.record.run_id: run for run in results.runs}
    lead = (
        "The paper's rows, and below each the checkpoints that stand for it. A bar is a 95 % interval over images with "
        "the measured value as a dot; the upright mark is the paper's value. Only complete runs of the unchanged "
        "protocol stand here; all others are listed apart."
    )
    downloads = [
        (f"Table {table.number} as CSV", f"table-{table.number}.csv", render(table, "csv")) for table in results.tables
    ]
    sections = [_section(table, by_id) for table in results.tables]
    return Page(NAME, "Tables", sections, lead, NAME, downloads=downloads)


def _section(table: Table, runs: Mapping[str, Run]) -> Section:
    blocks: list[Block] = [_grid(table, runs)]
    if table.other:
        blocks.append(_others(table.other, runs))
    if table.footnotes:
        blocks.append(Prose(_notes(table), points=True, title="Notes", columns=True))
    return Section(anchor(table.number), blocks, table.layout.title.partition(": ")[2])


def _notes(table: Table) -> list[str]:
    return [f"[{note.mark}] {note.text}" if note.mark else note.text for note in table.notes]


def _grid(table: Table, runs: Mapping[str, Run]) -> Grid:
    """A line for each row of the paper, and one for each checkpoint, which sort among each other."""
    columns = table.layout.columns
    axes = {column.name: _axis(table.rows, column) for column in columns}
    rows = []
    for row in table.rows:
        if row.paper:
            rows.append(_line(table, _labels(table, row), [_printed(table, row, column) for column in columns]))
        for entry in row.entries:
            cells = [
                _measured(entry, row.paper.get(column.name), column, axes[column.name], runs) for column in columns
            ]
            rows.append(_line(table, _entry_labels(table, row, entry), cells))
    titles = dict(table.layout.labels)
    before, after = _placed(table)
    headings = [(titles[before[0]], False), ("source", False), *((titles[name], False) for name in before[1:])]
    headings += [(column.title, True) for column in columns] + [(titles[name], False) for name in after]
    return Grid("Printed and measured", headings, rows, dense=len(columns) > 6)


def _placed(table: Table) -> tuple[list[str], list[str]]:
    """The label columns that stand before the values, the one that names the row first, and those behind them."""
    names = sorted((name for name, _ in table.layout.labels), key=lambda name: name != "method")
    return [name for name in names if name not in _BEHIND], [name for name in names if name in _BEHIND]


def _line(table: Table, labels: Mapping[str, Cell], values: Sequence[Cell]) -> list[Cell]:
    (first, *others), after = _placed(table)
    return [
        labels[first],
        labels[_SOURCE],
        *(labels[name] for name in others),
        *values,
        *(labels[name] for name in after),
    ]


def _label_cell(text: str) -> Cell:
    return Cell(_number(text), text or "–")


def _labels(table: Table, row: Row) -> dict[str, Cell]:
    """The label cells of a row of the paper."""
    cells = {name: _label_cell(text) for name, text in row.labels.items()}
    cells = {name: replace(cell, mark=" ".join(table.marks(row.name, name))) for name, cell in cells.items()}
    first = _placed(table)[0][0]
    cells[first] = replace(cells[first], mark=" ".join(table.marks(row.name, "")), style="paper")
    return cells | {_SOURCE: Cell("paper", style="paper")}


def _entry_labels(table: Table, row: Row, entry: Entry) -> dict[str, Cell]:
    """The label cells of a checkpoint: those of the row it stands for, or what its own training record tells."""
    labels = row.labels or entry.labels
    cells = {name: _label_cell(labels.get(name, "")) for name, _ in table.layout.labels}
    if VIEWS_LABEL in cells:
        cells[VIEWS_LABEL] = _views(entry)
    who = f"{entry.checkpoint} ({entry.tower})" if entry.tower else entry.checkpoint
    return cells | {_SOURCE: Cell(who, note="measured" if row.paper else "measured, a row of its own", style="ours")}


def _views(entry: Entry) -> Cell:
    """Effective views as they follow from the checkpoint's own training record."""
    return Cell(None) if entry.views is None else Cell(entry.views / 1e6, f"{entry.views / 1e6:.1f}M", note="computed")


def _number(label: str) -> str | float | None:
    """A label as a number where it is one, so that epochs sort as numbers."""
    try:
        return float(label.removesuffix("M"))
    except ValueError:
        return label or None


def _printed(table: Table, row: Row, column: Column) -> Cell:
    """A value of the paper."""
    paper = row.paper.get(column.name)
    if paper is None:
        return Cell(None, hidden="the paper has no value", style="paper")
    mark = " ".join(table.marks(row.name, column.name))
    note = f"its cells give {paper.recomputed:.2f}" if paper.recomputed is not None and paper.disputed else ""
    if paper.readme:
        note = f"{note} README {paper.readme}".strip()
    style = f"paper {_RANKS.get(paper.rank, '')}".strip()
    hidden = _RANK_WORDS.get(paper.rank, "")
    return Cell(paper.value, paper.printed, note=note, style=style, hidden=hidden, mark=mark)


def _axis(rows: Sequence[Row], column: Column) -> tuple[float, float]:
    """The ends of a column's bars."""
    values: list[float | None] = []
    for row in rows:
        found = [cell for entry in row.entries if (cell := entry.cells.get(column.name))]
        paper = row.paper.get(column.name)
        values += [paper.value if paper else None]
        values += [number for cell in found for number in (cell.value, cell.low, cell.high)]
    return ends(values)


def _measured(
    entry: Entry, paper: PaperValue | None, column: Column, axis: tuple[float, float], runs: Mapping[str, Run]
) -> Cell:
    cell = entry.cells.get(column.name)
    if cell is None:
        return Cell(None, entry.absent.get(column.name, "not run"), style="missing")
    bar = interval_bar(cell.value, cell.low, cell.high, paper.value if paper else None, axis)
    href = f"{runs[cell.run_ids[0]].page}.html" if len(cell.run_ids) == 1 else None
    return Cell(cell.value, href=href, picture=bar, note=remark(cell), style="ours")


def remark(cell: Measured) -> str:
    """Difference from the paper, and on a line of their own the seeds."""
    difference = f"{signed(cell.difference)}\n" if cell.difference is not None else ""
    spread = f", ± {cell.spread:.2f}" if cell.spread is not None else ""
    return f"{difference}{cell.seeds} seed{'s' * (cell.seeds > 1)}{spread}"


def _others(others: Sequence[OtherRun], runs: Mapping[str, Run]) -> Grid:
    """Runs that must not stand beside the paper's values."""
    rows = []
    for other in others:
        run = runs[other.run_id]
        measured = other.measured
        bar = interval_bar(measured.value, measured.low, measured.high, None, (0, 100))
        counts = f"{other.counts.scored:,} of {other.counts.official:,}"
        rows.append(
            [
                Cell(other.benchmark, shown(other.benchmark, 60), f"{run.page}.html"),
                Cell(run.label),
                Cell(other.row and shown(other.row)),
                Cell(other.reason, style="status other"),
                Cell(other.metric),
                Cell(measured.value, picture=bar),
                Cell(other.counts.scored, counts),
                Cell(other.seed),
            ]
        )
    headings = [("benchmark", False), ("checkpoint", False), ("row", False), ("why not comparable", False)]
    headings += [("metric", False), ("value", True), ("images", True), ("seed", True)]
    return Grid("Other runs, not comparable with the paper", headings, rows)
