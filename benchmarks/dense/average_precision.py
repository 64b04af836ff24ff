"""COCO's average precision from cached matches, for any weighting of the pictures: what its bootstrap needs.

Which detection matches which object does not depend on the other pictures, so pycocotools decides it once; a resample
of the pictures only counts the matches anew. With each picture once the values are those of
``COCOeval.accumulate`` (maximal detections 100, all areas).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.resampling import moved
from benchmarks.statistics import Interval

IOUS: npt.NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
"""The T overlaps from which a detection matches an object."""

RECALLS: npt.NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
"""The recalls at which precision is averaged."""

_CELLS = 4_000_000  # weights of detections at a time: 16 MB

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Weights = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Matches:
    """D detections on N pictures, and what became of each.

    Attributes:
        picture: (D,) 0 to N - 1, ascending; those of a picture and class are sorted by falling score.
        category: (D,) class, 0 to C - 1.
        score: (D,).
        matched: (D, T) whether it matches an object (or a crowd).
        ignored: (D, T) whether it is not counted at all, because what it matches is a crowd.
        objects: (N, C) number of objects, crowds left out.
    """

    picture: Ints
    category: Ints
    score: Floats
    matched: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    objects: Ints


def average_precision(matches: Matches, weights: npt.NDArray[np.integer] | None = None) -> Floats:
    """Average precision of each class at each overlap, in 0..1.

    Precision can only be largest where a detection hits, so the envelope is taken over the hits alone, and each recall
    is put to the hit that reaches it by arithmetic instead of a search.

    Args:
        matches: the detections.
        weights: (R, N) how often each of R resamples holds each picture; None: one resample, each picture once.

    Returns:
        (R, T, C); NaN for a class of which the resample holds no object.
    """
    pictures, classes = matches.objects.shape
    times = np.ones((1, pictures), np.int64) if weights is None else weights.astype(np.int64)
    objects = times @ matches.objects
    values = np.full((len(times), len(IOUS), classes), np.nan)
    # By class and falling score; of equal ones the earlier picture's comes first.
    ranked = np.lexsort((np.arange(len(matches.score)), -matches.score, matches.category))
    ends = np.searchsorted(matches.category[ranked], np.arange(classes + 1))
    for category in np.flatnonzero(matches.objects.any(axis=0)):
        columns = ranked[ends[category] : ends[category + 1]]
        for rows in _batches(np.flatnonzero(objects[:, category]), len(columns)):
            counted = times[rows][:, matches.picture[columns]].astype(np.int32)
            values[rows, :, category] = _of_class(matches, columns, counted, objects[rows, category])
    return values


def _batches(rows: Ints, width: int) -> Iterator[Ints]:
    """The rows in parts that keep arrays of that width small."""
    size = max(1, _CELLS // max(1, width))
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _of_class(matches: Matches, columns: Ints, counted: Weights, objects: Ints) -> Floats:
    """(R, T) for one class: its D ranked detections, (R, D) how often each counts, (R,) numbers of objects, none 0."""
    before = np.cumsum(counted, axis=1, dtype=np.int32)
    values = np.zeros((len(counted), len(IOUS)))
    for overlap in range(len(IOUS)):
        ignored = matches.ignored[columns, overlap]
        hitting = np.flatnonzero(matches.matched[columns, overlap] & ~ignored)
        if len(hitting):
            valid = before[:, hitting] - _ignored_before(counted, np.flatnonzero(ignored), hitting)
            hits = np.cumsum(counted[:, hitting], axis=1, dtype=np.int32)
            values[:, overlap] = _average(hits, valid, objects)
    return values


def _ignored_before(counted: Weights, ignored: Ints, hitting: Ints) -> Weights | int:
    """How many detections that do not count precede each hit: (R, H), or 0 if there are none at all."""
    if not len(ignored):
        return 0
    cumulated = np.cumsum(counted[:, ignored], axis=1, dtype=np.int32)
    padded = np.concatenate([np.zeros((len(counted), 1), np.int32), cumulated], axis=1)
    preceding: Weights = padded[:, np.searchsorted(ignored, hitting)]
    return preceding


def _average(hits: Weights, valid: Weights, objects: Ints) -> Floats:
    """(R,) mean over the recalls of the largest precision at that recall or a higher one.

    Args:
        hits: (R, H) hits up to and with each hit.
        valid: (R, H) detections up to and with each hit.
        objects: (R,).
    """
    precision = hits / (valid + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = _recalls_reached(hits, objects)
    average: Floats = np.einsum("rh,rh->r", envelope, np.diff(reached, axis=1, prepend=0)) / len(RECALLS)
    return average


def _recalls_reached(hits: Weights, objects: Ints) -> Ints:
    """(R, H) how many of the recalls the share of found objects is at least; exactly as pycocotools compares them."""
    shares = np.minimum(hits / objects[:, None], 1)
    reached = (shares * (len(RECALLS) - 1) + 1e-6).astype(np.int64)
    return reached + (RECALLS[reached] <= shares)


def mean_over_classes(values: Floats) -> Floats:
    """The mean over the last axis without NaN; NaN where there is nothing else."""
    occurring = np.isfinite(values).sum(axis=-1)
    means: Floats = np.divide(
        np.nansum(values, axis=-1), occurring, out=np.full(occurring.shape, np.nan), where=occurring > 0
    )
    return means


def bootstrap(matches: Matches, replicates: int = 200, seed: int = 0, level: float = 0.95) -> dict[str, Interval]:
    """Bootstrap intervals over pictures of AP (mean over the overlaps), AP50 and AP75, in percent.

    They are the percentiles of the resamples, moved by the mean of the resamples less the value: AP of drawn pictures,
    some of them twice, is higher than that of as many different ones (with 80 classes by about a standard error), and
    percentiles that are not moved would lie too high. To neither side do they end nearer than Student's. They are meant
    for AP of other samples of as many pictures.

    Args:
        matches: the detections.
        replicates: number of resamples.
        seed: the same seed gives the same intervals, and the same resamples for boxes and masks.
        level: confidence level in (0, 1).

    Returns:
        The intervals by name; none for fewer than two pictures, or where a resample holds no object.
    """
    pictures = len(matches.objects)
    if pictures < 2:
        return {}
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(pictures, np.full(pictures, 1 / pictures), size=replicates)
    value, drawn = (100 * mean_over_classes(average_precision(matches, counted)) for counted in (None, weights))
    series = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
    intervals = {}
    for name, overlaps in series.items():
        own = float(value[:, overlaps].mean())
        plausible = moved(own, drawn[:, overlaps].mean(axis=1), pictures)
        if plausible:
            intervals[name] = Interval(*(float(end) for end in np.clip(plausible.ends(level), 0, 100)))
    return intervals


def pack(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint16]:
    """(D, T) flags as (D,) numbers: bit t belongs to overlap t."""
    packed: npt.NDArray[np.uint16] = (flags.astype(np.uint16) << np.arange(len(IOUS), dtype=np.uint16)).sum(
        axis=1, dtype=np.uint16
    )
    return packed


def unpack(numbers: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    """The inverse of :func:`pack`."""
    flags: npt.NDArray[np.bool_] = (numbers[:, None] >> np.arange(len(IOUS), dtype=np.uint16) & 1).astype(bool)
    return flags


def matches_of(samples: Any, kind: str, classes: int) -> Matches:
    """The matches that a record's samples hold (docs/results-format.md), so that runs can be compared later.

    Args:
        samples: the frame of ``samples.parquet``.
        kind: ``box`` or ``mask``.
        classes: the number of classes C.
    """

    def joined(column: str, kind_of: type) -> Any:
        return np.concatenate([np.asarray(row, kind_of) for row in samples[column]] or [np.empty(0, kind_of)])

    lengths = [len(row) for row in samples["classes"]]
    objects = np.stack([np.bincount(np.asarray(row, np.int64), minlength=classes) for row in samples["objects"]])
    return Matches(
        picture=np.repeat(np.arange(len(samples)), lengths),
        category=joined("classes", np.int64),
        score=joined("scores", np.float64),
        matched=unpack(joined(f"{kind}_matched", np.uint16)),
        ignored=unpack(joined(f"{kind}_ignored", np.uint16)),
        objects=objects,
    )


def samples_table(sample_ids: Sequence[str], boxes: Matches, masks: Matches) -> Any:
    """One row a picture: its detections with what became of each, and the classes of its objects.

    Both kinds of matches are of the same detections in the same order.
    """
    import pandas as pd

    pictures, classes = boxes.objects.shape
    ends = np.searchsorted(boxes.picture, np.arange(1, pictures))
    columns: dict[str, npt.NDArray[Any]] = {
        "classes": boxes.category.astype(np.int16),
        "scores": boxes.score,
        **{
            f"{kind}_{name}": pack(getattr(matches, name))
            for kind, matches in (("box", boxes), ("mask", masks))
            for name in ("matched", "ignored")
        },
    }
    table = {name: np.split(values, ends) for name, values in columns.items()}
    objects = [np.repeat(np.arange(classes, dtype=np.int16), row) for row in boxes.objects]
    return pd.DataFrame({"sample_id": list(sample_ids), **table, "objects": objects})
