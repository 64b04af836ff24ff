"""Accuracies and recalls: against numbers worked out by hand, exact enumeration and scipy's own bootstrap."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from benchmarks.statistics import (
    Interval,
    bootstrap_mean_per_class,
    bootstrap_ratio,
    bootstrap_share,
    mean_per_class,
)


def quantile(distribution: Counter[float], level: float) -> float:
    """The least value that at least ``level`` of a discrete distribution does not exceed."""
    total, below = sum(distribution.values()), 0
    for value in sorted(distribution):
        below += distribution[value]
        if below >= level * total - 1e-9:
            return value
    raise AssertionError


def test_interval_of_a_share_is_that_of_all_possible_resamples() -> None:
    """All 6^6 resamples of six outcomes, two of them hits, enumerated."""
    outcomes = (1, 1, 0, 0, 0, 0)
    shares = Counter(100 * sum(drawn) / 6 for drawn in itertools.product(outcomes, repeat=6))
    found = bootstrap_share(2, 6)
    assert found == pytest.approx(Interval(quantile(shares, 0.025), quantile(shares, 0.975)))


@given(st.integers(2, 5000), st.floats(0, 1))
def test_interval_of_a_share_encloses_it(trials: int, share: float) -> None:
    hits = round(share * trials)
    found = bootstrap_share(hits, trials)
    assert found is not None
    assert 0 <= found.low <= 100 * hits / trials + 1e-9
    assert 100 * hits / trials - 1e-9 <= found.high <= 100


def test_interval_of_a_share_covers_the_truth() -> None:
    """A thousand experiments of 400 trials at 37 %: 93 to 97 of 100 intervals hold the true share."""
    hits = np.random.default_rng(0).binomial(400, 0.37, size=1000)
    intervals = [bootstrap_share(int(count), 400) for count in hits]
    covered = np.mean([found is not None and found.low <= 37 <= found.high for found in intervals])
    assert 0.93 <= covered <= 0.97


def test_mean_per_class_by_hand() -> None:
    """3 of 4 and 1 of 10 are 75 % and 10 %: 42.5 %; the class without samples does not count."""
    assert mean_per_class(np.array([3, 1, 0]), np.array([4, 10, 0])) == 42.5
    with pytest.raises(ValueError, match="no class has a sample"):
        mean_per_class(np.array([0, 0]), np.array([0, 0]))


def test_interval_of_mean_per_class_equals_scipys_over_samples() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 300)
    right = rng.random(300) < np.linspace(0.2, 0.9, 5)[labels]

    def statistic(drawn: np.ndarray) -> float:
        return float(np.mean([100 * right[drawn][labels[drawn] == c].mean() for c in range(5)]))

    theirs = bootstrap(
        (np.arange(300),), statistic, n_resamples=2000, vectorized=False, method="percentile", rng=rng
    ).confidence_interval
    ours = bootstrap_mean_per_class(np.bincount(labels[right], minlength=5), np.bincount(labels, minlength=5))
    assert ours == pytest.approx(Interval(theirs.low, theirs.high), abs=0.5)


def test_a_share_of_one_class_has_the_same_interval_either_way() -> None:
    exact, drawn = bootstrap_share(130, 200), bootstrap_mean_per_class(np.array([130]), np.array([200]))
    assert drawn == pytest.approx(exact, abs=0.51)


def test_captions_of_an_image_are_drawn_together() -> None:
    """Five captions that succeed or fail together say no more than one: the interval must not shrink by them."""
    hits = (np.random.default_rng(2).random(300) < 0.4).astype(np.int64)
    alone = bootstrap_share(int(hits.sum()), 300)
    together = bootstrap_ratio(5 * hits, np.full(300, 5))
    assert together == pytest.approx(alone, abs=0.5)


def test_ratio_of_uneven_trials_equals_scipys() -> None:
    rng = np.random.default_rng(3)
    trials = rng.integers(1, 8, 200)
    hits = rng.binomial(trials, 0.3)

    def statistic(drawn: np.ndarray) -> float:
        return float(100 * hits[drawn].sum() / trials[drawn].sum())

    theirs = bootstrap(
        (np.arange(200),), statistic, n_resamples=2000, vectorized=False, method="percentile", rng=rng
    ).confidence_interval
    assert bootstrap_ratio(hits, trials) == pytest.approx(Interval(theirs.low, theirs.high), abs=0.5)


def test_one_sample_has_no_interval() -> None:
    assert bootstrap_share(1, 1) is None
    assert bootstrap_mean_per_class(np.array([1]), np.array([1])) is None
    assert bootstrap_ratio(np.array([2]), np.array([5])) is None
