"""Print an assembled table: for a terminal, for a paper, for the web, or for further analysis."""

from collections.abc import Callable, Mapping

from benchmarks.errors import OptionError
from benchmarks.tables.as_csv import as_csv
from benchmarks.tables.as_html import as_html
from benchmarks.tables.as_latex import as_latex
from benchmarks.tables.as_markdown import as_markdown
from benchmarks.tables.as_text import as_text
from benchmarks.tables.model import Table

FORMATS: Mapping[str, Callable[[Table], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
    "html": as_html,
}
"""What a table can be printed as."""


def render(table: Table, format: str = "text") -> str:
    """The table as text, without a newline at its end.

    Args:
        table: from :func:`benchmarks.tables.build`.
        format: ``text`` (wide: nothing is cut off, also in a pipe), ``markdown`` (GitHub's), ``latex`` (booktabs),
            ``csv`` (a line for each cell, unrounded, for programs) or ``html`` (a fragment for a page).

    Raises:
        OptionError: the format is unknown.
    """
    if format not in FORMATS:
        raise OptionError(f"unknown format {format!r}: choose one of {', '.join(FORMATS)}")
    return FORMATS[format](table)
