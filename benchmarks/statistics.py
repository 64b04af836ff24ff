"""Metrics from counts, and their intervals over images."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.resampling import REPLICATES, Combined, MeanRatio, studentised

Counts = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """The two ends of a confidence interval, in the unit of the statistic (percent)."""

    low: float
    high: float


def _checked(intersection: Counts, union: Counts) -> None:
    """Refuse arrays that cannot be per-image counts of one evaluation."""
    if intersection.ndim != 2 or intersection.shape != union.shape:
        raise ValueError(f"counts must be two (n, C) arrays, not {intersection.shape} and {union.shape}")
    if (intersection < 0).any() or (intersection > union).any():
        raise ValueError("counts must satisfy 0 <= intersection <= union")


def _ratio(intersection: Floats, union: Floats) -> Floats:
    """Intersection over union in percent, (..., C); NaN where a class does not occur."""
    ious: Floats = np.divide(100 * intersection, union, out=np.full(union.shape, np.nan), where=union > 0)
    return ious


def _mean_over_classes(ious: Floats) -> Floats:
    """Mean over the last axis without NaN, (..., C) to (...); NaN where no class occurs."""
    occurring = np.isfinite(ious).sum(axis=-1)
    empty = np.full(occurring.shape, np.nan)
    means: Floats = np.divide(np.nansum(ious, axis=-1), occurring, out=empty, where=occurring > 0)
    return means


def per_class_iou(intersection: Counts, union: Counts) -> Floats:
    """Intersection over union of each class, pixels summed over all images.

    Args:
        intersection: (n, C) pixels of image i on which label and prediction are both class c.
        union: (n, C) pixels of image i on which label or prediction is class c, ignored pixels left out.

    Returns:
        (C,) in percent; NaN for a class that occurs in no label and no prediction.

    Raises:
        ValueError: the shapes differ or the counts are impossible.
    """
    _checked(intersection, union)
    return _ratio(intersection.sum(axis=0, dtype=np.float64), union.sum(axis=0, dtype=np.float64))


def miou(intersection: Counts, union: Counts) -> float:
    """Mean of the class IoUs over the classes that occur, in percent (the mIoU of Table 1), unrounded.

    Args:
        intersection: (n, C) as in :func:`per_class_iou`.
        union: (n, C) as in :func:`per_class_iou`.

    Raises:
        ValueError: the shapes differ, the counts are impossible, or no class occurs at all.
    """
    value = float(_mean_over_classes(per_class_iou(intersection, union)))
    if np.isnan(value):
        raise ValueError("no class occurs in any label or prediction: there is nothing to average")
    return value


def bootstrap_miou(
    intersection: Counts, union: Counts, replicates: int = REPLICATES, seed: int = 0, level: float = 0.95
) -> Interval | None:
    """Interval of the mIoU over images, from studentised resamples (``benchmarks.resampling``).

    It is meant for the mIoU of all images that could have been drawn. That of a sample has a bias where some classes
    are rare, which the interval allows for: the value is not in its middle.

    Args:
        intersection: (n, C) as in :func:`per_class_iou`.
        union: (n, C) as in :func:`per_class_iou`.
        replicates: number of resamples.
        seed: the same seed gives the same interval.
        level: confidence level in (0, 1).

    Returns:
        The interval in percent, a point where all images have the same IoUs; None for fewer than two images, or where a
        resample held no labelled pixel.

    Raises:
        ValueError: the shapes differ or the counts are impossible.
    """
    _checked(intersection, union)
    return _interval(intersection, union, np.ones(len(union), int), replicates, seed, level)


def bootstrap_ratio(
    hits: Counts, trials: Counts, replicates: int = REPLICATES, seed: int = 0, level: float = 0.95
) -> Interval | None:
    """Interval of ``sum(hits) / sum(trials)`` from studentised resamples, what belongs to one image drawn together.

    The captions of an image are no independent samples; drawing images with all of their captions keeps the interval
    honest.

    Args:
        hits: (n,) of image i, from 0 to ``trials``.
        trials: (n,) of image i.
        replicates: number of resamples.
        seed: the same seed gives the same interval.
        level: confidence level in (0, 1).

    Returns:
        The interval in percent, a point where all images have the same share; None for fewer than two images.
    """
    pairs, times = np.unique(np.stack([hits, trials], axis=1), axis=0, return_counts=True)
    return _interval(pairs[:, :1], pairs[:, 1:], times, replicates, seed, level)


def _interval(
    hits: npt.NDArray[Any],
    trials: npt.NDArray[Any],
    times: npt.NDArray[np.int64],
    replicates: int,
    seed: int,
    level: float,
) -> Interval | None:
    """Interval of a mean of ratios in percent, from (K, C) hits and trials of images that each occur ``times``."""
    from scipy.sparse import csr_array  # takes long to import

    parts = (csr_array(part.astype(np.float64)) for part in (hits, trials))
    score = Combined([MeanRatio(*parts)], [1.0], times.astype(np.int64))
    plausible = studentised(score, replicates, seed)
    if plausible is None:
        return None
    low, high = plausible.ends(level)
    return Interval(max(low, 0.0), min(high, 100.0))


def share_interval(hits: int, trials: int, level: float = 0.95) -> Interval | None:
    """Wilson's interval of ``hits / trials`` over independent samples.

    Where hits and misses are many it is that of a bootstrap to a tenth of a point or so. Where one of them is rare a
    bootstrap covers the truth far too seldom (without any hit it says 0 to 0), and Wilson's keeps about its level.

    Args:
        hits: from 0 to ``trials``.
        trials: number of samples.
        level: confidence level in (0, 1).

    Returns:
        The interval in percent; None for fewer than two samples.
    """
    if trials < 2:
        return None
    from scipy.stats import binomtest

    ends = binomtest(hits, trials).proportion_ci(level, method="wilson")
    return Interval(100 * float(ends.low), 100 * float(ends.high))


def mean_per_class(correct: Counts, present: Counts) -> float:
    """Mean over the classes that occur of the share of their samples that is right, in percent, unrounded.

    Args:
        correct: (C,) samples of class c that were classified rightly.
        present: (C,) samples of class c.

    Raises:
        ValueError: there are no samples.
    """
    value = float(_mean_over_classes(_ratio(correct.astype(np.float64), present.astype(np.float64))))
    if np.isnan(value):
        raise ValueError("no class has a sample: there is nothing to average")
    return value


def bootstrap_mean_per_class(
    correct: Counts, present: Counts, replicates: int = REPLICATES, seed: int = 0, level: float = 0.95
) -> Interval | None:
    """Interval of :func:`mean_per_class` over samples, from studentised resamples.

    A class that a resample misses is left out of that resample's mean.

    Args:
        correct: (C,) as in :func:`mean_per_class`.
        present: (C,) as in :func:`mean_per_class`.
        replicates: number of resamples.
        seed: the same seed gives the same interval.
        level: confidence level in (0, 1).

    Returns:
        The interval in percent, a point where each class is all right or all wrong; None for fewer than two samples.
    """
    times = np.concatenate([correct, present - correct])
    one_each = np.eye(len(present))
    hits, trials = np.concatenate([one_each, 0 * one_each]), np.concatenate([one_each, one_each])
    occurring = times > 0
    return _interval(hits[occurring], trials[occurring], times[occurring], replicates, seed, level)
