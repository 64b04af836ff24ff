"""The rule behind intervals: against its definition in plain Python, leaving images out, and scipy's bootstrap."""

import itertools
from collections.abc import Sequence
from fractions import Fraction
from math import sqrt

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import bootstrap, t

from benchmarks.resampling import Combined, MeanRatio, Plausible, moved, studentised

Ints = npt.NDArray[np.int64]
Rows = Sequence[Sequence[int]]


def mean_ratio(hits: npt.ArrayLike, trials: npt.ArrayLike) -> MeanRatio:
    return MeanRatio(*(csr_array(np.asarray(part, np.float64)) for part in (hits, trials)))


def random_counts(images: int, classes: int, seed: int, density: float = 0.6) -> tuple[Ints, Ints]:
    generator = np.random.default_rng(seed)
    trials = generator.integers(1, 30, (images, classes)) * (generator.random((images, classes)) < density)
    trials[:, 0] += 1
    return generator.binomial(trials, generator.beta(3, 2, trials.shape)), trials


def alone(hits: npt.ArrayLike, trials: npt.ArrayLike) -> Combined:
    score = mean_ratio(hits, trials)
    return Combined([score], [1.0], np.ones(score.hits.shape[0], np.int64))


# ---- the definition, in plain Python


def plain_value(hits: Rows, trials: Rows) -> float:
    shares = []
    for c in range(len(hits[0])):
        total = sum(row[c] for row in trials)
        if total:
            shares.append(100 * Fraction(int(sum(row[c] for row in hits)), int(total)))
    return float(sum(shares) / len(shares))


def plain_influences(hits: Rows, trials: Rows, corrected: bool) -> list[float]:
    """By how much each image moves the mean of the class ratios: its residual by the total, over the classes."""
    totals = [sum(row[c] for row in trials) for c in range(len(hits[0]))]
    occurring = [c for c, total in enumerate(totals) if total]
    moves = []
    for own_hits, own_trials in zip(hits, trials, strict=True):
        move = 0.0
        for c in occurring:
            share = sum(row[c] for row in hits) / totals[c]
            rest = 1 - own_trials[c] / totals[c]
            factor = (1 / sqrt(rest) if rest > 0 else 0.0) if corrected else 1.0
            move += 100 * (own_hits[c] - share * own_trials[c]) / totals[c] / len(occurring) * factor
        moves.append(move)
    return moves


def plain_truths(hits: Rows, trials: Rows, weights: Ints) -> tuple[float, float, list[float]]:
    """Value, standard error, and what each resample leaves plausible; images are really put together."""
    images = len(hits)
    value = plain_value(hits, trials)
    squares = [move**2 for move in plain_influences(hits, trials, corrected=True)]
    error = sqrt(sum(squares) + max(squares))
    telling = max(move**2 for move in plain_influences(hits, trials, corrected=False))
    truths = []
    for row in weights:
        drawn = [i for i, count in enumerate(row) for _ in range(count)]
        drawn_hits, drawn_trials = [hits[i] for i in drawn], [trials[i] for i in drawn]
        summed = sum(move**2 for move in plain_influences(drawn_hits, drawn_trials, corrected=False))
        own = sqrt(summed * images / (images - 1) + telling)
        truths.append(value - error * (plain_value(drawn_hits, drawn_trials) - value) / own)
    return value, error, truths


@pytest.mark.parametrize(("images", "classes", "seed"), [(2, 1, 0), (5, 3, 1), (12, 4, 2), (30, 6, 3)])
def test_it_is_the_definition(images: int, classes: int, seed: int) -> None:
    hits, trials = random_counts(images, classes, seed)
    weights = np.random.default_rng(9).multinomial(images, np.full(images, 1 / images), size=150)
    value, error, truths = plain_truths(hits.tolist(), trials.tolist(), weights)
    found = studentised(alone(hits, trials), replicates=150, seed=9)
    assert found is not None
    assert (found.value, found.error) == pytest.approx((value, error), rel=1e-9)
    assert found.samples == images
    # The first 128 are drawn at once.
    np.testing.assert_allclose(found.truths[:128], truths[:128], rtol=1e-9)


def test_all_resamples_of_four_images() -> None:
    """4^4 = 256 ordered draws: the quantiles of many resamples are those of the exact law."""
    hits, trials = random_counts(4, 2, 5, density=1)
    every = [np.bincount(drawn, minlength=4) for drawn in itertools.product(range(4), repeat=4)]
    _, _, exact = plain_truths(hits.tolist(), trials.tolist(), np.array(every))
    found = studentised(alone(hits, trials), replicates=20_000)
    assert found is not None
    law = np.sort(exact)
    for end, share in zip(np.quantile(found.truths, (0.1, 0.5, 0.9)), (0.1, 0.5, 0.9), strict=True):
        assert np.mean(law < end - 1e-9) <= share + 0.02
        assert np.mean(law <= end + 1e-9) >= share - 0.02


# ---- its parts


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 8), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_influences_are_derivatives(images: int, classes: int, seed: int) -> None:
    """A little more of an image moves the value by its influence times that little."""
    score = mean_ratio(*random_counts(images, classes, seed))
    weights = np.random.default_rng(seed).integers(0, 4, (1, images))
    if weights.sum() < 2:
        return
    values, influences = score.influences(weights)
    for image in np.flatnonzero(weights[0]):
        more = weights.astype(float)
        more[0, image] += 1e-6
        assert (score.values(more)[0] - values[0]) / 1e-6 == pytest.approx(influences[0, image], abs=1e-3)
    assert float(weights[0] @ influences[0]) == pytest.approx(0, abs=1e-9)


def test_without_much_of_any_class_in_one_image_the_error_is_the_jackknifes() -> None:
    hits, trials = random_counts(300, 3, 4)
    left_out = [plain_value(np.delete(hits, i, 0).tolist(), np.delete(trials, i, 0).tolist()) for i in range(60)]
    score = mean_ratio(hits, trials)
    moves = score.deviations(np.ones(300, np.int64))[:60, 0]
    value = float(score.values()[0])
    np.testing.assert_allclose(value - np.array(left_out), moves, rtol=0.03, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_of_a_plain_mean_the_error_is_the_textbooks(images: int, seed: int) -> None:
    """One trial an image: the standard deviation by the root of the number, also of two images; and one image more."""
    right = np.random.default_rng(seed).integers(0, 2, (images, 1))
    expected = 100 * float(right.std(ddof=1)) / sqrt(images)
    moves = mean_ratio(right, np.ones((images, 1))).deviations(np.ones(images, np.int64))[:, 0]
    assert sqrt(float(moves @ moves)) == pytest.approx(expected, abs=1e-9)
    added = float(max(moves**2))
    assert alone(right, np.ones((images, 1))).error() == pytest.approx(sqrt(expected**2 + added), abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 8), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_error_does_not_depend_on_order_names_or_units(images: int, classes: int, seed: int) -> None:
    hits, trials = random_counts(images, classes, seed)
    generator = np.random.default_rng(seed)
    rows, columns = generator.permutation(images), generator.permutation(classes)
    error = alone(hits, trials).error()
    assert alone(hits[rows], trials[rows]).error() == pytest.approx(error, abs=1e-9)
    assert alone(hits[:, columns], trials[:, columns]).error() == pytest.approx(error, abs=1e-9)
    assert alone(7 * hits, 7 * trials).error() == pytest.approx(error, abs=1e-9)


def test_images_that_count_alike_may_be_counted_together() -> None:
    hits, trials = random_counts(6, 3, 8)
    times = np.array([1, 2, 3, 1, 4, 1])
    together = Combined([mean_ratio(hits, trials)], [1.0], times)
    apart = alone(np.repeat(hits, times, axis=0), np.repeat(trials, times, axis=0))
    assert (together.value, together.error()) == pytest.approx((apart.value, apart.error()))
    ends = [found.ends(0.95) for found in (studentised(together, 8000), studentised(apart, 8000)) if found]
    assert ends[0] == pytest.approx(ends[1], abs=0.05 * (ends[0][1] - ends[0][0]))


def test_scores_are_added_image_by_image() -> None:
    """The difference of a score and itself has no error; that of two is smaller the more they agree."""
    first, second = (mean_ratio(*random_counts(40, 3, 8)), mean_ratio(*random_counts(40, 3, 9)))
    once = np.ones(40, np.int64)
    assert Combined([first, first], [1, -1], once).error() == 0
    assert Combined([first, second], [0.5, 0.5], once).value == pytest.approx(
        (first.values()[0] + second.values()[0]) / 2
    )
    moves = (first.deviations(once) - second.deviations(once))[:, 0]
    assert Combined([first, second], [1, -1], once).error() == pytest.approx(sqrt(float(moves @ moves + max(moves**2))))


def test_a_class_of_one_image_is_taken_to_vary_as_the_others_do() -> None:
    """It has no residual. Its variance is that of an image of the other class; here three times that class's mean's."""
    hits, trials = np.array([[3, 0], [1, 0], [2, 5]]), np.array([[4, 0], [4, 0], [4, 9]])
    score, once = mean_ratio(hits, trials), np.ones(3, np.int64)
    moves = score.deviations(once)[:, 0]
    known = float(moves @ moves)
    assert sqrt(known) == pytest.approx(100 * np.std([0.75, 0.25, 0.5], ddof=1) / sqrt(3) / 2)
    assert alone(hits, trials).error() == pytest.approx(sqrt(known + 3 * known + max(moves**2)))
    assert (score.lone(once), score.freedom(once)) == (1, 2)


def test_a_class_that_is_listed_without_a_trial_is_none() -> None:
    """Samples files may list classes that an image has neither in its label nor in its prediction."""
    hits, trials = np.array([[3, 0], [1, 0], [2, 5]]), np.array([[4, 0], [4, 0], [4, 9]])
    rows, columns = np.indices(trials.shape)
    listed = [
        csr_array((part.ravel().astype(float), (rows.ravel(), columns.ravel())), shape=part.shape)
        for part in (hits, trials)
    ]
    assert listed[1].nnz == trials.size
    score = Combined([MeanRatio(*listed)], [1.0], np.ones(3, np.int64))
    assert score.error() == pytest.approx(alone(hits, trials).error())


@pytest.mark.parametrize("pairs", [0, 2])
def test_nothing_is_known_where_classes_have_one_image_each(pairs: int) -> None:
    """Nor where the few others are all right: no residual there is is no proof of certainty."""
    classes = 8
    trials = np.concatenate([np.eye(classes), np.eye(classes)[:pairs]])
    right = np.concatenate([np.arange(classes) % 2 == 0, np.arange(classes)[:pairs] % 2 == 0])[:, None]
    assert studentised(alone(trials * right, trials), replicates=50) is None


def test_intervals_are_wider_where_many_classes_have_one_image() -> None:
    """A handful of classes with two images each stands for twenty with one: 5 degrees of freedom."""
    trials = np.concatenate([np.eye(25), np.eye(25)[:5]])
    right = np.random.default_rng(1).integers(0, 2, (30, 1))
    found = studentised(alone(trials * right, trials))
    assert found is not None
    assert found.freedom == 5
    low, high = found.ends(0.95)
    assert high - low > 2 * float(t.ppf(0.975, 5)) * found.error - 1e-9


# ---- ends and p-values


def test_far_from_any_trouble_it_is_scipys_bootstrap() -> None:
    """A mean of 500 numbers without skew: studentised or not, percentiles or Student's law."""
    generator = np.random.default_rng(2)
    trials = np.full((500, 1), 20)
    hits = generator.binomial(20, generator.beta(5, 5, (500, 1)))
    found = studentised(alone(hits, trials))
    theirs = bootstrap((5.0 * hits[:, 0],), np.mean, n_resamples=4000, rng=generator).confidence_interval
    assert found is not None
    assert found.ends(0.95) == pytest.approx(tuple(theirs), abs=0.25)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.floats(0.05, 5), st.floats(-2, 2), st.integers(6, 300))
def test_zero_is_outside_exactly_where_p_is_below_the_level(
    seed: int, value: float, error: float, skew: float, samples: int
) -> None:
    draws = np.random.default_rng(seed).normal(size=400)
    plausible = Plausible(value, error, value - error * (draws + skew * (draws**2 - 1) / 4), samples, samples - 1)
    for level in (0.8, 0.95):
        low, high = plausible.ends(level)
        assert low <= value <= high
        assert (low > 0 or high < 0) == (plausible.p() < 1 - level - 1e-12)


def test_ends_by_hand() -> None:
    """Student's reach of four samples is 3.18 errors; one plausible truth lies farther off, on one side."""
    reach = 0.5 * float(t.ppf(0.975, 3))
    found = Plausible(10.0, 0.5, np.array([4.0] + [10.0] * 38 + [10.1]), samples=4, freedom=3)
    assert found.ends(0.95) == pytest.approx((4.0, 10 + reach))
    assert found.p() == 0.125  # four signs


def test_resamples_are_moved_by_their_bias() -> None:
    values = np.array([3.0, 5.0, 4.0, 8.0])
    found = moved(4.0, values, samples=9)
    assert found is not None
    assert found.truths.tolist() == [2.0, 4.0, 3.0, 7.0]
    assert found.error == pytest.approx(values.std(ddof=1))
    assert moved(4.0, np.array([3.0, np.nan]), samples=9) is None
    assert moved(4.0, values, samples=1) is None


def test_nothing_is_said_of_one_image_or_of_resamples_without_any_class() -> None:
    assert studentised(alone([[1]], [[2]])) is None
    assert studentised(alone([[1], [0]], [[2], [0]])) is None


def test_where_all_images_agree_only_the_value_is_plausible() -> None:
    found = studentised(alone([[1, 2], [2, 4], [3, 6]], [[3, 6], [6, 12], [9, 18]]), replicates=50)
    assert found is not None
    assert found.error == 0
    assert set(found.truths.tolist()) == {found.value}
    assert found.ends(0.95) == (found.value, found.value)


def test_one_seed_gives_one_answer_and_progress_reaches_its_end() -> None:
    score, seen = alone(*random_counts(20, 3, 1)), []
    one, two = (
        studentised(score, 200, seed=4, report=lambda done, total: seen.append((done, total))) for _ in range(2)
    )
    other = studentised(score, 200, seed=5)
    assert one is not None
    assert two is not None
    assert other is not None
    np.testing.assert_array_equal(one.truths, two.truths)
    assert not np.array_equal(one.truths, other.truths)
    assert seen == [(128, 200), (200, 200)] * 2
