"""The difference of two checkpoints on the same samples: its interval, its p-value, and Holm's correction of many."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.comparison.scores import Floats, Ints, Score
from benchmarks.resampling import Combined, MeanRatio, Plausible, moved, student, studentised
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

    With one seed a side the interval is that of a single score (``benchmarks.resampling``), of the difference instead:
    samples are drawn with replacement, the same for both sides. With more seeds, see :func:`_with_seeds`.

    Args:
        baseline, other: at least one seed each.
        binary: samples are right or wrong: with one run a side the p-value is that of McNemar's exact test.
        replicates: number of resamples; None: as many as the scores are worth.
        seed: the same seed gives the same interval.
        level: confidence level in (0, 1).
        report: is told of the progress (done, total).
    """
    runs = [score for side in (baseline, other) for unit in side for score in unit]
    values = _units(baseline, other, np.array([float(run.values()[0]) for run in runs]))
    first, second = (float(side.mean()) for side in values)
    samples, seeds = len(runs[0].kinds), (len(baseline), len(other))
    drawing = _Drawing.of(runs, replicates or runs[0].replicates, seed, report)
    if seeds != (1, 1):
        deviations = drawing.deviations()
        apart = None if deviations is None else _units(baseline, other, deviations)
        interval, p = _with_seeds(values, apart, samples, level)
        return Difference(first, second, interval, p, "bootstrap and seeds", seeds, samples)
    factors = [sign / len(unit) for sign, (unit,) in ((-1, baseline), (1, other)) for _ in unit]
    plausible = drawing.plausible(second - first, factors)
    interval, p = _of_one_seed(plausible, level)
    if binary and len(runs) == 2:
        p = mcnemar(*_hits(runs))
        if interval:  # resamples of a handful of images say more than they can know
            interval = _bounded(*interval, p >= 1 - level)
        return Difference(first, second, interval, p, "McNemar", seeds, samples)
    return Difference(first, second, interval, p, "bootstrap", seeds, samples)


def _of_one_seed(plausible: Plausible | None, level: float) -> tuple[Interval | None, float]:
    """Interval and p-value of a difference."""
    if plausible is None:
        return None, 1.0
    p = plausible.p()
    return _bounded(*plausible.ends(level), p >= 1 - level), p


def _bounded(low: float, high: float, noise: bool) -> Interval:
    """An interval of a difference: two shares are at most 100 points apart, and what may be noise may be zero."""
    low, high = max(low, -100.0), min(high, 100.0)
    return Interval(min(low, 0.0), max(high, 0.0)) if noise else Interval(low, high)


def _units(baseline: Runs, other: Runs, values: Floats) -> tuple[Floats, Floats]:
    """The values of all runs, (runs, ...), averaged to one a seed: (seeds, ...) of each side."""
    sizes = [len(unit) for side in (baseline, other) for unit in side]
    means = np.stack([part.mean(axis=0) for part in np.split(values, np.cumsum(sizes)[:-1])])
    return means[: len(baseline)], means[len(baseline) :]


@dataclass(frozen=True)
class _Drawing:
    """What drawing samples anew does to several runs at once.

    Attributes:
        runs: of one sample of each kind: those that count alike in every run need not be told apart.
        times: (K,) samples of that kind.
        replicates, seed, report: see :func:`difference`.
    """

    runs: Sequence[Score]
    times: Ints
    replicates: int
    seed: int
    report: Callable[[int, int], None]

    @classmethod
    def of(cls, runs: Sequence[Score], replicates: int, seed: int, report: Callable[[int, int], None]) -> "_Drawing":
        """Of runs over the same samples."""
        kinds = np.stack([run.kinds for run in runs], axis=1)
        _, rows, sizes = np.unique(kinds, axis=0, return_index=True, return_counts=True)
        order = np.argsort(rows)  # pictures stay in their order, which decides between equal scores of detections
        kept = [run.take(rows[order].astype(np.int64)) for run in runs]
        return cls(kept, sizes[order].astype(np.int64), replicates, seed, report)

    @property
    def smooth(self) -> list[MeanRatio]:
        """The runs, if it is known how each sample moves their values; else none of them."""
        known: list[MeanRatio] = [run for run in self.runs if isinstance(run, MeanRatio)]
        return known if len(known) == len(self.runs) else []

    def plausible(self, value: float, factors: Sequence[float]) -> Plausible | None:
        """What resamples leave plausible of the sum of the runs, each times its factor; None: nothing can be said.

        Args:
            value: that sum.
            factors: of each run.
        """
        if self.smooth:
            combined = Combined(self.smooth, factors, self.times)
            return studentised(combined, self.replicates, self.seed, self.report)
        return moved(value, np.array(factors) @ self._values(), int(self.times.sum()))

    def deviations(self) -> Floats | None:
        """(runs, M) numbers whose inner products are the covariances of the runs' values over samples.

        None where the value of some resample is undefined, or too little is known of how much samples vary.
        """
        if self.smooth:
            if Combined(self.smooth, [1.0] * len(self.smooth), self.times).freedom < 1:
                return None
            roots = np.sqrt(self.times)[:, None]
            return np.stack([(roots * run.deviations(self.times)).ravel() for run in self.smooth])
        drawn = self._values()
        if not np.isfinite(drawn).all():
            return None
        apart: Floats = (drawn - drawn.mean(axis=1, keepdims=True)) / (self.replicates - 1) ** 0.5
        return apart

    def _values(self) -> Floats:
        """(runs, R) values of all runs in the same resamples."""
        total = int(self.times.sum())
        generator, parts = np.random.default_rng(self.seed), []
        for start in range(0, self.replicates, _BATCH):
            weights = generator.multinomial(total, self.times / total, size=min(_BATCH, self.replicates - start))
            parts.append(np.stack([run.values(weights) for run in self.runs]))
            self.report(min(start + _BATCH, self.replicates), self.replicates)
        return np.concatenate(parts, axis=1)


def _with_seeds(
    values: tuple[Floats, Floats], deviations: tuple[Floats, Floats] | None, samples: int, level: float
) -> tuple[Interval | None, float]:
    """Interval and p-value where chance lies in the samples and in the seeds.

    The variance of the difference is that over samples, and that of the seeds. The latter is estimated from the spread
    inside both sides together, so that a side with one seed takes the other's; the part of it that only comes from the
    choice of samples is in the former already and taken off it. A resampling of two or three seeds would understate
    their spread; Student's law with the degrees of freedom of Welch and Satterthwaite does not.

    Args:
        values: (S,) of the seeds of both sides.
        deviations: (S, M) of the same, whose inner products are covariances over samples.
        samples: N.
        level: confidence level in (0, 1).
    """
    from scipy.stats import t

    if samples < 2 or deviations is None:
        return None, 1.0
    value = float(values[1].mean() - values[0].mean())
    freedom = sum(len(side) - 1 for side in values)
    share = sum(1 / len(side) for side in values)
    spread = share * sum(float(((side - side.mean()) ** 2).sum()) for side in values) / freedom
    apart = share * sum(float(((side - side.mean(axis=0)) ** 2).sum()) for side in deviations) / freedom
    over_samples = float(((deviations[1].mean(axis=0) - deviations[0].mean(axis=0)) ** 2).sum())
    sampling = max(over_samples - apart, 0.0)
    variance = sampling + spread
    if variance == 0:
        p = student(value, 0.0, freedom, samples)
        return _bounded(value, value, p >= 1 - level), p
    satterthwaite = variance**2 / (sampling**2 / (samples - 1) + spread**2 / freedom)
    reach = float(t.ppf((1 + level) / 2, satterthwaite)) * variance**0.5
    p = student(value, variance**0.5, satterthwaite, samples)
    return _bounded(value - reach, value + reach, p >= 1 - level), p


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
