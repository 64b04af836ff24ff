"""Intervals and tests of a difference: against scipy, exact enumeration, and cases worked out by hand."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, t, ttest_ind

from benchmarks.comparison.inference import difference, holm, mcnemar
from benchmarks.comparison.scores import KINDS, Ratio, Score
from tests.comparison import runs


def score(right: Sequence[bool] | np.ndarray) -> Score:
    return KINDS["top1"].read(runs.hits(right))


def flags(count: int, share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(count) < share


# ---- the interval


def plain_ends(moves: np.ndarray, truths: Sequence[float], value: float) -> tuple[float, float]:
    """95 % interval of a difference from what each image moves it by, and what resamples leave plausible."""
    reach = float(np.sqrt(np.sum(moves**2) + np.max(moves**2))) * t.ppf(0.975, len(moves) - 1)
    low, high = np.quantile(truths, [0.025, 0.975])
    return min(low, value - reach), max(high, value + reach)


def test_the_interval_is_that_of_all_possible_resamples() -> None:
    """All 8^8 resamples of eight images, as the 6435 ways to share eight draws among them, with their probabilities.

    Seven images have one caption more or none; the eighth has nine more: that is skew.
    """
    gains = np.array([1, 0, 0, 1, 0, 1, 0, 9])
    baseline, other = ([[1] * hits + [2] * (10 - hits) for hits in found] for found in ([0] * 8, gains.tolist()))
    scores = [KINDS["t2i_r1"].read(runs.retrieved([1] * 8, ranks)) for ranks in (baseline, other)]
    shares = 10.0 * gains
    moves = (shares - shares.mean()) / 8
    error = np.sqrt((np.sum(moves**2) + np.max(moves**2)) / (1 - 1 / 8))
    ways = [np.bincount(drawn, minlength=8) for drawn in itertools.combinations_with_replacement(range(8), 8)]
    truths, chances = [], []
    for row in ways:
        mean = float(row @ shares) / 8
        own = np.sqrt(float(row @ ((shares - mean) / 8) ** 2) * 8 / 7 + (moves**2).max())
        truths.append(shares.mean() - error * (mean - shares.mean()) / own)
        chances.append(math.factorial(8) / np.prod([math.factorial(count) for count in row]) / 8**8)
    order = np.argsort(truths)
    law, below = np.array(truths)[order], np.cumsum(np.array(chances)[order])
    found = difference([[scores[0]]], [[scores[1]]], replicates=8000, level=0.5)
    assert found.interval is not None
    assert sum(chances) == pytest.approx(1)
    assert found.value == pytest.approx(15)
    # Student's reach is the farther one below, the resamples' above.
    assert found.interval.low == pytest.approx(15 - error * t.ppf(0.75, 7))
    near = law[np.searchsorted(below, 0.73)], law[np.searchsorted(below, 0.77)]
    assert near[0] - 1e-9 <= found.interval.high <= near[1] + 1e-9
    assert near[0] > 15 + error * t.ppf(0.75, 7)


@pytest.mark.parametrize("metric", ["top1", "mean_per_class"])
def test_of_many_images_the_interval_is_scipys_paired_bootstrap(metric: str) -> None:
    frames = [runs.random_classified(400, 4, share, seed) for share, seed in ((0.5, 1), (0.6, 2))]
    labels = frames[0]["label"].to_numpy()
    right = [frame["correct"].to_numpy() for frame in frames]

    def statistic(drawn: np.ndarray) -> float:
        if metric == "top1":
            return float(100 * (right[1][drawn].mean() - right[0][drawn].mean()))
        each = [100 * (right[1][drawn] * 1.0 - right[0][drawn])[labels[drawn] == c].mean() for c in range(4)]
        return float(np.mean(each))

    rng = np.random.default_rng(3)
    theirs = bootstrap((np.arange(400),), statistic, n_resamples=4000, vectorized=False, method="percentile", rng=rng)
    ours = difference(*([[KINDS[metric].read(frame)]] for frame in frames), replicates=4000)
    assert ours.interval == pytest.approx(tuple(theirs.confidence_interval), abs=0.5)
    assert ours.value == pytest.approx(statistic(np.arange(400)))
    z = abs(ours.value) / theirs.standard_error
    assert ours.p == pytest.approx(2 * t.sf(z, 399), abs=0.02)


def test_segmentation_against_a_plain_loop() -> None:
    """Images drawn one by one, counts summed, IoUs averaged; what each image moves, class by class: the definition."""
    frames = [runs.random_segmented(25, 4, quality, seed) for quality, seed in ((0.5, 1), (0.7, 2))]
    scores = [KINDS["mIoU"].read(frame) for frame in frames]
    dense = [(one.hits.toarray(), one.trials.toarray()) for one in scores if isinstance(one, Ratio)]

    def score_of(drawn: np.ndarray, corrected: bool = False) -> tuple[float, np.ndarray]:
        value, moves = 0.0, np.zeros(len(drawn))
        for sign, (hits, union) in zip((-1, 1), dense, strict=True):
            for c in range(4):
                own, total = union[drawn, c], union[drawn, c].sum()
                iou = hits[drawn, c].sum() / total
                part = sign * 25 * (hits[drawn, c] - iou * own) / total
                moves += part / np.sqrt(1 - own / total) if corrected else part
                value += sign * 25 * iou
        return value, moves

    generator = np.random.default_rng(0)
    value, plain = score_of(np.arange(25))
    moves = score_of(np.arange(25), corrected=True)[1]
    truths = []
    for _ in range(3000):
        drawn_value, drawn_moves = score_of(generator.integers(0, 25, 25))
        own = np.sqrt(np.sum(drawn_moves**2) * 25 / 24 + np.max(plain**2))
        truths.append(value - np.sqrt(np.sum(moves**2) + np.max(moves**2)) * (drawn_value - value) / own)
    found = difference([[scores[0]]], [[scores[1]]], replicates=4000)
    assert found.value == pytest.approx(value)
    assert found.interval == pytest.approx(plain_ends(moves, truths, value), abs=0.4)


def test_pairing_narrows_the_interval() -> None:
    """Two checkpoints that agree on nearly every image differ by little that chance could explain."""
    one = flags(2000, 0.5, 1)
    two = one.copy()
    two[np.flatnonzero(~one)[:40]] = True
    paired = difference([[score(one)]], [[score(two)]], binary=True)
    apart = difference([[score(one)]], [[score(flags(2000, 0.52, 2))]], binary=True)
    assert paired.interval is not None
    assert apart.interval is not None
    assert paired.interval.low > 0
    assert (apart.interval.high - apart.interval.low) > 4 * (paired.interval.high - paired.interval.low)
    assert paired.p < 1e-9


def test_the_same_answers_do_not_differ() -> None:
    one = score(flags(100, 0.5, 1))
    found = difference([[one]], [[one]])
    assert (found.value, found.interval, found.p) == (0.0, (0.0, 0.0), 1.0)


def test_the_sides_can_be_swapped() -> None:
    one, two = score(flags(200, 0.5, 1)), score(flags(200, 0.6, 2))
    there, back = difference([[one]], [[two]]), difference([[two]], [[one]])
    assert there.value == -back.value
    assert there.p == pytest.approx(back.p)
    assert there.interval is not None
    assert back.interval is not None
    assert there.interval.low == pytest.approx(-back.interval.high, abs=0.8)


def test_one_seed_of_the_generator_gives_one_interval() -> None:
    sides = [[[score(flags(60, share, 1))]] for share in (0.4, 0.6)]
    assert difference(*sides) == difference(*sides)
    assert difference(*sides).interval != difference(*sides, seed=1).interval


def test_few_images_prove_nothing() -> None:
    """Three captions found by one side only, on all three images: no proof, and the interval says so."""
    nothing, everything = ([[KINDS["t2i_r1"].read(runs.retrieved([1] * 3, [[rank]] * 3))]] for rank in (2, 1))
    found = difference(nothing, everything)
    assert found.interval == (0.0, 100.0)
    assert found.p == 0.25  # 2 of the 8 ways that three signs can fall
    assert difference([[score([True])]], [[score([False])]]).interval is None


def test_the_interval_and_the_p_value_agree() -> None:
    """Zero is outside the 95 % interval exactly where the p-value is below 5 %."""
    outside = []
    for seed in range(60):
        frames = [runs.random_segmented(8, 5, 0.5 + 0.04 * side, 10 * seed + side) for side in (0, 1)]
        found = difference(*([[KINDS["mIoU"].read(frame)]] for frame in frames), replicates=400)
        assert found.interval is not None
        outside.append(not found.interval.low <= 0 <= found.interval.high)
        assert outside[-1] == (found.p < 0.05)
    assert 5 < sum(outside) < 55


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=30))
@settings(deadline=None, max_examples=40)
def test_what_mcnemars_test_does_not_tell_apart_no_interval_does(answers: list[tuple[bool, bool]]) -> None:
    sides = [[[score([pair[side] for pair in answers])]] for side in (0, 1)]
    found = difference(*sides, binary=True, replicates=100)
    assert found.interval is not None
    assert found.p < 0.05 or found.interval.low <= 0 <= found.interval.high
    assert found.interval.low - 1e-9 <= found.value <= found.interval.high + 1e-9


def test_progress_reaches_its_end() -> None:
    seen: list[tuple[int, int]] = []
    one = score(flags(30, 0.5, 1))
    difference([[one]], [[one]], replicates=300, report=lambda done, total: seen.append((done, total)))
    assert seen == [(128, 300), (256, 300), (300, 300)]


# ---- McNemar


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_mcnemar_is_the_share_of_all_signs_that_are_as_uneven(answers: list[tuple[bool, bool]]) -> None:
    """Exact enumeration: every discordant sample could have fallen to either side."""
    one, two = (np.array([pair[side] for pair in answers], int) for side in (0, 1))
    discordant = int((one != two).sum())
    lead = abs(int((two - one).sum()))
    every = list(itertools.product((-1, 1), repeat=discordant))
    expected = sum(abs(sum(signs)) >= lead for signs in every) / len(every)
    assert mcnemar(one, two) == pytest.approx(expected)


def test_mcnemar_counts_only_what_tells_the_sides_apart() -> None:
    """9 against 1 of 10 discordant: 2 (1 + 10) / 1024."""
    one = np.array([0] * 9 + [1] + [1] * 500)
    two = np.array([1] * 9 + [0] + [1] * 500)
    assert mcnemar(one, two) == pytest.approx(22 / 1024)
    assert difference([[score(one)]], [[score(two)]], binary=True).p == pytest.approx(22 / 1024)
    assert difference([[score(one)]], [[score(two)]], binary=True).test == "McNemar"


# ---- several seeds


def test_seeds_without_any_choice_of_images_are_a_t_test() -> None:
    """Every image of a seed is right or wrong together: then only the seeds differ, and Student's t test is exact."""
    counts = ((4, 5, 6), (6, 8, 7))
    wanted = [[score(np.arange(1000) % 10 < count) for count in side] for side in counts]
    found = difference(*([[unit] for unit in side] for side in wanted), replicates=500)
    theirs = ttest_ind([60, 80, 70], [40, 50, 60])
    low, high = theirs.confidence_interval(0.95)
    assert found.test == "bootstrap and seeds"
    assert found.seeds == (3, 3)
    assert found.value == pytest.approx(20)
    # The images still add a little to what the seeds alone give.
    assert found.interval == pytest.approx((low, high), abs=1.5)
    assert found.p == pytest.approx(theirs.pvalue, abs=0.01)


def test_seeds_that_agree_leave_the_images() -> None:
    """Three seeds with the very same answers are no more than one, and their spread is nothing."""
    one, two = flags(500, 0.5, 1), flags(500, 0.6, 2)
    several = difference([[score(one)]] * 3, [[score(two)]] * 3)
    single = difference([[score(one)]], [[score(two)]])
    assert several.value == pytest.approx(single.value)
    assert several.interval == pytest.approx(single.interval, abs=0.7)


def test_runs_of_one_training_seed_are_averaged_first() -> None:
    """Two checkpoints of two runs each are two seeds, not four."""
    units = [[score(flags(200, 0.5, 10 * unit + run)) for run in range(2)] for unit in range(2)]
    other = [[score(flags(200, 0.5, 90))], [score(flags(200, 0.5, 91))]]
    found = difference(units, other)
    assert found.seeds == (2, 2)
    assert found.baseline == pytest.approx(np.mean([[one.values()[0] for one in unit] for unit in units]))


def test_one_seed_borrows_the_spread_of_the_other_side() -> None:
    steady = [[score(flags(300, 0.5, seed))] for seed in range(3)]
    wild = [[score(flags(300, share, 50))] for share in (0.3, 0.5, 0.7)]
    small = difference([[score(flags(300, 0.5, 99))]], steady)
    large = difference([[score(flags(300, 0.5, 99))]], wild)
    assert small.interval is not None
    assert large.interval is not None
    assert small.seeds == (1, 3)
    assert (large.interval.high - large.interval.low) > 3 * (small.interval.high - small.interval.low)


# ---- Holm


def test_holm_by_hand() -> None:
    """Four tests: 0.01·4 = 0.04, 0.02·3 = 0.06, 0.03·2 = 0.06, and 0.04·1 may not be smaller than the 0.06 before."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_lies_between_nothing_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    for raw, p in zip(p_values, corrected, strict=True):
        assert raw <= p <= min(1, len(p_values) * raw) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()
