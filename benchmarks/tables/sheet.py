"""A table as lines of words, ready to be printed in any format."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks.printing import Body, Cell, Grid, Line, Note, Sheet
from benchmarks.printing.sheet import BEST_AND_SECOND
from benchmarks.tables.layouts import VIEWS_LABEL
from benchmarks.tables.model import Entry, Measured, OtherRun, PaperValue, Row, Table, Views

OTHER_TITLE = "Other runs (not comparable with the paper)"
VIEWS_TITLE = "Effective views: views per image x epochs x images"
DASH = "–"


def sheet_of(table: Table) -> Sheet:
    """The table itself; where the paper prints effective views what is behind them; any other runs; the notes.

    Keys of the grids: ``main``, ``views`` and ``other``. Kinds of their bodies: ``paper-row`` (with its name as
    ``row`` and in ``weights`` whether its weights can be had), ``own-row`` and ``other-run``; of lines: ``paper``,
    ``ours``, ``difference``, ``status`` and ``other``.
    """
    grids = [_main_grid(table)]
    if any(row.views for row in table.rows):
        grids.append(_views_grid(table))
    if table.other:
        grids.append(_other_grid(table.other))
    return Sheet(f"paper-table-{table.number}", "paper-table", (*grids, tuple(_legend(table))))


def _legend(table: Table) -> list[Note]:
    """How to read the marks and numbers, then the table's own notes."""
    within = " and ".join(f"number of {label}" for label in table.layout.rank_within)
    where = f"the rows of the same {within}" if within else "the whole column"
    return [
        Note(
            f"{BEST_AND_SECOND} are taken among the paper's own values in {where}; equal values share a mark. "
            "Measured values have none: beside them stand their difference to the paper's printed value and its "
            "95 % interval.",
            shows_ranks=True,
        ),
        Note(
            "In brackets the 95 % interval over images, of several seeds the mean of theirs; ± is the standard "
            "deviation over seeds, which a single seed does not tell. The paper gives no interval, so that of a "
            "difference is ours alone. Averages are taken over complete rows only."
        ),
        *(Note(note.text, note.mark) for note in table.notes),
    ]


def _bodies(table: Table) -> tuple[Body, ...]:
    """A body for each row."""
    return tuple(_body(row) for row in table.rows)


def _body(row: Row) -> Body:
    if not row.name:
        return Body("own-row")
    return Body("paper-row", {"row": row.name} | ({"weights": row.weights.state} if row.weights else {}))


# ---- the table itself


def _main_grid(table: Table) -> Grid:
    """Each row of the paper as a line of its own, and below it the checkpoints that stand for it."""
    labels = [title for _, title in table.layout.labels]
    titles = [column.title for column in table.layout.columns]
    lines = [
        Line(kind, group, tuple(cells))
        for group, row in enumerate(table.rows)
        for kind, cells in _row_lines(table, row)
    ]
    return Grid("main", table.layout.title, (*labels, "source", *titles), tuple(lines), len(labels) + 1, _bodies(table))


def _row_lines(table: Table, row: Row) -> Iterator[tuple[str, list[Cell]]]:
    names = [name for name, _ in table.layout.labels]
    blank = [Cell("")] * len(names)
    if row.paper:
        yield "paper", _paper_line(table, row)
    if not row.entries:
        yield "ours", [*blank, Cell("ours"), *(Cell(row.absent[column.name]) for column in table.layout.columns)]
    for entry in row.entries:
        who = Cell(_who(entry.checkpoint, entry.tower), named=True)
        yield "ours", [*_entry_labels(row, entry, names), who, *_each(table, entry, _value, entry.absent)]
        if any(cell.difference is not None for cell in entry.cells.values()):
            yield "difference", [*blank, Cell("difference"), *_each(table, entry, _difference)]
        yield "status", [*blank, Cell(_completeness(table, entry)), *_each(table, entry, _status)]


def _paper_line(table: Table, row: Row) -> list[Cell]:
    labels = [
        Cell(
            (row.labels[name] or DASH) + _readme(row.readme.get(name)),
            marks=table.marks(row.name, name),
            data=_numeric(row.labels[name]),
        )
        for name, _ in table.layout.labels
    ]
    values = [
        _paper_cell(row.paper.get(column.name), table.marks(row.name, column.name)) for column in table.layout.columns
    ]
    return [*labels, Cell("paper", marks=table.marks(row.name, "")), *values]


def _paper_cell(value: PaperValue | None, marks: tuple[str, ...]) -> Cell:
    if value is None:
        return Cell(DASH, marks=marks)
    recomputed = f" ({value.recomputed:.2f})" if value.recomputed is not None else ""
    return Cell(value.printed + recomputed + _readme(value.readme), value.rank, marks, {"value": value.value})


def _readme(value: str | None) -> str:
    """What the README of the release prints instead, behind the paper's value."""
    return f" (README {value})" if value is not None else ""


def _numeric(text: str) -> dict[str, float]:
    """What a label is sorted by: epochs, views in millions, weights."""
    number = text.removesuffix("M")
    return {"value": float(number)} if number.replace(".", "", 1).isdecimal() and number.isascii() else {}


def _entry_labels(row: Row, entry: Entry, names: Sequence[str]) -> list[Cell]:
    """Below a row of the paper only the views; an own row says so, lest it seem part of the one above."""
    known = {VIEWS_LABEL: _millions(entry.views)}
    if not row.paper:
        known = dict.fromkeys(names, DASH) | dict(entry.labels) | known | {names[0]: "own row"}
    views = {"value": entry.views / 1e6} if entry.views is not None else {}
    return [Cell(known.get(name, ""), data=views if name == VIEWS_LABEL else {}, named=not row.paper) for name in names]


def _each(
    table: Table, entry: Entry, write: Callable[[Measured], Cell], absent: Mapping[str, str] | None = None
) -> list[Cell]:
    """Every column of an entry, written by ``write``; an empty one says why if ``absent`` does."""
    cells = []
    for column in table.layout.columns:
        found = entry.cells.get(column.name)
        cells.append(write(found) if found else Cell((absent or {}).get(column.name, "")))
    return cells


def _value(cell: Measured) -> Cell:
    spread = f" ± {cell.spread:.2f}" if cell.spread is not None else ""
    text = f"{cell.value:.2f}{spread}{_interval(cell.low, cell.high, '.2f')}"
    return Cell(text, data=_known(value=cell.value, low=cell.low, high=cell.high))


def _difference(cell: Measured) -> Cell:
    if cell.difference is None:
        return Cell("")
    low, high = cell.difference_low, cell.difference_high
    text = f"{cell.difference:+.2f}{_interval(low, high, '+.2f')}"
    return Cell(text, data=_known(value=cell.difference, low=low, high=high))


def _known(**numbers: float | None) -> dict[str, float]:
    return {name: number for name, number in numbers.items() if number is not None}


def _interval(low: float | None, high: float | None, form: str) -> str:
    return f" [{low:{form}}, {high:{form}}]" if low is not None and high is not None else ""


def _status(cell: Measured) -> Cell:
    return Cell(f"full, {cell.seeds} seed{'s' if cell.seeds > 1 else ''}", data={"value": cell.seeds})


def _completeness(table: Table, entry: Entry) -> str:
    """Whether all measured columns are there."""
    columns = table.layout.measured
    there = sum(column.name in entry.cells for column in columns)
    return "status" if there == len(columns) else f"status: incomplete, {there} of {len(columns)}"


def _who(checkpoint: str, tower: str | None) -> str:
    return f"{checkpoint} ({tower})" if tower else checkpoint


# ---- effective views


def _views_grid(table: Table) -> Grid:
    """For each row of the paper the printed product and the one of its public recipe; below it what was trained."""
    headings = ("row", "source", "printed", "implied views", "views", "epochs", "images", "product")
    lines = []
    for group, row in enumerate(table.rows):
        if row.views:
            printed = Cell(row.views.printed + _readme(row.readme.get(VIEWS_LABEL)), data=_numeric(row.views.printed))
            implied = Cell(f"{row.views.implied:g}", data={"value": row.views.implied})
            words = (Cell(row.name), Cell("public recipe"), printed, implied)
            lines.append(Line("paper", group, (*words, *_factors(row.views.recipe))))
        for entry in row.entries:
            who = Cell(_who(entry.checkpoint, entry.tower), named=True)
            words = (Cell("" if row.views else row.name or "own row"), who, Cell(""), Cell(""))
            lines.append(Line("ours", group, (*words, *_factors(entry.trained))))
    return Grid("views", VIEWS_TITLE, headings, tuple(lines), 2, _bodies(table))


def _factors(views: Views) -> Iterator[Cell]:
    for factor in (views.views, views.epochs, views.images):
        yield Cell(DASH) if factor is None else Cell(f"{factor:,.10g}", data={"value": factor})
    total = views.total
    yield Cell(DASH) if total is None else Cell(_millions(total), data={"value": total / 1e6})


def _millions(views: float | None) -> str:
    """Effective views in millions, as the paper counts them."""
    return f"{views / 1e6:.1f}M" if views is not None else ""


# ---- other runs


def _other_grid(runs: Sequence[OtherRun]) -> Grid:
    """The runs that must not stand beside the paper's values, with the reason and the counts."""
    headings = ("benchmark", "checkpoint", "row", "why not comparable", "metric", "value", "scored", "seed", "run")
    return Grid(
        "other",
        OTHER_TITLE,
        headings,
        tuple(Line("other", at, tuple(_other_cells(run))) for at, run in enumerate(runs)),
        labels=5,
        bodies=(Body("other-run"),) * len(runs),
    )


def _other_cells(run: OtherRun) -> Iterator[Cell]:
    measured = run.measured
    yield Cell(run.benchmark)
    yield Cell(_who(run.checkpoint, run.tower), named=True)
    yield Cell(run.row or DASH, named=True)
    yield Cell(run.reason)
    yield Cell(run.metric)
    yield Cell(
        f"{measured.value:.2f}{_interval(measured.low, measured.high, '.2f')}",
        data=_known(value=measured.value, low=measured.low, high=measured.high),
    )
    yield Cell(f"{run.counts.scored} of {run.counts.official}", data={"value": run.counts.scored})
    yield Cell(str(run.seed), data={"value": run.seed})
    yield Cell(run.run_id)
