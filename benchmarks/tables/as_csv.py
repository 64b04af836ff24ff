"""A table as CSV, for programs: a line for each cell, unrounded."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import fields

from benchmarks.printing import unfolded
from benchmarks.tables.layouts import VIEWS_LABEL
from benchmarks.tables.model import Entry, Measured, OtherRun, PaperValue, Row, Table

_COLUMNS = (
    *("checkpoint", "sha256", "tower", "views_computed", "column", "paper", "paper_rank", "paper_recomputed"),
    *("ours", "low", "high", "spread", "seeds", "difference", "status", "run_ids"),
    *("benchmark", "row", "metric", "seed", "scored", "expected", "official", "reason"),
    *("difference_low", "difference_high", "readme", "readme_views", "weights", "notes"),
    *("views", "trained_epochs", "images", "paper_implied_views", "paper_recipe_views", "paper_recipe_product"),
)


def as_csv(table: Table) -> str:
    """A line for each cell of the table, then one for each other run, told apart by ``section``.

    ``section`` is ``paper`` for a row of the paper, ``own`` for a checkpoint's own row, ``other`` for a run that is not
    comparable.
    """
    labels = [name for name, _ in table.layout.labels]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["section", *labels, *_COLUMNS], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(line for row in table.rows for line in _row(table, row))
    writer.writerows(_other(run) for run in table.other)
    return stream.getvalue().rstrip("\n")


def _row(table: Table, row: Row) -> Iterator[dict[str, object]]:
    """The cells of a row: once for each checkpoint that stands for it, or once with nothing measured."""
    for entry in row.entries or (None,):
        absent = entry.absent if entry else row.absent
        for column in table.layout.columns:
            measured = entry.cells.get(column.name) if entry else None
            yield {
                "section": "paper" if row.paper else "own",
                "column": column.name,
                "status": "full" if measured else absent[column.name],
                **(row.labels if entry is None or row.paper else _unfolded(entry.labels)),
                **(_paper(table, row, column.name) if row.paper else {}),
                **_entry(entry),
                **_measured(measured),
            }


def _paper(table: Table, row: Row, column: str) -> dict[str, object]:
    """What the paper has for a cell, and what is to be said of it."""
    value: PaperValue | None = row.paper.get(column)
    notes = [note.text for note in table.notes if {(row.name, column), (row.name, "")} & set(note.cells)]
    found: dict[str, object] = {"row": row.name, "notes": " ".join(notes)}
    if value:
        found |= {"paper": value.printed, "paper_rank": value.rank, "paper_recomputed": value.recomputed}
        found |= {"readme": value.readme}
    if row.weights:
        found |= {"weights": f"{row.weights.state}: {row.weights.name}"}
    if row.views:
        found |= {"readme_views": row.readme.get(VIEWS_LABEL)}
        found |= {"paper_implied_views": row.views.implied, "paper_recipe_views": row.views.recipe.views}
        found |= {"paper_recipe_product": row.views.recipe.total}
    return found


def _entry(entry: Entry | None) -> dict[str, object]:
    if entry is None:
        return {}
    return {
        **_unfolded({"checkpoint": entry.checkpoint, "tower": entry.tower or ""}),
        "sha256": entry.sha256,
        "views_computed": entry.views,
        "views": entry.trained.views,
        "trained_epochs": entry.trained.epochs,
        "images": entry.trained.images,
    }


def _measured(measured: Measured | None) -> dict[str, object]:
    if measured is None:
        return {}
    found = {field.name: getattr(measured, field.name) for field in fields(measured)}
    return found | {"ours": found.pop("value"), "run_ids": " ".join(measured.run_ids)}


def _other(run: OtherRun) -> dict[str, object]:
    return {
        **_unfolded({"checkpoint": run.checkpoint, "tower": run.tower or "", "row": run.row or ""}),
        **run.measured.model_dump(include={"low", "high"}),
        **run.counts.model_dump(),
        "section": "other",
        "benchmark": run.benchmark,
        "metric": run.metric,
        "ours": run.measured.value,
        "seeds": 1,
        "seed": run.seed,
        "status": run.status,
        "reason": run.reason,
        "run_ids": run.run_id,
    }


def _unfolded(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: unfolded(text) for name, text in texts.items()}
