"""Sheets of words and numbers, printed for a terminal, for a paper and for the web."""

from benchmarks.printing.formats import FORMATS, printed
from benchmarks.printing.sheet import Body, Cell, Grid, Line, Note, Sheet
from benchmarks.printing.spreadsheet import unfolded

__all__ = ["FORMATS", "Body", "Cell", "Grid", "Line", "Note", "Sheet", "printed", "unfolded"]
