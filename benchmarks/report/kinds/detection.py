"""Detection: what was found in each picture, and how sure the detector was of what is not there."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.report.blocks import Cell, Grid, Section
from benchmarks.report.kinds.kind import Floats, Kind, Sampled, class_names, distribution, lowest

if TYPE_CHECKING:
    import pandas as pd

_FALSE = 10
"""How many false detections are listed for each run."""


def share_found(samples: "pd.DataFrame") -> Floats:
    """(N,) share of the picture's objects that any detection overlaps by half, in percent; NaN: no object."""
    objects = samples["objects"].map(len).to_numpy(np.float64)
    pairs = zip(samples["box_matched"], samples["box_ignored"], strict=True)
    found = np.array([np.count_nonzero(np.asarray(hit) & ~np.asarray(out) & 1) for hit, out in pairs], np.float64)
    shares: Floats = 100 * np.divide(found, objects, out=np.full(len(objects), np.nan), where=objects > 0)
    return shares


def _sections(runs: Sequence[Sampled]) -> list[Section]:
    scores = [share_found(each.samples) for each in runs]
    named = [(each.run.name, [score]) for each, score in zip(runs, scores, strict=True)]
    recall = distribution(
        "Pictures by the share of objects found",
        "Found: a detection of the right class overlaps its box by half or more, whatever its score.",
        "objects found, %",
        named,
        np.linspace(0, 100, 11),
    )
    sure = []
    for each in runs:
        score, hit = _flat(each.samples)
        sure.append((each.run.name, [score[hit], score[~hit]]))
    trust = distribution(
        "Detections by their score",
        "Right: overlaps an object of its class by half or more. A good detector is sure of these and of no others.",
        "score",
        sure,
        np.linspace(0, 1, 21),
        ("right", "wrong"),
    )
    return [
        Section("Distribution over pictures", [recall, trust]),
        Section("Worst cases", [_least_found(runs, scores), _surest_false(runs)]),
    ]


def _flat(samples: "pd.DataFrame") -> tuple[Floats, np.ndarray]:
    """All detections that count: (D,) score and (D,) whether it hits at an overlap of half."""
    if not len(samples):
        return np.zeros(0), np.zeros(0, np.bool_)
    score, hit, out = (np.concatenate(samples[name].tolist()) for name in ("scores", "box_matched", "box_ignored"))
    counted = (out.astype(np.int64) & 1) == 0
    return score[counted].astype(np.float64), (hit.astype(np.int64)[counted] & 1) == 1


def _least_found(runs: Sequence[Sampled], scores: Sequence[Floats]) -> Grid:
    rows = []
    for each, score in zip(runs, scores, strict=True):
        many = each.samples["objects"].map(len).to_numpy()
        for place in lowest(score - many / 1e6):  # of equal shares the picture with most objects first
            sample = each.samples.iloc[place]
            cells = [Cell(each.run.name), Cell(float(score[place])), Cell(int(many[place]))]
            rows.append([each.sample(str(sample["sample_id"])), *cells])
    headings = [("picture", False), ("run", False), ("objects found, %", True), ("objects", True)]
    return Grid("Pictures in which least was found", headings, rows)


def _surest_false(runs: Sequence[Sampled]) -> Grid:
    rows = []
    for each in runs:
        names = class_names(each, "AP_box")
        false = []
        wanted = ("box_matched", "box_ignored", "scores", "classes", "sample_id")
        for hits, outs, scores, classes, sample_id in zip(*(each.samples[name] for name in wanted), strict=True):
            wrong = np.flatnonzero(((np.asarray(hits, np.int64) | np.asarray(outs, np.int64)) & 1) == 0)
            false += [(float(scores[at]), int(classes[at]), str(sample_id)) for at in wrong]
        for score, category, sample_id in sorted(false, key=lambda found: -found[0])[:_FALSE]:
            cells = [Cell(each.run.name), Cell(names(category)), Cell(score, f"{score:.3f}")]
            rows.append([each.sample(sample_id), *cells])
    headings = [("picture", False), ("run", False), ("class", False), ("score", True)]
    return Grid("Surest detections of what is not there", headings, rows)


DETECTION = Kind(
    frozenset({"classes", "scores", "box_matched", "box_ignored", "objects"}), "objects found", share_found, _sections
)
