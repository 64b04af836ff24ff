"""What a table is once it has been assembled, whatever it is printed as."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
        readme: what the README of the code release prints instead; None where the two agree.
    """

    printed: str
    value: float
    rank: int
    recomputed: float | None = None
    readme: str | None = None

    @property
    def disputed(self) -> bool:
        """Whether an average, rounded as it is printed, is not what its own cells give."""
        return self.recomputed is not None and f"{self.recomputed:.1f}" != f"{self.value:.1f}"


@dataclass(frozen=True)
class Measured:
    """A measured cell, in percent: one run, or the mean of several seeds with its spread.

    Attributes:
        value: of the run, or the mean over seeds.
        low, high: 95 % interval over images; of several seeds the mean of theirs, which is at least as wide as that
            of the mean. None where a run has none.
        spread: standard deviation over seeds; None for one.
        seeds: number of runs behind the value.
        difference: value minus the paper's printed value; None where the paper has none.
        difference_low, difference_high: the interval less the paper's printed value, which is taken as exact.
        run_ids: the runs behind the value.
    """

    value: float
    low: float | None
    high: float | None
    spread: float | None
    seeds: int
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class Views:
    """The factors of the effective views; None where one is not known.

    Attributes:
        views: views per image.
        epochs: passes over the images.
        images: number of training images.
    """

    views: float | None = None
    epochs: float | None = None
    images: float | None = None

    @property
    def total(self) -> float | None:
        """Views per image x epochs x images, where all three are known."""
        if self.views is None or self.epochs is None or self.images is None:
            return None
        return self.views * self.epochs * self.images


@dataclass(frozen=True)
class PaperViews:
    """The effective views of a row of the paper.

    Attributes:
        printed: as the paper prints them.
        implied: the views per image that the printed value is made of, with the paper's rounded number of images.
        recipe: the factors in the method's public recipe, with the true number of images.
    """

    printed: str
    implied: float
    recipe: Views


@dataclass(frozen=True)
class Weights:
    """Whether the weights of a row can be had: ``state`` and ``name`` of ``benchmarks.checkpoints.registry``."""

    state: Literal["public", "by hand", "no public weights", "layout unknown"]
    name: str


@dataclass(frozen=True)
class Entry:
    """What one checkpoint (and one of its towers) reached in a row.

    Attributes:
        checkpoint: its name, printable and at most 60 characters long; then in brackets what tells this entry from
            others of that name, ``slip [norm_layer=BN]``, and loss weights that are not those of the paper's method.
        sha256: of its file.
        tower: which of its towers, where it has several.
        labels: label columns known from its own training record.
        trained: the factors of its effective views, as far as its training record tells them.
        cells: column name to measured cell; columns without a full run are absent.
        absent: column name to the reason why it is absent from ``cells``.
    """

    checkpoint: str
    sha256: str
    tower: str | None
    labels: Mapping[str, str]
    trained: Views
    cells: Mapping[str, Measured]
    absent: Mapping[str, str]

    @property
    def views(self) -> float | None:
        """Views per image x epochs x images, where all three are known."""
        return self.trained.total


@dataclass(frozen=True)
class Row:
    """A row of the paper and the checkpoints standing for it; or a checkpoint's own row (``paper`` empty).

    Attributes:
        name: ``METHOD[@EPOCHS]``; empty for a checkpoint's own row.
        labels: the label columns as printed.
        paper: column name to the paper's value; absent where the paper has a dash.
        entries: the checkpoints.
        absent: column name to the reason why no checkpoint has a value there; of a row without entries.
        readme: label columns that the README of the code release prints otherwise.
        views: what is behind the printed effective views, where the table prints them.
        weights: whether there are public weights of the row.
    """

    name: str
    labels: Mapping[str, str]
    paper: Mapping[str, PaperValue]
    entries: tuple[Entry, ...]
    absent: Mapping[str, str] = field(default_factory=dict)
    readme: Mapping[str, str] = field(default_factory=dict)
    views: PaperViews | None = None
    weights: Weights | None = None


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
class Note:
    """What a reader must know.

    Attributes:
        text: the note.
        mark: the sign that leads to it from its cells; empty for a note on the whole table.
        cells: (name of a row of the paper, name of a column) it belongs to; an empty column means the row.
    """

    text: str
    mark: str = ""
    cells: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Table:
    """A table ready to be printed; its first rows are the paper's, in the paper's order."""

    number: int
    layout: Layout
    rows: tuple[Row, ...]
    other: tuple[OtherRun, ...]
    notes: tuple[Note, ...]

    @property
    def footnotes(self) -> tuple[str, ...]:
        """All notes without their marks."""
        return tuple(note.text for note in self.notes)

    def marks(self, row: str, column: str) -> tuple[str, ...]:
        """The marks of the notes that belong to a cell of the paper (an empty column: to the row)."""
        return tuple(note.mark for note in self.notes if (row, column) in note.cells)
