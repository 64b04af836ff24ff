"""Metrics from counts, and their bootstrap intervals over images."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]

_BATCH = 128  # replicates at a time: 2000 images x 128 multiplicities are 2 MB


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
    intersection: Counts, union: Counts, replicates: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval | None:
    """Percentile bootstrap interval of the mIoU over images.

    Args:
        intersection: (n, C) as in :func:`per_class_iou`.
        union: (n, C) as in :func:`per_class_iou`.
        replicates: number of resamples.
        seed: the same seed gives the same interval.
        level: confidence level in (0, 1).

    Returns:
        The interval in percent; None for fewer than two images, or where a resample held no labelled pixel.

    Raises:
        ValueError: the shapes differ or the counts are impossible.
    """
    _checked(intersection, union)
    # Classes that occur nowhere stay absent in every resample: leaving them out saves work on small sets.
    present = union.sum(axis=0) > 0
    counts = np.concatenate([intersection[:, present], union[:, present]], axis=1).astype(np.float64)
    half = counts.shape[1] // 2

    def statistic(summed: Floats) -> Floats:
        return _mean_over_classes(_ratio(summed[..., :half], summed[..., half:]))

    return _bootstrap_sums(counts, statistic, replicates, seed, level)


def bootstrap_ratio(
    hits: Counts, trials: Counts, replicates: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval | None:
    """Percentile bootstrap interval of ``sum(hits) / sum(trials)`` where what belongs to one image is drawn together.

    The captions of an image are no independent samples; drawing images with all of their captions keeps the interval
    honest.

    Args:
        hits: (n,) of image i, from 0 to ``trials``.
        trials: (n,) of image i.
        replicates: number of resamples.
        seed: the same seed gives the same interval.
        level: confidence level in (0, 1).

    Returns:
        The interval in percent; None for fewer than two images.
    """
    return _bootstrap_sums(
        np.stack([hits, trials], axis=1).astype(np.float64),
        lambda summed: _ratio(summed[..., 0], summed[..., 1]),
        replicates,
        seed,
        level,
    )


def _bootstrap_sums(
    counts: Floats, statistic: Callable[[Floats], Floats], replicates: int, seed: int, level: float
) -> Interval | None:
    """Percentile bootstrap interval of a statistic of sums over images.

    Images are drawn with replacement and their counts summed. A drawn set of images is a vector of multiplicities, so a
    replicate is one row of a matrix product: 2,000 replicates of 2,000 images and 150 classes take a few seconds and
    some tens of megabytes.

    Args:
        counts: (n, M) of image i.
        statistic: sums (..., M) to values (...); NaN where it is undefined.
        replicates: number of resamples.
        seed: of the generator.
        level: confidence level in (0, 1).
    """
    images = len(counts)
    if images < 2:
        return None
    from scipy.stats import DegenerateDataWarning, bootstrap  # half a second to import

    def resampled(drawn: npt.NDArray[np.intp], axis: int = -1) -> Floats:
        rows = np.moveaxis(drawn, axis, -1)
        return statistic(_multiplicities(rows.reshape(-1, images)) @ counts).reshape(rows.shape[:-1])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # an empty resample: answered below by None
        result = bootstrap(
            (np.arange(images),),
            resampled,
            n_resamples=replicates,
            batch=_BATCH,
            vectorized=True,
            confidence_level=level,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    interval = Interval(float(result.low), float(result.high))
    return interval if np.isfinite(interval).all() else None


def _multiplicities(drawn: npt.NDArray[np.intp]) -> Floats:
    """How often each image was drawn: (r, n) indices below n to (r, n) counts."""
    replicates, images = drawn.shape
    offsets = np.arange(replicates)[:, None] * images
    flat = np.bincount((drawn + offsets).ravel(), minlength=replicates * images)
    return flat.reshape(replicates, images).astype(np.float64)


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
    correct: Counts, present: Counts, replicates: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval | None:
    """Percentile bootstrap interval of :func:`mean_per_class` over samples.

    How many samples of each class, right and wrong, are drawn follows the multinomial law of what was observed, so the
    counts are drawn themselves. A class that a resample misses is left out of that resample's mean.

    Args:
        correct: (C,) as in :func:`mean_per_class`.
        present: (C,) as in :func:`mean_per_class`.
        replicates: number of resamples.
        seed: the same seed gives the same interval.
        level: confidence level in (0, 1).

    Returns:
        The interval in percent; None for fewer than two samples.
    """
    samples = int(present.sum())
    if samples < 2:
        return None
    cells = np.concatenate([correct, present - correct])
    drawn = np.random.default_rng(seed).multinomial(samples, cells / samples, size=replicates).astype(np.float64)
    right, wrong = np.split(drawn, 2, axis=1)
    low, high = np.quantile(_mean_over_classes(_ratio(right, right + wrong)), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
