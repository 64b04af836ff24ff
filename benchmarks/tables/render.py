"""Print an assembled table: for a terminal, as Markdown, or as CSV for further analysis."""

import csv
import html
import io
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from benchmarks.errors import OptionError
from benchmarks.tables.model import Entry, Measured, OtherRun, PaperValue, Row, Table

OTHER_TITLE = "Other runs (not comparable with the paper)"
_DASH = "–"


def render(table: Table, format: str = "text") -> str:
    """The table as text, without a newline at its end.

    Args:
        table: from :func:`benchmarks.tables.build`.
        format: ``text`` (wide: nothing is cut off, also in a pipe), ``markdown``, or ``csv`` (a line for each
            cell, unrounded, for programs).

    Raises:
        OptionError: the format is unknown or not built yet.
    """
    if format in ("latex", "html"):
        raise OptionError(f"format {format!r} is not built yet: choose one of {', '.join(_FORMATS)}")
    if format not in _FORMATS:
        raise OptionError(f"unknown format {format!r}: choose one of {', '.join(_FORMATS)}")
    return _FORMATS[format](table)


# ---- the lines that text and Markdown share


@dataclass(frozen=True)
class _Cell:
    """A cell of a printed line, with its rank where it is one of the paper's values."""

    text: str
    rank: int = 0


@dataclass(frozen=True)
class _Grid:
    """A table of words: headings, and lines of as many cells; the first ``labels`` columns are words."""

    title: str
    headings: tuple[str, ...]
    lines: tuple[tuple[_Cell, ...], ...]
    labels: int


def _main_grid(table: Table) -> _Grid:
    """Each row of the paper as a line of its own, and below it the checkpoints that stand for it."""
    labels = [title for _, title in table.layout.labels]
    titles = [column.title for column in table.layout.columns]
    lines = [line for row in table.rows for line in _row_lines(table, row)]
    return _Grid(table.layout.title, (*labels, "source", *titles), tuple(lines), labels=len(labels) + 1)


def _row_lines(table: Table, row: Row) -> Iterator[tuple[_Cell, ...]]:
    names = [name for name, _ in table.layout.labels]
    if row.paper:
        printed = [_paper_cell(row.paper.get(column.name)) for column in table.layout.columns]
        yield (*(_Cell(row.labels[name] or _DASH) for name in names), _Cell("paper"), *printed)
    if not row.entries:
        empty = [_Cell(table.missing.get(column.name, _DASH)) for column in table.layout.columns]
        yield (*(_Cell("") for _ in names), _Cell("ours"), *empty)
    for entry in row.entries:
        yield (
            *_entry_labels(row, entry, names),
            _Cell(_who(entry.checkpoint, entry.tower)),
            *_each(table, entry, _value, table.missing),
        )
        if any(cell.difference is not None for cell in entry.cells.values()):
            yield (*(_Cell("") for _ in names), _Cell("difference"), *_each(table, entry, _difference))
        yield (*(_Cell("") for _ in names), _Cell("status"), *_each(table, entry, _status))


def _entry_labels(row: Row, entry: Entry, names: Sequence[str]) -> list[_Cell]:
    """Below a row of the paper only the views; an own row says so, lest it seem part of the one above."""
    known = {"effective_view": _views(entry.views)}
    if not row.paper:
        known = dict.fromkeys(names, _DASH) | dict(entry.labels) | known | {names[0]: "own row"}
    return [_Cell(known.get(name, "")) for name in names]


def _each(
    table: Table, entry: Entry, write: Callable[[Measured], str], missing: Mapping[str, str] | None = None
) -> list[_Cell]:
    """Every column of an entry, written by ``write``; an empty one says why if ``missing`` does."""
    cells = []
    for column in table.layout.columns:
        found = entry.cells.get(column.name)
        cells.append(_Cell(write(found) if found else (missing or {}).get(column.name, "")))
    return cells


def _paper_cell(cell: PaperValue | None) -> _Cell:
    if cell is None:
        return _Cell(_DASH)
    recomputed = f" ({cell.recomputed:.2f})" if cell.recomputed is not None else ""
    return _Cell(cell.printed + recomputed, cell.rank)


def _value(cell: Measured) -> str:
    if cell.spread is not None:
        return f"{cell.value:.2f} ± {cell.spread:.2f}"
    return f"{cell.value:.2f}{_interval(cell.low, cell.high)}"


def _interval(low: float | None, high: float | None) -> str:
    return f" [{low:.2f}, {high:.2f}]" if low is not None and high is not None else ""


def _difference(cell: Measured) -> str:
    return f"{cell.difference:+.2f}" if cell.difference is not None else ""


def _status(cell: Measured) -> str:
    return f"full, {cell.seeds} seed{'s' if cell.seeds > 1 else ''}"


def _who(checkpoint: str, tower: str | None) -> str:
    return f"{checkpoint} ({tower})" if tower else checkpoint


def _views(views: float | None) -> str:
    """Effective views in millions, as the paper counts them."""
    return f"{views / 1e6:.1f}M" if views is not None else ""


def _other_grid(table: Table) -> _Grid:
    """The runs that must not stand beside the paper's values, with the reason and the counts."""
    headings = (
        "benchmark",
        "checkpoint",
        "row",
        "why not comparable",
        "metric",
        "value",
        "scored",
        "seed",
        "run",
    )
    lines = [
        (
            *(run.benchmark, _who(run.checkpoint, run.tower), run.row or _DASH, run.reason, run.metric),
            f"{run.measured.value:.2f}{_interval(run.measured.low, run.measured.high)}",
            f"{run.counts.scored} of {run.counts.official}",
            *(str(run.seed), run.run_id),
        )
        for run in table.other
    ]
    return _Grid(OTHER_TITLE, headings, tuple(tuple(map(_Cell, line)) for line in lines), labels=5)


_LEGEND = (
    "In brackets the 95 % interval over images; ± is the standard deviation over seeds; "
    "difference is ours minus the paper's."
)


# ---- formats


def _text(table: Table) -> str:
    """Plain text; the best of the paper's values is ``*starred*``, the second best ``_underlined_``."""
    notes = ("*best* and _second best_ of the paper's values. " + _LEGEND, *table.footnotes)
    blocks = [_text_grid(_main_grid(table))]
    blocks += [_text_grid(_other_grid(table))] if table.other else []
    blocks += ["\n".join(textwrap.fill(note, 110, initial_indent="- ", subsequent_indent="  ") for note in notes)]
    return "\n\n".join(blocks)


def _text_grid(grid: _Grid) -> str:
    """A grid drawn by rich at its natural width, whatever the terminal's, without colours."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=Text(grid.title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for at, heading in enumerate(grid.headings):
        drawn.add_column(Text(heading), justify="left" if at < grid.labels else "right", no_wrap=True)
    marks = {1: "*{}*", 2: "_{}_"}
    for line in grid.lines:
        # Text objects, not strings: a name such as "[red]" must not be taken for markup.
        drawn.add_row(*(Text(marks.get(cell.rank, "{}").format(cell.text)) for cell in line))
    console = Console(file=io.StringIO(), width=100_000, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().strip("\n").splitlines())


def _markdown(table: Table) -> str:
    """GitHub's Markdown; the best of the paper's values is bold, the second best underlined."""
    notes = (
        "**Best** and <u>second best</u> of the paper's values. " + _LEGEND,
        *map(_escaped, table.footnotes),
    )
    blocks = [_markdown_grid(_main_grid(table))]
    blocks += [_markdown_grid(_other_grid(table))] if table.other else []
    blocks += ["\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(blocks)


def _markdown_grid(grid: _Grid) -> str:
    marks = {1: "**{}**", 2: "<u>{}</u>"}
    rule = ["---" if at < grid.labels else "---:" for at in range(len(grid.headings))]
    lines = [[marks.get(cell.rank, "{}").format(_escaped(cell.text)) for cell in line] for line in grid.lines]
    rows: Sequence[Sequence[str]] = [list(map(_escaped, grid.headings)), rule, *lines]
    return "\n".join([f"### {_escaped(grid.title)}", "", *("| " + " | ".join(row) + " |" for row in rows)])


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: no tags, links, emphasis or new cells out of a checkpoint's name."""
    return re.sub(r"([\\`*_{}\[\]|~#])", r"\\\1", html.escape(text, quote=False))


def _csv(table: Table) -> str:
    """A line for each cell of the table, then one for each other run, told apart by ``section``."""
    labels = [name for name, _ in table.layout.labels]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["section", *labels, *_CSV_COLUMNS], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(line for row in table.rows for line in _csv_row(table, row))
    writer.writerows(_csv_other(run) for run in table.other)
    return stream.getvalue().rstrip("\n")


_CSV_COLUMNS = (
    *("checkpoint", "sha256", "tower", "views_computed", "column", "paper", "paper_rank", "paper_recomputed"),
    *("ours", "low", "high", "spread", "seeds", "difference", "status", "run_ids"),
    *("benchmark", "row", "metric", "seed", "scored", "expected", "official", "reason"),
)


def _csv_row(table: Table, row: Row) -> Iterator[dict[str, object]]:
    """The cells of a row: once for each checkpoint that stands for it, or once with nothing measured."""
    for entry in row.entries or (None,):
        for column in table.layout.columns:
            line: dict[str, object] = {"section": "paper" if row.paper else "own", "column": column.name}
            line |= row.labels if entry is None or row.paper else _unfolded(entry.labels)
            paper = row.paper.get(column.name)
            if paper:
                line |= {
                    "paper": paper.printed,
                    "paper_rank": paper.rank,
                    "paper_recomputed": paper.recomputed,
                }
            measured = entry.cells.get(column.name) if entry else None
            line["status"] = "full" if measured else table.missing.get(column.name, "")
            if measured:
                line |= {field.name: getattr(measured, field.name) for field in fields(measured)}
                line |= {"ours": line.pop("value"), "run_ids": " ".join(measured.run_ids)}
            if entry:
                line |= _unfolded({"checkpoint": entry.checkpoint, "tower": entry.tower or ""})
                line |= {"sha256": entry.sha256, "views_computed": entry.views}
            yield line


def _csv_other(run: OtherRun) -> dict[str, object]:
    return {
        **_unfolded({"checkpoint": run.checkpoint, "tower": run.tower or "", "row": run.row or ""}),
        **run.measured.model_dump(include={"low", "high"}),
        **run.counts.model_dump(),
        "section": "other",
        "benchmark": run.benchmark,
        "metric": run.metric,
        "ours": run.measured.value,
        "seeds": 1,
        "seed": run.seed,
        "status": run.status,
        "reason": run.reason,
        "run_ids": run.run_id,
    }


def _unfolded(texts: Mapping[str, str]) -> dict[str, str]:
    """Texts that a spreadsheet does not take for formulas."""
    return {name: f"'{text}" if text.startswith(("=", "+", "-", "@")) else text for name, text in texts.items()}


_FORMATS: Mapping[str, Callable[[Table], str]] = {"text": _text, "markdown": _markdown, "csv": _csv}
