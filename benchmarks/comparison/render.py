"""Print a comparison: for a terminal, for a paper, for the web, or for further analysis."""

from benchmarks.comparison.as_csv import as_csv
from benchmarks.comparison.model import Comparison
from benchmarks.comparison.sheet import sheet_of
from benchmarks.printing import printed


def render(comparison: Comparison, format: str = "text") -> str:
    """The comparison as text, without a newline at its end.

    Args:
        comparison: from :func:`benchmarks.comparison.compare`.
        format: ``text`` (wide: nothing is cut off), ``markdown``, ``latex``, ``html`` (a fragment for a page), or
            ``csv`` (a line for each metric, unrounded).

    Raises:
        OptionError: the format is unknown.
    """
    return printed(sheet_of(comparison), lambda: as_csv(comparison), format)
