"""COCO's average precision from cached matches, for any weighting of the pictures: what its bootstrap needs.

Which detection matches which object does not depend on the other pictures, so pycocotools decides it once; a resample
of the pictures only counts the matches anew. With each picture once the values are those of
``COCOeval.accumulate`` (maximal detections 100, all areas).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.statistics import Interval

IOUS: npt.NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
"""The T overlaps from which a detection matches an object."""

RECALLS: npt.NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
"""The recalls at which precision is averaged."""

_CELLS = 4_000_000  # cumulated counts at a time: 64 MB

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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

    Args:
        matches: the detections.
        weights: (R, N) how often each of R resamples holds each picture; None: one resample, each picture once.

    Returns:
        (R, T, C); NaN for a class of which the resample holds no object.
    """
    pictures, classes = matches.objects.shape
    counted = np.ones((1, pictures), np.int64) if weights is None else weights.astype(np.int64)
    objects = counted @ matches.objects
    values = np.full((len(counted), len(IOUS), classes), np.nan)
    for category in np.flatnonzero(matches.objects.any(axis=0)):
        held = np.flatnonzero(objects[:, category])
        columns = _ranked(matches, int(category))
        for rows in np.array_split(held, max(1, -(-len(held) * columns.size * len(IOUS) // _CELLS))):
            if len(rows):
                values[rows, :, category] = _of_class(matches, columns, counted[rows], objects[rows, category])
    return values


def _ranked(matches: Matches, category: int) -> Ints:
    """The detections of a class by falling score; of equal ones the earlier picture's comes first."""
    columns = np.flatnonzero(matches.category == category)
    ranked: Ints = columns[np.argsort(-matches.score[columns], kind="stable")]
    return ranked


def _of_class(matches: Matches, columns: Ints, weights: Ints, objects: Ints) -> Floats:
    """(R, T) for one class, its ranked detections, (R, N) weights and (R,) numbers of objects, none of them 0."""
    if not len(columns):
        return np.zeros((len(weights), len(IOUS)))
    counted = weights[:, None, matches.picture[columns]]
    matched, valid = matches.matched[columns].T, ~matches.ignored[columns].T
    hits = np.cumsum(counted * (matched & valid), axis=2)
    misses = np.cumsum(counted * (~matched & valid), axis=2)
    precision = hits / (hits + misses + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, :, ::-1], axis=2)[:, :, ::-1]
    reached = _first_reaching(hits, _hits_needed(objects))
    padded = np.concatenate([envelope, np.zeros((*envelope.shape[:2], 1))], axis=2)
    average: Floats = np.take_along_axis(padded, reached, axis=2).mean(axis=2)
    return average


def _hits_needed(objects: Ints) -> Ints:
    """(R, 101): the smallest number of hits whose share of the objects is at least each of the recalls."""
    needed = np.ceil(RECALLS * objects[:, None]).astype(np.int64)
    needed -= (needed > 0) & ((needed - 1) / objects[:, None] >= RECALLS)  # rounding, as the shares themselves have it
    needed += needed / objects[:, None] < RECALLS
    return needed


def _first_reaching(hits: Ints, needed: Ints) -> Ints:
    """(R, T, 101): where each row of cumulated hits (R, T, D) first reaches each number; D where it never does.

    All rows are searched at once: raised by multiples of more than the largest number, they follow each other.
    """
    resamples, ious, length = hits.shape
    step = int(max(hits.max(), needed.max())) + 1
    floors = step * np.arange(resamples * ious).reshape(resamples, ious, 1)
    places = np.searchsorted((hits + floors).ravel(), (needed[:, None] + floors).ravel())
    starts = length * np.arange(resamples * ious).reshape(resamples, ious, 1)
    first: Ints = np.minimum(places.reshape(resamples, ious, -1) - starts, length)
    return first


def mean_over_classes(values: Floats) -> Floats:
    """The mean over the last axis without NaN; NaN where there is nothing else."""
    occurring = np.isfinite(values).sum(axis=-1)
    means: Floats = np.divide(
        np.nansum(values, axis=-1), occurring, out=np.full(occurring.shape, np.nan), where=occurring > 0
    )
    return means


def bootstrap(matches: Matches, replicates: int = 200, seed: int = 0, level: float = 0.95) -> dict[str, Interval]:
    """Percentile intervals over pictures of AP (mean over the overlaps), AP50 and AP75, in percent.

    Args:
        matches: the detections.
        replicates: number of resamples.
        seed: the same seed gives the same intervals, and the same resamples for boxes and masks.
        level: confidence level in (0, 1).

    Returns:
        The intervals by name; none for fewer than two pictures.
    """
    pictures = len(matches.objects)
    if pictures < 2:
        return {}
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(pictures, np.full(pictures, 1 / pictures), size=replicates)
    means = 100 * mean_over_classes(average_precision(matches, weights))
    ends = (1 - level) / 2, (1 + level) / 2
    series = {"AP": means.mean(axis=1), "AP50": means[:, 0], "AP75": means[:, 5]}
    return {name: Interval(*(float(end) for end in np.nanquantile(row, ends))) for name, row in series.items()}


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
