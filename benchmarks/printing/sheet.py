"""What text, Markdown, LaTeX and HTML share: grids of words, and notes. Marks and escapes are theirs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

BEST_AND_SECOND = "Best and second best"
"""Every format shows its marks of rank on these words of a note that ``shows_ranks``."""


@dataclass(frozen=True)
class Cell:
    """A cell of a printed line.

    Attributes:
        text: without marks and escapes; printable, but as hostile as the names in it.
        rank: 1 or 2 for the best and second best, else a number of no meaning.
        marks: of the notes that belong to it.
        data: numbers behind the text, by name: ``value``, and ``low`` and ``high`` of its interval.
        named: whether the text is a name that strangers chose.
    """

    text: str
    rank: int = 0
    marks: tuple[str, ...] = ()
    data: Mapping[str, float] = field(default_factory=dict)
    named: bool = False


@dataclass(frozen=True)
class Line:
    """A line; those that belong together have the same ``group``, a place among the grid's bodies.

    Attributes:
        kind: what it tells, one word.
        group: of lines that are sorted together.
        cells: one a column.
    """

    kind: str
    group: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Body:
    """Lines that belong together: what they are, one word, and data of theirs by name."""

    kind: str
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """A table of words: headings, and lines of as many cells.

    Attributes:
        key: tells it from the others of its sheet, one word.
        title: heading of the whole.
        headings: of the columns.
        lines: as many cells each as there are headings.
        labels: number of columns, the first ones, that say what a line is.
        bodies: what each group of lines is.
        closing: number of columns, the last ones, that are words again.
    """

    key: str
    title: str
    headings: tuple[str, ...]
    lines: tuple[Line, ...]
    labels: int
    bodies: tuple[Body, ...]
    closing: int = 0

    def is_word(self, at: int) -> bool:
        """Whether a column holds words, not numbers."""
        return at < self.labels or at >= len(self.headings) - self.closing


@dataclass(frozen=True)
class Note:
    """What a reader must know.

    Attributes:
        text: the note.
        mark: the sign that leads to it from its cells; empty for a note on the whole.
        shows_ranks: whether it begins with :data:`BEST_AND_SECOND`.
    """

    text: str
    mark: str = ""
    shows_ranks: bool = False


Notes = tuple[Note, ...]


@dataclass(frozen=True)
class Sheet:
    """Grids and notes in the order in which they are printed.

    Attributes:
        name: letters, digits and hyphens: what links and references begin with.
        kind: what it is, one word.
        parts: of it.
    """

    name: str
    kind: str
    parts: tuple[Grid | Notes, ...]
