"""Retrieval: at which place what belongs together was found, what was found first, and where it was found last."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.report.blocks import Block, Cell, Figure, Grid, Panel, Section
from benchmarks.report.charts import columns
from benchmarks.report.kinds import retrieval_examples
from benchmarks.report.kinds.kind import WORST, Floats, Kind, Sampled

if TYPE_CHECKING:
    import pandas as pd

_FROM = (1, 2, 6, 11, 51, 101)
"""Ranks that the columns of the chart begin with; the first three bounds are those of R@1, R@5 and R@10."""
_NAMES = ("1", "2–5", "6–10", "11–50", "51–100", "101+")


EXAMPLES = "Retrieval examples"
"""Title of the section, by which it is linked to."""
_ENDS = (("Pictures found last", True), ("Pictures found first", False))
_PLACES_ONLY = "The record keeps the place at which each query's answer was found, not the answers before it."


def nearness(samples: "pd.DataFrame") -> Floats:
    """(N,) 100 divided by the place of the picture's first own caption."""
    scores: Floats = 100 / samples["i2t_rank"].to_numpy(np.float64)
    return scores


def _sections(runs: Sequence[Sampled]) -> list[Section]:
    by_image = [(each.run.name, each.samples["i2t_rank"].to_numpy(np.int64)) for each in runs]
    by_text = [(each.run.name, np.concatenate([[], *each.samples["t2i_ranks"]]).astype(np.int64)) for each in runs]
    spread = [
        _ranks("Pictures by the place of their first own caption", "place of the caption", by_image),
        _ranks("Captions by the place of their picture", "place of the picture", by_text),
    ]
    told = retrieval_examples.told_by(runs)
    ends: list[Block] = [_examples(title, runs, worst) for title, worst in _ENDS]
    return [
        Section("Distribution over ranks", spread),
        *([Section(EXAMPLES, retrieval_examples.side_by_side(told), _lead(runs, told))] if told else []),
        Section("Best and worst queries", [*retrieval_examples.worst(told), *ends], "" if told else _PLACES_ONLY),
    ]


def _lead(runs: Sequence[Sampled], told: Sequence[retrieval_examples.Examples]) -> str:
    """What stands above the examples."""
    having = {examples.each.run.record.run_id for examples in told}
    without = [each.run.name for each in runs if each.run.record.run_id not in having]
    said = "The same queries to every model, spread evenly over the set."
    if not any(each.sizes for each in runs):
        said += " Runs that are made with --pictures N show N queries with their pictures."
    return f"{said} Of {', '.join(without)} places alone were recorded." if without else said


def _ranks(title: str, x_title: str, ranks: Sequence[tuple[str, np.ndarray]]) -> Figure:
    shares = []
    for name, places in ranks:
        found = np.bincount(np.searchsorted(_FROM, places, side="right") - 1, minlength=len(_FROM))
        shares.append((name, (100 * found / max(len(places), 1)).round(2).tolist()))
    most = max((max(row) for _, row in shares), default=0)
    return Figure(
        title,
        [Panel(name, columns(row, _NAMES, x_title, most)) for name, row in shares],
        (
            ["run", "places", "percent"],
            [[name, at, share] for name, row in shares for at, share in zip(_NAMES, row, strict=True)],
        ),
        "Percent of the queries.",
    )


def _examples(title: str, runs: Sequence[Sampled], worst: bool) -> Grid:
    """The pictures with the highest (or lowest) mean logarithm of places, over both directions."""
    rows = []
    for each in runs:
        mean = _mean_log_place(each.samples)
        for place in np.argsort(-mean if worst else mean, kind="stable")[:WORST]:
            sample = each.samples.iloc[int(place)]
            own = sorted(int(rank) for rank in sample["t2i_ranks"])
            cells = [Cell(each.run.name), Cell(int(sample["i2t_rank"])), Cell(own[0]), Cell(own[-1])]
            rows.append([each.sample(str(sample["sample_id"])), *cells, Cell(", ".join(map(str, own)))])
    headings = [("picture", False), ("run", False), ("its first own caption at", True)]
    headings += [("found at best at", True), ("at worst at", True), ("by its captions at", False)]
    return Grid(title, headings, rows)


def _mean_log_place(samples: "pd.DataFrame") -> Floats:
    """(N,) over the picture's own place among its captions and its captions' places; every picture has captions."""
    sizes = samples["t2i_ranks"].map(len).to_numpy()
    by_text = np.log(np.concatenate(samples["t2i_ranks"].tolist()).astype(np.float64))
    sums = np.bincount(np.repeat(np.arange(len(sizes)), sizes), weights=by_text, minlength=len(sizes))
    means: Floats = (sums + np.log(samples["i2t_rank"].to_numpy(np.float64))) / (sizes + 1)
    return means


RETRIEVAL = Kind(frozenset({"i2t_rank", "t2i_ranks"}), "100 / rank", nearness, _sections)
