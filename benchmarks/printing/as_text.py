"""A sheet as plain text, drawn by rich."""

import io
import textwrap
import unicodedata

from benchmarks.printing.sheet import BEST_AND_SECOND, Cell, Grid, Note, Sheet

_RANKS = {1: "*{}*", 2: "_{}_"}
_RIGHT_TO_LEFT = {"R", "AL", "AN"}


def as_text(sheet: Sheet) -> str:
    """Plain text; the best value is ``*starred*``, the second best ``_underlined_``."""
    return "\n\n".join(
        _drawn(part) if isinstance(part, Grid) else "\n".join(map(_note, part)) for part in sheet.parts if part
    )


def _note(note: Note) -> str:
    text = textwrap.fill(
        f"{'[' + note.mark + ']' if note.mark else '-'} {_isolated(note.text)}",
        110,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return text.replace(BEST_AND_SECOND, "*Best* and _second best_", 1) if note.shows_ranks else text


def _drawn(grid: Grid) -> str:
    """A grid drawn by rich at its natural width, whatever the terminal's, without colours."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=SIMPLE_HEAD, padding=(0, 1))
    for at, heading in enumerate(grid.headings):
        drawn.add_column(Text(_isolated(heading)), justify="left" if grid.is_word(at) else "right", no_wrap=True)
    for line in grid.lines:
        # Text objects, not strings: a name such as "[red]" must not be taken for markup.
        drawn.add_row(*(Text(_written(cell)) for cell in line.cells))
    console = Console(file=io.StringIO(), width=100_000, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(drawn)
    return f"{_isolated(grid.title)}\n" + "\n".join(line.rstrip() for line in captured.get().strip("\n").splitlines())


def _written(cell: Cell) -> str:
    marks = f" [{','.join(cell.marks)}]" if cell.marks else ""
    return _RANKS.get(cell.rank, "{}").format(_isolated(cell.text)) + marks


def _isolated(text: str) -> str:
    """Text of which the right-to-left part cannot draw the numbers beside it to its other side."""
    if not any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in text):
        return text
    return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}"
