"""What a comparison is once it has been computed, whatever it is printed as."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.comparison.inference import Difference

Verdict = Literal["better", "worse", "better, one seed", "worse, one seed", "within seed spread", "noise"]

LEVEL = 0.05
"""Corrected p-values below it are differences, all others noise."""


@dataclass(frozen=True)
class Line:
    """One metric of one benchmark, other against baseline.

    Attributes:
        benchmark, metric: what was measured.
        difference: values, interval and p-value.
        p_holm: the p-value after Holm's correction over all lines of the comparison.
        verdict: whether it is a real difference: ``better`` or ``worse`` (of the other), ``noise``; where heads are
            trained and each side has one seed, ``..., one seed``, or ``within seed spread`` if runs of one checkpoint
            are known to differ by as much.
        status: of the runs, ``full`` unless they are not comparable with the paper.
        run_ids: the runs of the baseline, and of the other.
    """

    benchmark: str
    metric: str
    difference: Difference
    p_holm: float
    verdict: Verdict
    status: str
    run_ids: tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Tally:
    """How often the other checkpoint wins, over the sets of Table 3 that both were scored on.

    Attributes:
        win, tie, loss: differences that are real, or not.
        higher, equal, lower: by the plain values, whatever chance has to do with it.
        missing: the sets of the 13 that are not among them.
    """

    win: int
    tie: int
    loss: int
    higher: int
    equal: int
    lower: int
    missing: tuple[str, ...]

    @property
    def sets(self) -> int:
        """How many sets it is over."""
        return self.win + self.tie + self.loss


@dataclass(frozen=True)
class Pair:
    """The baseline and one other checkpoint.

    Attributes:
        other: how the other checkpoint is called.
        lines: in the order of the suite.
        tally: over Table 3; None where no set of it was compared.
        own: settings of the checkpoints' own that differ, shown and not refused: dotted name to the values of both
            sides and the benchmarks where it is so.
        refused: benchmarks of both that could not be compared, and why.
        missing: benchmarks that only one of them has runs of, and which.
        notes: what else a reader must know.
    """

    other: str
    lines: tuple[Line, ...]
    tally: Tally | None
    own: Mapping[str, tuple[str, str, tuple[str, ...]]]
    refused: tuple[str, ...]
    missing: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A baseline against one or more checkpoints; ``tests`` is the number of lines that Holm's correction is over."""

    baseline: str
    pairs: tuple[Pair, ...]
    tests: int
    footnotes: tuple[str, ...]
