"""The paper's rows: every value with its rank, what disagrees with it, and what a reader must know of it."""

import string
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from benchmarks.checkpoints.registry import ENTRIES
from benchmarks.checkpoints.registry import Entry as Published
from benchmarks.tables.layouts import (
    VIEWS_LABEL,
    Column,
    Layout,
    effective_views,
    paper_rows,
    reader_notes,
    readme_disagreements,
)
from benchmarks.tables.model import Note, PaperValue, PaperViews, Row, Views, Weights

_UNAVAILABLE = {"no public weights": "†", "layout unknown": "†", "by hand": "‡"}
"""The signs of rows that nobody can run without more than a download."""

Ranks = Mapping[tuple[str, ...], Mapping[float, int]]


def rows_of_paper(layout: Layout, table: int) -> list[Row]:
    """The paper's rows without entries, in its order; ranks are taken inside a column (and group)."""
    printed = paper_rows(table)
    ranks = _ranks(layout, printed)
    readme: dict[str, dict[str, str]] = defaultdict(dict)
    for cell in readme_disagreements(table):
        readme[layout.name_of(cell)][cell["column"]] = cell["readme"]
    views = _views(printed) if VIEWS_LABEL in dict(layout.labels) else {}
    weights = {_own_name(layout, entry): Weights(entry.state, entry.name) for entry in ENTRIES if entry.row}
    rows = []
    for cells in printed:
        name = layout.name_of(cells)
        found = {column.name: _value(layout, cells, column, ranks, readme[name]) for column in layout.columns}
        labels = {label: cells[label] for label, _ in layout.labels}
        rows.append(
            Row(
                name=name,
                labels=labels,
                paper={column: value for column, value in found.items() if value is not None},
                entries=(),
                readme={label: value for label, value in readme[name].items() if label in labels},
                views=views.get(name),
                weights=weights.get(name),
            )
        )
    return rows


def _ranks(layout: Layout, printed: Iterable[Mapping[str, str]]) -> Ranks:
    """For each column (and group of rows): its distinct values, the best of which has rank 1."""
    groups = defaultdict(set)
    for cells in printed:
        for column in layout.columns:
            if cells[column.name]:
                groups[_group(layout, cells, column)].add(float(cells[column.name]))
    return {
        group: {value: rank for rank, value in enumerate(sorted(values, reverse=True), start=1)}
        for group, values in groups.items()
    }


def _group(layout: Layout, cells: Mapping[str, str], column: Column) -> tuple[str, ...]:
    return (column.name, *(cells[label] for label in layout.rank_within))


def _value(
    layout: Layout, cells: Mapping[str, str], column: Column, ranks: Ranks, readme: Mapping[str, str]
) -> PaperValue | None:
    """One of the paper's values; None where it has a dash."""
    printed = cells[column.name]
    if not printed:
        return None
    return PaperValue(
        printed=printed,
        value=float(printed),
        rank=ranks[_group(layout, cells, column)][float(printed)],
        recomputed=fmean(float(cells[name]) for name in column.mean_of) if column.mean_of else None,
        readme=readme.get(column.name),
    )


def _views(printed: Iterable[Mapping[str, str]]) -> dict[str, PaperViews]:
    """Row name to what is behind its printed effective views, ``750M`` for example."""
    behind = {line["row"]: line for line in effective_views()}
    found = {}
    for cells in printed:
        name, views = f"{cells['method']}@{cells['epochs']}", cells[VIEWS_LABEL]
        if name in behind:
            line = behind[name]
            epochs = float(line["epochs"])
            implied = float(views.removesuffix("M")) * 1e6 / (epochs * float(line["rounded_images"]))
            known = float(line["recipe_views"]) if line["recipe_views"] else None
            found[name] = PaperViews(views, implied, Views(known, epochs, float(line["images"])))
    return found


def _own_name(layout: Layout, entry: Published) -> str:
    """The name that this table has for the row of a published checkpoint."""
    return layout.aliases.get(entry.row or "", entry.row or "")


# ---- notes


def notes_on_paper(layout: Layout, table: int, rows: Sequence[Row]) -> list[Note]:
    """What a reader must know of the paper's rows: first of the whole table, then of single cells, in their order."""
    plain: list[Note] = []
    anchored: list[Note] = []
    for line in reader_notes(table):
        cells = tuple((row, line["column"]) for row in line["rows"].split(";") if row)
        (anchored if cells else plain).append(Note(line["note"], cells=cells))
    anchored += _readme_notes(layout, table)
    anchored += _average_notes(layout, rows)
    anchored += _views_notes(rows)
    anchored += _weights_notes(layout, rows)
    place = _reading_order(layout, rows)
    anchored.sort(key=lambda note: min(place[cell] for cell in note.cells))
    marked = [Note(note.text, _letters(at), note.cells) for at, note in enumerate(anchored)]
    return [*plain, *marked, *_availability(rows)]


def _reading_order(layout: Layout, rows: Sequence[Row]) -> dict[tuple[str, str], int]:
    """(row, column) to its place; the empty column, the whole row, comes between labels and values."""
    columns = [*(name for name, _ in layout.labels), "", *(column.name for column in layout.columns)]
    places = [(row.name, column) for row in rows for column in columns]
    return {place: at for at, place in enumerate(places)}


def _letters(at: int) -> str:
    """a to z, then aa to zz."""
    letter = string.ascii_lowercase[at % 26]
    return letter * (at // 26 + 1)


def _readme_notes(layout: Layout, table: int) -> list[Note]:
    """One note for each cell that the release's README prints differently."""
    titles = dict(layout.labels) | {column.name: column.title for column in layout.columns}
    return [
        Note(
            f"{row['method']}, {row['epochs']} epochs, {titles[row['column']]}: the paper prints {row['paper']}, the "
            f"README of its code release {row['readme']}; both are shown, and computed is with the {row['kept']}'s.",
            cells=((layout.name_of(row), row["column"]),),
        )
        for row in readme_disagreements(table)
    ]


def _average_notes(layout: Layout, rows: Iterable[Row]) -> list[Note]:
    """One note for each printed average that its own printed cells do not give."""
    return [
        Note(
            f"{row.name}: the paper prints {column.title} {value.printed}, its cells give {value.recomputed:.2f}.",
            cells=((row.name, column.name),),
        )
        for row in rows
        for column in layout.columns
        if (value := row.paper.get(column.name)) and value.disputed
    ]


def _views_notes(rows: Iterable[Row]) -> list[Note]:
    """One note for each printed number of effective views of which there is something to say."""
    remarks = {line["row"]: line["remark"] for line in effective_views() if line["remark"]}
    return [
        Note(remarks[row.name], cells=((row.name, VIEWS_LABEL),)) for row in rows if row.views and row.name in remarks
    ]


def _weights_notes(layout: Layout, rows: Iterable[Row]) -> list[Note]:
    """One note for each row whose public file is not quite what the row says."""
    known = {_own_name(layout, entry): entry for entry in ENTRIES if entry.row and entry.note}
    return [
        Note(f"The public file {entry.name}: {entry.note}.", cells=((row.name, ""),))
        for row in rows
        if (entry := known.get(row.name))
    ]


def _availability(rows: Iterable[Row]) -> list[Note]:
    """The rows that cannot be measured with public files alone, by the reason."""
    reasons: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.weights and row.weights.state in _UNAVAILABLE:
            reasons[_UNAVAILABLE[row.weights.state]][row.weights.state].append(row.name)
    texts = {
        "†": "Cannot be reproduced from public files, and stays as reported until somebody trains it",
        "‡": "The file must be fetched by hand",
    }
    return [
        Note(
            f"{texts[mark]}: "
            + "; ".join(f"{', '.join(names)} ({state})" for state, names in states.items())
            + ". `bench list --checkpoints` says why and how.",
            mark,
            tuple((name, "") for names in states.values() for name in names),
        )
        for mark, states in sorted(reasons.items())
    ]
