"""A table as GitHub's Markdown."""

import html
import re

from benchmarks.tables.grid import BEST_AND_SECOND, Cell, Grid, grids, legend
from benchmarks.tables.model import Note, Table

_RANKS = {1: "**{}**", 2: "<u>{}</u>"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]|~#$!])")
_ADDRESS = re.compile(r"(?i)(?<=\w):(?=//)|(?<=www)\.")


def as_markdown(table: Table) -> str:
    """GitHub's Markdown; the best of the paper's values is bold, the second best underlined."""
    notes = [_note(note) for note in legend(table)]
    notes[0] = notes[0].replace(BEST_AND_SECOND, "**Best** and <u>second best</u>", 1)
    return "\n\n".join([*map(_grid, grids(table)), "\n".join(notes)])


def _note(note: Note) -> str:
    return f"- {_sign(note.mark) + ' ' if note.mark else ''}{_escaped(note.text)}"


def _grid(grid: Grid) -> str:
    rule = ["---" if at < grid.labels else "---:" for at in range(len(grid.headings))]
    lines = [[_cell(cell) for cell in line.cells] for line in grid.lines]
    rows = [list(map(_escaped, grid.headings)), rule, *lines]
    return "\n".join([f"### {_escaped(grid.title)}", "", *("| " + " | ".join(row) + " |" for row in rows)])


def _cell(cell: Cell) -> str:
    marks = _sign(", ".join(cell.marks)) if cell.marks else ""
    return _RANKS.get(cell.rank, "{}").format(_escaped(cell.text)) + marks


def _sign(mark: str) -> str:
    return f"<sup>{mark}</sup>"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: no tags, links, emphasis, formulas or new cells out of a checkpoint's name."""
    safe = _SPECIAL.sub(r"\\\1", html.escape(text, quote=False))
    return _ADDRESS.sub(lambda found: f"&#{ord(found.group())};", safe)
