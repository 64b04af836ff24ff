"""The formats by name."""

from collections.abc import Callable, Mapping

from benchmarks.errors import OptionError
from benchmarks.printing.as_html import as_html
from benchmarks.printing.as_latex import as_latex
from benchmarks.printing.as_markdown import as_markdown
from benchmarks.printing.as_text import as_text
from benchmarks.printing.sheet import Sheet

_WRITERS: Mapping[str, Callable[[Sheet], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "latex": as_latex,
    "html": as_html,
}

FORMATS = (*_WRITERS, "csv")
"""What tables and comparisons can be printed as."""


def printed(sheet: Sheet, csv: Callable[[], str], format: str) -> str:
    """The sheet as text, without a newline at its end.

    Args:
        sheet: what people read.
        csv: gives the same for programs: a line for each value, unrounded.
        format: ``text`` (wide: nothing is cut off, also in a pipe), ``markdown`` (GitHub's), ``latex`` (booktabs),
            ``html`` (a fragment for a page) or ``csv``.

    Raises:
        OptionError: the format is unknown.
    """
    if format == "csv":
        return csv()
    if format not in _WRITERS:
        raise OptionError(f"unknown format {format!r}: choose one of {', '.join(FORMATS)}")
    return _WRITERS[format](sheet)
