"""An honest comparison of checkpoints: differences on the same samples, with intervals, tests and their correction."""

from benchmarks.comparison.build import compare
from benchmarks.comparison.model import Comparison, Line, Pair, Tally
from benchmarks.comparison.render import render

__all__ = ["Comparison", "Line", "Pair", "Tally", "compare", "render"]
