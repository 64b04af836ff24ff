"""A sheet as GitHub's Markdown."""

import html
import re

from benchmarks.printing.sheet import BEST_AND_SECOND, Cell, Grid, Note, Sheet

_RANKS = {1: "**{}**", 2: "<u>{}</u>"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]|~#$!])")
_ADDRESS = re.compile(r"(?i)(?<=\w):(?=//)|(?<=www)\.")


def as_markdown(sheet: Sheet) -> str:
    """GitHub's Markdown; the best value is bold, the second best underlined."""
    return "\n\n".join(
        _grid(part) if isinstance(part, Grid) else "\n".join(map(_note, part)) for part in sheet.parts if part
    )


def _note(note: Note) -> str:
    text = f"- {_sign(note.mark) + ' ' if note.mark else ''}{_escaped(note.text)}"
    return text.replace(BEST_AND_SECOND, "**Best** and <u>second best</u>", 1) if note.shows_ranks else text


def _grid(grid: Grid) -> str:
    rule = ["---" if grid.is_word(at) else "---:" for at in range(len(grid.headings))]
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
