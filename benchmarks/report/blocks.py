"""What pages are made of. Each block names the template that draws it and tells the data behind it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from markupsafe import Markup

Value = str | int | float | None
Data = tuple[Sequence[str], Sequence[Sequence[Value]]]
"""Headings, and rows of as many values: what the CSV file beside a block holds."""

NO_PICTURE = Markup("")
_SHORT = 18
"""Characters of a text that stays on one line."""


class Block(Protocol):
    """A part of a section.

    Attributes:
        template: file in ``templates`` that draws it; there the block is called ``block``.
        title: of the block; also names its CSV file.
    """

    template: ClassVar[str]

    @property
    def title(self) -> str:
        """See the class."""

    def data(self) -> Data | None:
        """What is behind the block; None where there is nothing to take home."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        value: what it is sorted by and what the CSV file holds.
        text: what is shown; None: the value, numbers with two decimals.
        href: where it leads to.
        picture: a small chart behind the text.
        note: a quieter line below.
        style: CSS classes.
        hidden: what only a screen reader reads, behind the text.
        mark: signs of footnotes.
    """

    value: Value
    text: str | None = None
    href: str | None = None
    picture: Markup = NO_PICTURE
    note: str = ""
    style: str = ""
    hidden: str = ""
    mark: str = ""

    @property
    def shown(self) -> str:
        """What is shown."""
        if self.text is not None:
            return self.text
        if self.value is None:
            return "–"
        return f"{self.value:.2f}" if isinstance(self.value, float) else str(self.value)

    @property
    def numeric(self) -> bool:
        """Whether it is sorted as a number."""
        return isinstance(self.value, int | float)

    def classes(self, number: bool) -> str:
        """Its CSS classes in a column of numbers or of texts; short texts are not broken."""
        return " ".join(filter(None, ("number" * number, "short" * (len(self.shown) <= _SHORT), self.style)))


@dataclass(frozen=True)
class Grid:
    """A table; the first cell of a row is its heading.

    Attributes:
        title: caption.
        headings: one for each column, and whether its values are numbers.
        rows: of as many cells.
        lead: a sentence below the title.
        sortable: whether the reader may sort it.
        dense: whether it is drawn with little space.
        half: whether two of them may stand side by side.
        raw: the CSV file's headings and rows where they are more than what is shown.
    """

    template: ClassVar[str] = "grid.html"

    title: str
    headings: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Cell]]
    lead: str = ""
    sortable: bool = True
    dense: bool = False
    half: bool = False
    raw: Data | None = None

    def data(self) -> Data | None:
        """Every cell's value."""
        if self.raw is not None:
            return self.raw
        return [name for name, _ in self.headings], [[cell.value for cell in row] for row in self.rows]


@dataclass(frozen=True)
class Panel:
    """A chart with its name."""

    title: str
    chart: Markup


@dataclass(frozen=True)
class Figure:
    """Charts of one kind side by side.

    Attributes:
        title: heading.
        panels: the charts.
        values: headings and rows of the CSV file.
        lead: a sentence below the title.
        legend: names of the series, in the order of their colours.
        parts: names of what is stacked in a chart, in the order of their colours.
        natural: whether the charts keep their size, and are scrolled where there is no room.
    """

    template: ClassVar[str] = "figure.html"

    title: str
    panels: Sequence[Panel]
    values: Data
    lead: str = ""
    legend: Sequence[str] = ()
    parts: Sequence[str] = ()
    natural: bool = False

    def data(self) -> Data | None:
        """What the charts show."""
        return self.values


@dataclass(frozen=True)
class Facts:
    """Names and values.

    Attributes:
        title: heading.
        facts: (name, value, where it leads to or None).
        folded: whether only the title is shown until it is asked for.
    """

    template: ClassVar[str] = "facts.html"

    title: str
    facts: Sequence[tuple[str, str, str | None]]
    folded: bool = False

    def data(self) -> Data | None:
        """Nothing: facts are in the record."""
        return None


@dataclass(frozen=True)
class Prose:
    """Paragraphs, or points of a list, in two columns where there is room."""

    template: ClassVar[str] = "prose.html"

    paragraphs: Sequence[str]
    points: bool = False
    title: str = ""
    columns: bool = False

    def data(self) -> Data | None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class Tiles:
    """Numbers that are seen first: (number, what it counts, a quieter remark)."""

    template: ClassVar[str] = "tiles.html"

    tiles: Sequence[tuple[str, str, str]]
    title: str = ""

    def data(self) -> Data | None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class Links:
    """A list of links: (text, href, a quieter remark)."""

    template: ClassVar[str] = "links.html"

    links: Sequence[tuple[str, str, str]]
    title: str = ""

    def data(self) -> Data | None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class Picture:
    """A picture of the site.

    Attributes:
        src: where it lies.
        size: width and height in pixels.
        alt: what is on it.
        title: above it.
        note: below it.
    """

    src: str
    size: tuple[int, int]
    alt: str
    title: str
    note: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures in rows: what belongs together stands side by side.

    Attributes:
        title: heading.
        rows: anchor, heading (or nothing) and pictures of each.
        wide: whether each picture takes the whole width.
    """

    template: ClassVar[str] = "gallery.html"

    title: str
    rows: Sequence[tuple[str, str, Sequence[Picture]]]
    wide: bool = False

    def data(self) -> Data | None:
        """Nothing: the pictures are the data."""
        return None


@dataclass(frozen=True)
class Answer:
    """One of the answers to a query.

    Attributes:
        text: what it says, or whose picture it is.
        score: how near it lies to the query.
        right: whether it is one that was looked for.
        picture: it itself, where it is a picture that is there.
    """

    text: str
    score: float
    right: bool
    picture: Picture | None = None


@dataclass(frozen=True)
class Query:
    """A query with what several runs found.

    Attributes:
        text: what was asked for, or whose picture asks.
        note: a quieter line below.
        picture: the one that asks, if it is there.
        found: name of each run, at which place it found the right answer, and its first answers.
    """

    text: str
    note: str
    picture: Picture | None
    found: Sequence[tuple[str, int, Sequence[Answer]]]

    @property
    def pictured(self) -> bool:
        """Whether any answer is a picture that is there; those that are not keep their places then."""
        return any(answer.picture for _, _, answers in self.found for answer in answers)


@dataclass(frozen=True)
class Answers:
    """The same queries to several runs, side by side.

    Attributes:
        title: heading.
        queries: the queries.
        values: headings and rows of the CSV file.
        lead: a sentence below the title.
    """

    template: ClassVar[str] = "answers.html"

    title: str
    queries: Sequence[Query]
    values: Data
    lead: str = ""

    def data(self) -> Data | None:
        """A line for each answer, with nothing left out of its texts."""
        return self.values


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading."""

    title: str
    blocks: Sequence[Block]
    lead: str = ""


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        name: of its file, without suffix.
        title: heading and title of the window.
        sections: its parts.
        lead: a sentence below the heading.
        area: the entry of the navigation that it belongs to.
        up: (text, href) of the page above it.
        downloads: (text, name of the file in ``data``, its content).
    """

    name: str
    title: str
    sections: Sequence[Section]
    lead: str = ""
    area: str = ""
    up: tuple[str, str] | None = None
    downloads: Sequence[tuple[str, str, str]] = field(default_factory=tuple)
