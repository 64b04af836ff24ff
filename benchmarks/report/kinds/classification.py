"""Classification: how sure the model was, what it took for what, and where it was sure and wrong."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.report.blocks import Block, Cell, Figure, Grid, Panel, Section, Value
from benchmarks.report.charts import heat_map
from benchmarks.report.kinds.kind import WORST, Floats, Kind, Sampled, class_names, distribution

if TYPE_CHECKING:
    import pandas as pd

DRAWN = 25
"""Up to so many classes the whole confusion matrix is drawn."""
_TOP = 30
"""How many confusions are listed for each run."""


def right(samples: "pd.DataFrame") -> Floats:
    """(N,) 100 where the prediction is the label, else 0."""
    scores: Floats = 100 * samples["correct"].to_numpy(np.float64)
    return scores


def _sections(runs: Sequence[Sampled]) -> list[Section]:
    margins = [(each.run.name, each.samples["margin"].to_numpy(np.float64), right(each.samples) > 0) for each in runs]
    top = max((float(np.nanmax(margin)) for _, margin, _ in margins if len(margin)), default=0.0)
    edges = np.linspace(0, np.ceil(max(top, 0.01) * 20) / 20, 21)
    parted = [(name, [margin[hit], margin[~hit]]) for name, margin, hit in margins]
    lead = "Margin: cosine of the predicted class less that of the next. What is wrong should lie at the left."
    spread = distribution("Images by margin", lead, "margin", parted, edges, ("right", "wrong"))
    confused: list[Block] = [*_matrices(runs), _top_confusions(runs)]
    return [
        Section("Distribution over images", [spread]),
        Section("Confusions", confused),
        Section("Worst cases", [_sure_and_wrong(runs)]),
    ]


def _classes(each: Sampled) -> int:
    """How many classes the run told apart."""
    seen = int(each.samples[["label", "prediction"]].to_numpy().max(initial=-1)) + 1
    return max(seen, len(each.run.record.per_class.get("accuracy", {})))


def _counts(each: Sampled, classes: int) -> np.ndarray:
    """(C, C) how often label (row) was predicted as (column)."""
    label, said = (each.samples[name].to_numpy(np.int64) for name in ("label", "prediction"))
    return np.bincount(label * classes + said, minlength=classes**2).reshape(classes, classes)


def _matrices(runs: Sequence[Sampled]) -> list[Figure]:
    """The confusion matrices, each row as shares of the class; none if there are too many classes to read them."""
    panels: list[Panel] = []
    rows: list[list[Value]] = []
    for each in runs:
        classes = _classes(each)
        if not 1 < classes <= DRAWN:
            continue
        names = list(map(class_names(each, "accuracy"), range(classes)))
        counts = _counts(each, classes)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        said = f"{each.run.name}: {classes} classes, on average {shares.trace() / classes:.0%} on the diagonal"
        panels.append(Panel(each.run.name, heat_map(shares.tolist(), names, f"Confusion matrix of {said}")))
        rows += [[each.run.name, names[at], names[to], int(counts[at, to])] for at, to in np.ndindex(*counts.shape)]
    lead = "Rows are the true classes, columns the predicted ones; the darker, the larger the share of the class."
    data = ["run", "class", "predicted", "images"], rows
    return [Figure("Confusion matrices", panels, data, lead, natural=True)] if panels else []


def _top_confusions(runs: Sequence[Sampled]) -> Grid:
    rows = []
    for each in runs:
        names, counts = class_names(each, "accuracy"), _counts(each, _classes(each))
        sizes = counts.sum(axis=1)
        np.fill_diagonal(counts, 0)
        order = np.argsort(-counts, axis=None, kind="stable")[:_TOP]
        for label, said in zip(*np.unravel_index(order, counts.shape), strict=True):
            count = int(counts[label, said])
            if count:
                share = Cell(100 * count / int(sizes[label]))
                rows.append([Cell(names(int(label))), Cell(names(int(said))), Cell(each.run.name), Cell(count), share])
    headings = [("class", False), ("taken for", False), ("run", False), ("images", True), ("% of the class", True)]
    return Grid("Most frequent confusions", headings, rows)


def _sure_and_wrong(runs: Sequence[Sampled]) -> Grid:
    rows = []
    for each in runs:
        names = class_names(each, "accuracy")
        wrong = each.samples[~each.samples["correct"]].nlargest(WORST, "margin")
        wanted = ("sample_id", "label", "prediction", "margin", "rank")
        for sample_id, label, said, margin, rank in zip(*(wrong[name] for name in wanted), strict=True):
            cells = [Cell(each.run.name), Cell(names(int(label))), Cell(names(int(said)))]
            cells += [Cell(float(margin), f"{margin:.4f}"), Cell(int(rank))]
            rows.append([each.sample(str(sample_id)), *cells])
    headings = [("image", False), ("run", False), ("class", False), ("predicted", False)]
    return Grid("Wrong, and sure of it", [*headings, ("margin", True), ("rank of the class", True)], rows)


CLASSIFICATION = Kind(frozenset({"label", "prediction", "correct", "rank", "margin"}), "right", right, _sections)
