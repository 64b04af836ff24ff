"""Segmentation: how well each image was segmented, and what went worst."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.report.blocks import Cell, Grid, Section
from benchmarks.report.kinds.kind import Floats, Kind, Sampled, class_names, distribution, lowest

if TYPE_CHECKING:
    import pandas as pd


def image_iou(samples: "pd.DataFrame") -> Floats:
    """(N,) mean IoU over the classes that occur in the image or its prediction, in percent; NaN where none does."""
    sizes = samples["classes"].map(len).to_numpy()
    if not sizes.sum():
        return np.full(len(sizes), np.nan)
    hit, said, there = (np.concatenate(samples[name].tolist()) for name in ("intersection", "prediction", "label"))
    owner = np.repeat(np.arange(len(sizes)), sizes)
    sums = np.bincount(owner, weights=hit / np.maximum(said + there - hit, 1), minlength=len(sizes))
    means: Floats = 100 * np.divide(sums, sizes, out=np.full(len(sizes), np.nan), where=sizes > 0)
    return means


def _sections(runs: Sequence[Sampled]) -> list[Section]:
    scores = [image_iou(each.samples) for each in runs]
    named = [(each.run.name, [score]) for each, score in zip(runs, scores, strict=True)]
    lead = "IoU of each image, averaged over the classes in it. The benchmark's mIoU sums pixels over all images first."
    spread = distribution("Images by their own mIoU", lead, "mIoU of the image, %", named, np.linspace(0, 100, 21))
    return [
        Section("Distribution over images", [spread]),
        Section("Worst cases", [_worst(runs, scores), _balance(runs)]),
    ]


def _worst(runs: Sequence[Sampled], scores: Sequence[Floats]) -> Grid:
    rows = []
    for each, score in zip(runs, scores, strict=True):
        names = class_names(each, "IoU")
        for place in lowest(score):
            sample = each.samples.iloc[place]
            lost = int(np.argmax(sample["label"] - sample["intersection"])) if len(sample["classes"]) else None
            missed = names(int(sample["classes"][lost])) if lost is not None else None
            cells = [Cell(each.run.name), Cell(float(score[place])), Cell(missed)]
            rows.append([each.sample(str(sample["sample_id"])), *cells])
    headings = [("image", False), ("run", False), ("mIoU of the image", True), ("class with most pixels missed", False)]
    return Grid("Images with the lowest mIoU", headings, rows)


def _balance(runs: Sequence[Sampled]) -> Grid:
    """Which classes are predicted too often or too rarely: per-image counts do not tell what was taken for what."""
    rows = []
    for each in runs:
        names = class_names(each, "IoU")
        pixels = each.samples[["classes", "prediction", "label", "intersection"]].explode(
            ["classes", "prediction", "label", "intersection"]
        )
        sums = pixels.dropna().astype("int64").groupby("classes").sum()
        surplus = sums["prediction"] - sums["label"]
        total = max(int(sums["label"].sum()), 1)
        for place in [*surplus.nsmallest(5).index, *surplus.nlargest(5).index[::-1]]:
            shares = [100 * float(sums[name][place]) / total for name in ("label", "prediction", "intersection")]
            cells = [Cell(share) for share in shares]
            rows.append([Cell(names(int(place))), Cell(each.run.name), *cells, Cell(shares[1] - shares[0])])
    headings = [("class", False), ("run", False), ("% of pixels labelled", True), ("% predicted", True)]
    headings += [("% right", True), ("predicted less labelled", True)]
    lead = "The five most and the five least over-predicted. What was taken for what is not recorded for segmentation."
    return Grid("Classes predicted too often or too rarely", headings, rows, lead)


SEGMENTATION = Kind(
    frozenset({"classes", "intersection", "prediction", "label"}), "mIoU of the image", image_iou, _sections
)
