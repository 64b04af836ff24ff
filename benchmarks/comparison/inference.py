"""The difference of two checkpoints on the same samples: its interval, its p-value, and Holm's correction of many."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.comparison.scores import Floats, Ints, Score
from benchmarks.statistics import Interval

Runs = Sequence[Sequence[Score]]
"""The scores of a side: for each of its seeds the runs that are averaged before seeds are compared."""

_BATCH = 128  # resamples at a time


@dataclass(frozen=True)
class Difference:
    """Other less baseline, in points (percent).

    Attributes:
        baseline, other: the values, means over seeds.
        interval: 95 % interval of their difference; None where there is none.
        p: two-sided p-value of no difference.
        test: what gave ``p``: ``McNemar``, ``bootstrap`` or ``bootstrap and seeds``.
        seeds: numbers of seeds of both sides.
        samples: N.
    """

    baseline: float
    other: float
    interval: Interval | None
    p: float
    test: str
    seeds: tuple[int, int]
    samples: int

    @property
    def value(self) -> float:
        """The difference."""
        return self.other - self.baseline


def difference(
    baseline: Runs,
    other: Runs,
    *,
    binary: bool = False,
    replicates: int | None = None,
    seed: int = 0,
    level: float = 0.95,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Difference:
    """Compare two sides whose scores are of the same N samples in the same order.

    With one seed a side the interval is a percentile bootstrap's: samples are drawn with replacement, the same for both
    sides. mIoU, AP and means over classes of a resample, which holds samples twice, are biased; their percentiles are
    moved by as much as the mean of the resamples is off. With more seeds, see :func:`_with_seeds`.

    Args:
        baseline, other: at least one seed each.
        binary: samples are right or wrong: with one run a side the p-value is that of McNemar's exact test.
        replicates: number of resamples; None: as many as the scores are worth.
        seed: the same seed gives the same interval.
        level: confidence level in (0, 1).
        report: is told of the progress (done, total).
    """
    runs = [score for side in (baseline, other) for unit in side for score in unit]
    points = [float(run.values()[0]) for run in runs]
    units = _units(baseline, other, np.array(points))
    drawn = _units(baseline, other, _resampled(runs, replicates or runs[0].replicates, seed, report))
    first, second = (float(side.mean()) for side in units)
    samples, seeds = len(runs[0].kinds), (len(baseline), len(other))
    if seeds != (1, 1):
        interval, p = _with_seeds(units, drawn, samples, level)
        return Difference(first, second, interval, p, "bootstrap and seeds", seeds, samples)
    gains = drawn[1][0] - drawn[0][0]
    if not runs[0].linear:
        gains += second - first - gains.mean()
    interval, p = _one_seed(second - first, gains, samples, level)
    if binary and len(runs) == 2:
        return Difference(first, second, interval, mcnemar(*_hits(runs)), "McNemar", seeds, samples)
    return Difference(first, second, interval, p, "bootstrap", seeds, samples)


def _units(baseline: Runs, other: Runs, values: Floats) -> tuple[Floats, Floats]:
    """The values of all runs, (runs, ...), averaged to one a seed: (seeds, ...) of each side."""
    sizes = [len(unit) for side in (baseline, other) for unit in side]
    means = np.stack([part.mean(axis=0) for part in np.split(values, np.cumsum(sizes)[:-1])])
    return means[: len(baseline)], means[len(baseline) :]


def _resampled(
    runs: Sequence[Score], replicates: int, seed: int, report: Callable[[int, int], None]
) -> npt.NDArray[np.float64]:
    """(runs, R) values of all runs in the same resamples of the samples.

    How many samples of each kind a resample holds follows the multinomial law of their numbers; samples that count
    alike in every run need not be told apart.
    """
    kinds = np.stack([run.kinds for run in runs], axis=1)
    _, rows, sizes = np.unique(kinds, axis=0, return_index=True, return_counts=True)
    order = np.argsort(rows)  # pictures stay in their order, which decides between equal scores of detections
    kept = [run.take(rows[order].astype(np.int64)) for run in runs]
    total, shares = int(sizes.sum()), sizes[order] / sizes.sum()
    generator, parts = np.random.default_rng(seed), []
    for start in range(0, replicates, _BATCH):
        weights = generator.multinomial(total, shares, size=min(_BATCH, replicates - start))
        parts.append(np.stack([run.values(weights) for run in kept]))
        report(min(start + _BATCH, replicates), replicates)
    return np.concatenate(parts, axis=1)


def _one_seed(value: float, drawn: Floats, samples: int, level: float) -> tuple[Interval | None, float]:
    """Percentile interval, and a p-value.

    The p-value is the larger of two: twice the share of resamples on the other side of zero, which has no more
    digits than there are resamples, and that of Student's law with the bootstrap's standard error, which sees no skew.
    """
    if samples < 2 or not np.isfinite(drawn).all():
        return None, 1.0
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    beyond = 2 * min(float((drawn <= 0).mean()), float((drawn >= 0).mean()), 0.5)
    p = max(beyond, _student(value, float(drawn.std(ddof=1)), samples - 1, samples))
    return Interval(float(low), float(high)), p


def _with_seeds(
    units: tuple[Floats, Floats], drawn: tuple[Floats, Floats], samples: int, level: float
) -> tuple[Interval | None, float]:
    """Interval and p-value where chance lies in the samples and in the seeds.

    The variance of the difference is that of resampling the samples, and that of the seeds. The latter is estimated
    from the spread inside both sides together, so that a side with one seed takes the other's; the part of it that
    only comes from the choice of samples is in the former already and taken off it. A resampling of two or three seeds
    would understate their spread; Student's law with the degrees of freedom of Welch and Satterthwaite does not.

    Args:
        units: (S,) values of the seeds of both sides.
        drawn: (S, R) the same in each resample.
        samples: N.
        level: confidence level in (0, 1).
    """
    from scipy.stats import t

    if samples < 2 or not all(np.isfinite(side).all() for side in drawn):
        return None, 1.0
    value = float(units[1].mean() - units[0].mean())
    freedom = sum(len(side) - 1 for side in units)
    share = sum(1 / len(side) for side in units)
    spread = share * sum(float(((side - side.mean()) ** 2).sum()) for side in units) / freedom
    apart = share * sum(float((side - side.mean(axis=0)).var(axis=1, ddof=1).sum()) for side in drawn) / freedom
    sampling = max(float((drawn[1].mean(axis=0) - drawn[0].mean(axis=0)).var(ddof=1)) - apart, 0.0)
    variance = sampling + spread
    if variance == 0:
        return Interval(value, value), _student(value, 0.0, freedom, samples)
    satterthwaite = variance**2 / (sampling**2 / (samples - 1) + spread**2 / freedom)
    reach = float(t.ppf((1 + level) / 2, satterthwaite)) * variance**0.5
    return Interval(value - reach, value + reach), _student(value, variance**0.5, satterthwaite, samples)


def _student(value: float, error: float, freedom: float, samples: int) -> float:
    """Two-sided p-value; never below what the signs of N samples can give, 2^(1-N)."""
    from scipy.stats import t

    if value == 0:
        return 1.0
    p = 2 * float(t.sf(abs(value) / error, freedom)) if error else 0.0
    return max(p, 2.0 ** (1 - samples))


def _hits(runs: Sequence[Score]) -> tuple[Ints, Ints]:
    """(N,) which samples each of two runs has right: what a binary metric's kinds tell."""
    return runs[0].kinds, runs[1].kinds


def mcnemar(baseline: Ints, other: Ints) -> float:
    """P-value of McNemar's exact test: of the samples that only one side has right, either is as likely to be it.

    Args:
        baseline, other: (N,) numbers, larger where the sample is right.

    Returns:
        The two-sided p-value of the binomial law; 1 where no sample tells the sides apart.
    """
    from scipy.stats import binomtest

    gained, lost = int((other > baseline).sum()), int((other < baseline).sum())
    return float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: p-values that may be compared with the level although many are tested at once.

    The k-th smallest of m is multiplied by m - k + 1, and none becomes smaller than one before it.
    """
    order = np.argsort(p_values, kind="stable")
    raised = np.array(p_values)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1) if len(order) else raised
    return [float(p) for p in corrected]
