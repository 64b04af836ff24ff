"""The paper's Tables 1 to 4 with the measured values beside the printed ones."""

from benchmarks.tables.build import build
from benchmarks.tables.model import Entry, Measured, Note, OtherRun, PaperValue, Row, Table, Views
from benchmarks.tables.render import render

__all__ = ["Entry", "Measured", "Note", "OtherRun", "PaperValue", "Row", "Table", "Views", "build", "render"]
