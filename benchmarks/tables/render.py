"""Print an assembled table: for a terminal, for a paper, for the web, or for further analysis."""

from benchmarks.printing import printed
from benchmarks.tables.as_csv import as_csv
from benchmarks.tables.model import Table
from benchmarks.tables.sheet import sheet_of


def render(table: Table, format: str = "text") -> str:
    """The table as text, without a newline at its end.

    Args:
        table: from :func:`benchmarks.tables.build`.
        format: ``text`` (wide: nothing is cut off, also in a pipe), ``markdown`` (GitHub's), ``latex`` (booktabs),
            ``csv`` (a line for each cell, unrounded, for programs) or ``html`` (a fragment for a page).

    Raises:
        OptionError: the format is unknown.
    """
    return printed(sheet_of(table), lambda: as_csv(table), format)
