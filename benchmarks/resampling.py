"""What resampled samples leave plausible: the one rule behind every interval that is not a single share's.

Means of ratios of sums over images (mIoU, means over classes, recall of captions) have studentised resamples: how far a
resample is from the value is counted in the resample's own standard errors, and these in the value's (bootstrap-t;
Davison and Hinkley, Bootstrap Methods and their Application, 1997, sections 2.4 and 5.2). What is biased about rare
classes, or rated too small, is so in resamples as in the value, and is allowed for. AP, of which no standard error
comes with a resample, has resamples moved by the bias. To neither side is an interval narrower than Student's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Weights = npt.NDArray[np.integer]
Report = Callable[[int, int], None]

REPLICATES = 2000
"""Resamples of scores whose resampling takes seconds."""

_BATCH = 128  # resamples at a time: 2000 images x 128 multiplicities are 2 MB
_ROUNDING = 1e-9  # percent: a smaller standard error is none


@dataclass(frozen=True, eq=False)
class MeanRatio:
    """The mean over the classes that occur of the sum of hits by the sum of trials; one class for a plain share.

    Attributes:
        hits: (N, C) sparse.
        trials: (N, C) sparse, nowhere less than ``hits``.
    """

    hits: Any
    trials: Any

    def values(self, weights: Weights | None = None) -> Floats:
        """(R,) percent, for (R, N) numbers of how often each resample holds each sample; None: each once.

        NaN for a resample in which no class occurs.
        """
        return self._summed(weights)[0]

    def influences(self, weights: Weights) -> tuple[Floats, Floats]:
        """The values of resamples, (R,), and by how much one sample more of each would move them, (R, N) percent.

        The latter is the derivative (infinitesimal jackknife); a resample's classes are those that occur in it.
        """
        values, shares, scale = self._summed(weights)
        return values, (100 * scale) @ self.hits.T - (shares * scale) @ self.trials.T

    def deviations(self, times: Weights) -> Floats:
        """(N, 1 + C) numbers whose products with those of another score, each ``times``, sum to their covariance.

        The first are the samples' influences, each divided by sqrt(1 - h), h the sample's part of the trials of the
        class. A sample that is much of a class pulls that class's ratio to itself and so seems to fit too well; the
        division makes up for it in the sum of squares, as MacKinnon and White's HC2 does in a regression. A class of a
        single sample has no residual at all: it is taken to vary as the samples of the other classes do about theirs,
        which the other numbers bring in.

        Args:
            times: (N,) how often the data hold each sample.
        """
        residuals, occurring = self._residuals(times), self._occurring(times)
        shared = occurring[occurring > 1].sum()
        weight = (self.lone(times) / shared) ** 0.5 if shared else 0.0
        parts = self.trials.tocoo()
        # Of the ratio in a sample by itself, however much of the class's trials it has: the trials' mean of its square.
        columns, sizes = parts.coords[1], times @ self.trials
        wholes = sizes[columns] * occurring[columns]
        alone = weight * np.sqrt(np.divide(wholes, parts.data, out=np.zeros_like(wholes), where=parts.data > 0))
        others = residuals.multiply(type(parts)((alone, parts.coords), shape=parts.shape).tocsr()).toarray()
        return np.concatenate([np.asarray(residuals.sum(axis=1)).reshape(-1, 1), others], axis=1)

    def lone(self, times: Weights) -> int:
        """The number of classes that a single sample has."""
        return int((self._occurring(times) == 1).sum())

    def freedom(self, times: Weights) -> int:
        """Of the residuals, where there are classes of a single sample: samples of the others beyond the first."""
        occurring = self._occurring(times)
        return int((occurring - 1)[occurring > 1].sum())

    def _occurring(self, times: Weights) -> Floats:
        """(C,) the number of samples of each class."""
        counted: Floats = times @ (self.trials > 0).astype(np.float64)
        return counted

    def _residuals(self, times: Weights) -> Any:
        """(N, C) sparse: by how much each sample moves the value through each class, unshrunk."""
        _, shares, scale = self._summed(times[None])
        totals = times @ self.trials
        parts = self.trials.tocoo()
        columns = parts.coords[1]
        rest = totals[columns] - parts.data
        factors = np.sqrt(np.divide(totals[columns], rest, out=np.zeros_like(rest), where=rest > 0))
        stretched = type(parts)((factors * scale[0][columns], parts.coords), shape=parts.shape).tocsr()
        return stretched.multiply(self.hits * 100 - self.trials.multiply(shares)).tocsr()

    def _summed(self, weights: Weights | None) -> tuple[Floats, Floats, Floats]:
        """Values (R,), shares of the classes in percent (R, C), and the derivative of the value by hits / 100."""
        counted = np.ones((1, self.hits.shape[0])) if weights is None else weights.astype(np.float64)
        hits, trials = (counted @ part for part in (self.hits, self.trials))
        there = trials > 0
        shares = np.divide(100 * hits, trials, out=np.zeros(trials.shape), where=there)
        classes = there.sum(axis=1)
        empty = np.full(len(classes), np.nan)
        values: Floats = np.divide(shares.sum(axis=1), classes, out=empty, where=classes > 0)
        scale = np.divide(1, trials * classes[:, None], out=np.zeros(trials.shape), where=there)
        return values, shares, scale


@dataclass(frozen=True, eq=False)
class Combined:
    """A sum of scores of the same N samples, each times a number: one score, or the difference of two.

    Attributes:
        scores: at least one.
        factors: of each score.
        times: (N,) how often the data hold each sample; more than once where samples count alike.
    """

    scores: Sequence[MeanRatio]
    factors: Sequence[float]
    times: Ints

    @property
    def value(self) -> float:
        """What the data give, in percent."""
        return float(self._sum([score.values(self.times[None]) for score in self.scores])[0])

    def error(self) -> float:
        """Standard error of the value over samples, in percent.

        The root of the squared influences and, once more, that of the most telling sample: it stands for one that could
        have been drawn and was not. Of a handful of telling samples there may be none, in the data or in a resample.
        """
        return float(np.sqrt(sum(self.variances())))

    def variances(self) -> tuple[float, float]:
        """Of the value over samples: what residuals tell, and what is taken for classes of a single sample."""
        squares = self._sum([score.deviations(self.times) for score in self.scores]) ** 2
        known = float(self.times @ squares[:, 0] + squares[:, 0].max())
        return known, float(self.times @ squares[:, 1:].sum(axis=1))

    @property
    def lone(self) -> bool:
        """Whether a class stands on a single sample."""
        return any(score.lone(self.times) for score in self.scores)

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the error."""
        if self.lone:
            return min(score.freedom(self.times) for score in self.scores)
        return int(self.times.sum()) - 1

    def resample(self, replicates: int, seed: int, report: Report) -> tuple[Floats, Floats]:
        """Values of resamples of the data and the standard error of each, (R,) both, in percent.

        The most telling sample of the data is added to each error: a resample without any would else be infinitely far
        off.
        """
        total = int(self.times.sum())
        generator = np.random.default_rng(seed)
        telling = (self._influences(self.times[None])[1] ** 2).max()
        values, errors = np.empty(replicates), np.empty(replicates)
        for start in range(0, replicates, _BATCH):
            rows = slice(start, min(start + _BATCH, replicates))
            weights = generator.multinomial(total, self.times / total, size=rows.stop - start)
            values[rows], influences = self._influences(weights)
            squares = np.einsum("rn,rn->r", weights.astype(np.float64), influences**2)
            errors[rows] = np.sqrt(squares * total / (total - 1) + telling)
            report(rows.stop, replicates)
        return values, errors

    def _influences(self, weights: Weights) -> tuple[Floats, Floats]:
        values, influences = zip(*(score.influences(weights) for score in self.scores), strict=True)
        return self._sum(values), self._sum(influences)

    def _sum(self, parts: Sequence[Floats]) -> Floats:
        summed: Floats = sum((factor * part for factor, part in zip(self.factors, parts, strict=True)), np.zeros(1))
        return summed


@dataclass(frozen=True)
class Plausible:
    """A value, and what may be true instead.

    Attributes:
        value: in percent.
        error: its standard error.
        truths: (R,) true values that resamples leave plausible, in percent.
        samples: their number N, 2 or more.
        freedom: degrees of freedom of the error, 1 or more.
    """

    value: float
    error: float
    truths: Floats
    samples: int
    freedom: int

    def ends(self, level: float) -> tuple[float, float]:
        """Of the interval of that level: the quantiles of the plausible truths, or Student's if they are farther off.

        Of the quantiles that R truths leave open the outer ones are taken. So zero is outside exactly where
        :meth:`p` is below 1 - level.
        """
        from scipy.stats import t

        reach = self.error * float(t.ppf((1 + level) / 2, self.freedom))
        low = float(np.quantile(self.truths, (1 - level) / 2, method="lower"))
        high = float(np.quantile(self.truths, (1 + level) / 2, method="higher"))
        return min(low, self.value - reach), max(high, self.value + reach)

    def p(self) -> float:
        """Two-sided p-value of a truth of zero.

        The larger of two: twice the share of plausible truths on the other side of zero, which has no more digits than
        there are resamples; and that of Student's law. It is never less than the signs of N samples can give.
        """
        beyond = 2 * min(float((self.truths <= 0).mean()), float((self.truths >= 0).mean()), 0.5)
        return max(beyond, student(self.value, self.error, self.freedom, self.samples))


def student(value: float, error: float, freedom: float, samples: int) -> float:
    """Two-sided p-value of Student's law; never below what the signs of N samples can give, 2^(1-N)."""
    from scipy.stats import t

    if value == 0:
        return 1.0
    p = 2 * float(t.sf(abs(value) / error, freedom)) if error else 0.0
    return max(p, 2.0 ** (1 - samples))


def studentised(
    score: Combined, replicates: int = REPLICATES, seed: int = 0, report: Report = lambda done, total: None
) -> Plausible | None:
    """What resamples leave plausible of a score whose influences are known.

    Args:
        score: of any number of samples.
        replicates: number of resamples.
        seed: the same seed gives the same values.
        report: is told of the progress (done, total).

    Returns:
        None for fewer than two samples, where no class occurs in some resample, or where classes of a single sample
        leave it open how much samples vary. Where every sample says the same of the score (all right, say), nothing but
        the value is plausible.
    """
    samples = int(score.times.sum())
    if samples < 2 or score.freedom < 1:
        return None
    value, (known, lone) = score.value, score.variances()
    error = float(np.sqrt(known + lone))
    if error < _ROUNDING and score.lone:
        return None
    values, errors = score.resample(replicates, seed, report)
    if not np.isfinite(values).all():
        return None
    if error < _ROUNDING:
        return Plausible(value, 0.0, np.full(replicates, value), samples, score.freedom)
    truths = value - known**0.5 * (values - value) / errors  # classes of a single sample: the errors lack them, too
    return Plausible(value, error, truths, samples, score.freedom)


def moved(value: float, values: Floats, samples: int) -> Plausible | None:
    """The same of a score without influences: its resamples, moved by as much as their mean is off the value.

    Args:
        value: in percent.
        values: (R,) of the resamples.
        samples: their number N.

    Returns:
        None for fewer than two samples, or where the score of some resample is undefined.
    """
    if samples < 2 or not np.isfinite(values).all():
        return None
    error = float(values.std(ddof=1))
    return Plausible(
        value, error if error >= _ROUNDING else 0.0, values + (value - values.mean()), samples, samples - 1
    )
