"""A table as HTML: a fragment without style or script, for a page that brings both."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from benchmarks.tables.grid import BEST_AND_SECOND, Cell, Grid, Line, grids, legend
from benchmarks.tables.model import Note, Row, Table

_RANKS = {
    1: '<strong class="best" title="best of the paper\'s values">{}</strong>',
    2: '<u class="second-best" title="second best of the paper\'s values">{}</u>',
}


def as_html(table: Table) -> str:
    """A ``div`` with a ``table`` for each part (captioned, headings with scope) and the notes as a list.

    Classes tell what a thing is: ``main``, ``views`` and ``other`` a table; ``paper-row``, ``own-row`` and
    ``other-run`` a body, which holds all lines that belong together; ``paper``, ``ours``, ``difference``, ``status``
    and ``other`` a line; ``label``, ``value`` and ``empty`` a cell. The number behind a cell is its ``data-value``,
    the ends of its interval ``data-low`` and ``data-high``, unrounded. A row of the paper has its name in
    ``data-row``, and in ``data-weights`` whether its weights can be had.
    """
    name = f"paper-table-{table.number}"
    notes = legend(table)
    targets = {note.mark: f"{name}-note-{at}" for at, note in enumerate(notes) if note.mark}
    listed = [_note(note, targets) for note in notes]
    listed[0] = listed[0].replace(
        BEST_AND_SECOND, '<strong class="best">Best</strong> and <u class="second-best">second best</u>', 1
    )
    parts = [_part(grid, table.rows, targets) for grid in grids(table)]
    return "\n".join(
        [f'<div class="paper-table" id="{name}">', *parts, '<ul class="notes">', *listed, "</ul>", "</div>"]
    )


def _note(note: Note, targets: dict[str, str]) -> str:
    if not note.mark:
        return f"<li><bdi>{escape(note.text)}</bdi></li>"
    return f'<li id="{targets[note.mark]}"><sup>{note.mark}</sup> <bdi>{escape(note.text)}</bdi></li>'


def _part(grid: Grid, rows: Sequence[Row], targets: dict[str, str]) -> str:
    headings = "".join(
        f'<th scope="col" class="{"label" if at < grid.labels else "value"}">{escape(heading)}</th>'
        for at, heading in enumerate(grid.headings)
    )
    bodies = (
        _body(grid, list(lines), rows[group] if grid.key != "other" else None, targets)
        for group, lines in groupby(grid.lines, key=lambda line: line.group)
    )
    return "\n".join(
        [
            f'<table class="{grid.key}">',
            f"<caption>{escape(grid.title)}</caption>",
            f"<thead><tr>{headings}</tr></thead>",
            *bodies,
            "</table>",
        ]
    )


def _body(grid: Grid, lines: list[Line], row: Row | None, targets: dict[str, str]) -> str:
    """The lines that belong together when the table is sorted."""
    opening = f'<tbody class="{"own-row" if row else "other-run"}">'
    if row and row.name:
        weights = f' data-weights="{row.weights.state}"' if row.weights else ""
        opening = f'<tbody class="paper-row" data-row="{escape(row.name)}"{weights}>'
    return "\n".join([opening, *(_line(grid, line, targets) for line in lines), "</tbody>"])


def _line(grid: Grid, line: Line, targets: dict[str, str]) -> str:
    cells = "".join(_cells(grid, line, targets))
    return f'<tr class="{line.kind}">{cells}</tr>'


def _cells(grid: Grid, line: Line, targets: dict[str, str]) -> Iterator[str]:
    for at, cell in enumerate(line.cells):
        content = _content(cell, targets)
        data = "".join(f' data-{name}="{number!r}"' for name, number in cell.data.items())
        if at < grid.labels and cell.text:
            yield f'<th scope="row" class="label"{data}>{content}</th>'
        else:
            kind = "label" if at < grid.labels else "value" if cell.data else "empty"
            yield f'<td class="{kind}"{data}>{content}</td>'


def _content(cell: Cell, targets: dict[str, str]) -> str:
    """Text with the marks of rank and notes; a stranger's name cannot change the direction of what follows it."""
    text = f"<bdi>{escape(cell.text)}</bdi>" if cell.named else escape(cell.text)
    links = ", ".join(f'<a href="#{targets[mark]}">{mark}</a>' for mark in cell.marks)
    marks = f'<sup class="marks">{links}</sup>' if links else ""
    return _RANKS.get(cell.rank, "{}").format(text) + marks
