"""What a table is once it has been assembled, whatever it is printed as."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.records import Counts, Metric
from benchmarks.tables.layouts import Layout


@dataclass(frozen=True)
class PaperValue:
    """A value of the paper.

    Attributes:
        printed: as the paper prints it.
        value: the same as a number, in percent.
        rank: 1 for the best value, 2 for the second best; equal values share a rank and use up one.
        recomputed: for an average, the mean of the printed cells; None otherwise.
    """

    printed: str
    value: float
    rank: int
    recomputed: float | None = None


@dataclass(frozen=True)
class Measured:
    """A measured cell, in percent: one run with its interval, or the mean of several seeds with its spread.

    Attributes:
        value: of the run, or the mean over seeds.
        low, high: 95 % interval of a single run; None for several, or where the run has none.
        spread: standard deviation over seeds; None for one.
        seeds: number of runs behind the value.
        difference: value minus the paper's printed value; None where the paper has none.
        run_ids: the runs behind the value.
    """

    value: float
    low: float | None
    high: float | None
    spread: float | None
    seeds: int
    difference: float | None
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """What one checkpoint (and one of its towers) reached in a row.

    Attributes:
        checkpoint: its name, printable and at most 60 characters long.
        sha256: of its file.
        tower: which of its towers, where it has several.
        labels: label columns known from its own training record.
        views: views per image x epochs x images, where all three are known.
        cells: column name to measured cell; columns without a full run are absent.
    """

    checkpoint: str
    sha256: str
    tower: str | None
    labels: Mapping[str, str]
    views: float | None
    cells: Mapping[str, Measured]


@dataclass(frozen=True)
class Row:
    """A row of the paper and the checkpoints standing for it; or a checkpoint's own row (``paper`` empty)."""

    labels: Mapping[str, str]
    paper: Mapping[str, PaperValue]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class OtherRun:
    """A value that must not stand beside the paper's, and why."""

    benchmark: str
    checkpoint: str
    tower: str | None
    row: str | None
    status: str
    reason: str
    metric: str
    measured: Metric
    counts: Counts
    seed: int
    run_id: str


@dataclass(frozen=True)
class Table:
    """A table ready to be printed; ``missing`` says for each column why a cell of it is empty."""

    number: int
    layout: Layout
    rows: tuple[Row, ...]
    missing: Mapping[str, str]
    other: tuple[OtherRun, ...]
    footnotes: tuple[str, ...]
