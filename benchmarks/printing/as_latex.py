"""A sheet as LaTeX with booktabs, in plain ASCII, so that every engine can set it."""

import re
import unicodedata

from benchmarks.printing.sheet import BEST_AND_SECOND, Cell, Grid, Line, Note, Notes, Sheet

_RANKS = {1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    "`": r"{\char96}",
    "–": "--",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "…": r"\ldots{}",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
    "≈": r"$\approx$",
}
"""What stands for a character that LaTeX does not set as it is."""

_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": r"\`{{{}}}",
    "\N{COMBINING ACUTE ACCENT}": r"\'{{{}}}",
    "\N{COMBINING CIRCUMFLEX ACCENT}": r"\^{{{}}}",
    "\N{COMBINING TILDE}": r"\~{{{}}}",
    "\N{COMBINING DIAERESIS}": r"\"{{{}}}",
    "\N{COMBINING CEDILLA}": r"\c{{{}}}",
}

_HEAD = "% Needs \\usepackage{booktabs,adjustbox} in the preamble."


def as_latex(sheet: Sheet) -> str:
    """``table`` environments with booktabs rules, and the notes as lists; wide ones are shrunk to the line.

    The best value is bold, the second best underlined. A character that not every engine and font can set stands as
    its number, ``[U+4E2D]``.
    """
    parts = [_environment(part, sheet.name) if isinstance(part, Grid) else _list(part) for part in sheet.parts if part]
    return "\n\n".join([_HEAD, *parts])


def _list(notes: Notes) -> str:
    return "\n".join([r"\begin{itemize}", r"\footnotesize", *map(_note, notes), r"\end{itemize}"])


def _note(note: Note) -> str:
    text = f"  \\item[{{{_escaped(note.mark) or '--'}}}] {_escaped(note.text)}"
    return text.replace(BEST_AND_SECOND, r"\textbf{Best} and \underline{second best}", 1) if note.shows_ranks else text


def _environment(grid: Grid, name: str) -> str:
    """A floating table."""
    columns = "".join("l" if grid.is_word(at) else "r" for at in range(len(grid.headings)))
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{_escaped(grid.title)}}}",
            rf"\label{{tab:{name}-{grid.key}}}",
            r"\begin{adjustbox}{max width=\linewidth}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _line([_escaped(heading) for heading in grid.headings]),
            r"\midrule",
            *_body(grid),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{adjustbox}",
            r"\end{table}",
        ]
    )


def _body(grid: Grid) -> list[str]:
    """The lines; where rows have several of them, a little space between two rows."""
    spaced = len({line.group for line in grid.lines}) < len(grid.lines)
    written: list[str] = []
    before: Line | None = None
    for line in grid.lines:
        if spaced and before and before.group != line.group:
            written.append(r"\addlinespace")
        written.append(_line([_cell(cell) for cell in line.cells]))
        before = line
    return written


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    marks = rf"\textsuperscript{{{_escaped(','.join(cell.marks))}}}" if cell.marks else ""
    text = re.sub(r"-(?=\d)", "$-$", _escaped(cell.text)) if cell.data else _escaped(cell.text)
    return _RANKS.get(cell.rank, "{}").format(text) + marks


def _escaped(text: str) -> str:
    """Text that LaTeX sets as it is: no command, no new cell, no ligature of two hyphens, nothing but ASCII.

    A bracket or star that follows the end of a line would be taken for an option of it.
    """
    guard = "{}" if text.startswith(("[", "*")) else ""
    return guard + "-{}".join("".join(map(_character, part)) for part in re.split("-(?=-)", text))


def _character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isascii():
        return character
    base, *combining = list(unicodedata.normalize("NFD", character))
    if base.isascii() and base.isalpha() and len(combining) == 1 and combining[0] in _ACCENTS:
        return _ACCENTS[combining[0]].format(base)
    return f"[U+{ord(character):04X}]"
