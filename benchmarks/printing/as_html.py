"""A sheet as HTML: a fragment without style or script, for a page that brings both."""

from collections.abc import Iterator, Mapping
from html import escape
from itertools import groupby

from benchmarks.printing.sheet import BEST_AND_SECOND, Body, Cell, Grid, Line, Note, Notes, Sheet

_RANKS = {
    1: '<strong class="best" title="best of the paper\'s values">{}</strong>',
    2: '<u class="second-best" title="second best of the paper\'s values">{}</u>',
}


def as_html(sheet: Sheet) -> str:
    """A ``div`` with a ``table`` for each grid (captioned, headings with scope) and the notes as lists.

    Classes tell what a thing is: that of the ``div`` is the sheet's kind, of a ``table`` the grid's key, of its bodies
    and lines their kinds; ``label``, ``value`` and ``empty`` a cell. The number behind a cell is its ``data-value``,
    the ends of its interval ``data-low`` and ``data-high``, unrounded. A body's own data have their names.
    """
    marked = [note.mark for part in sheet.parts if not isinstance(part, Grid) for note in part]
    targets = {mark: f"{sheet.name}-note-{at}" for at, mark in enumerate(marked) if mark}
    parts = [_part(part, targets) if isinstance(part, Grid) else _list(part, targets) for part in sheet.parts if part]
    return "\n".join([f'<div class="{sheet.kind}" id="{sheet.name}">', *parts, "</div>"])


def _list(notes: Notes, targets: Mapping[str, str]) -> str:
    return "\n".join(['<ul class="notes">', *(_note(note, targets) for note in notes), "</ul>"])


def _note(note: Note, targets: Mapping[str, str]) -> str:
    if note.mark:
        return f'<li id="{targets[note.mark]}"><sup>{note.mark}</sup> <bdi>{escape(note.text)}</bdi></li>'
    text = f"<li><bdi>{escape(note.text)}</bdi></li>"
    shown = '<strong class="best">Best</strong> and <u class="second-best">second best</u>'
    return text.replace(BEST_AND_SECOND, shown, 1) if note.shows_ranks else text


def _part(grid: Grid, targets: Mapping[str, str]) -> str:
    headings = "".join(
        f'<th scope="col" class="{"label" if grid.is_word(at) else "value"}">{escape(heading)}</th>'
        for at, heading in enumerate(grid.headings)
    )
    bodies = (
        _body(grid, list(lines), grid.bodies[group], targets)
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


def _body(grid: Grid, lines: list[Line], body: Body, targets: Mapping[str, str]) -> str:
    """The lines that belong together when the table is sorted."""
    data = "".join(f' data-{name}="{escape(value)}"' for name, value in body.data.items())
    return "\n".join(
        [f'<tbody class="{body.kind}"{data}>', *(_line(grid, line, targets) for line in lines), "</tbody>"]
    )


def _line(grid: Grid, line: Line, targets: Mapping[str, str]) -> str:
    cells = "".join(_cells(grid, line, targets))
    return f'<tr class="{line.kind}">{cells}</tr>'


def _cells(grid: Grid, line: Line, targets: Mapping[str, str]) -> Iterator[str]:
    for at, cell in enumerate(line.cells):
        content = _content(cell, targets)
        data = "".join(f' data-{name}="{number!r}"' for name, number in cell.data.items())
        if at < grid.labels and cell.text:
            yield f'<th scope="row" class="label"{data}>{content}</th>'
        else:
            kind = "label" if grid.is_word(at) else "value" if cell.data else "empty"
            yield f'<td class="{kind}"{data}>{content}</td>'


def _content(cell: Cell, targets: Mapping[str, str]) -> str:
    """Text with the marks of rank and notes; a stranger's name cannot change the direction of what follows it."""
    text = f"<bdi>{escape(cell.text)}</bdi>" if cell.named else escape(cell.text)
    links = ", ".join(f'<a href="#{targets[mark]}">{mark}</a>' for mark in cell.marks)
    marks = f'<sup class="marks">{links}</sup>' if links else ""
    return _RANKS.get(cell.rank, "{}").format(text) + marks
