"""How often intervals hold the truth, and tests find a difference where there is none: by simulation, seeds fixed.

A share of 95 % in 1,000 experiments has a standard error of 0.7 points: a right interval lies within 93 and 97 %, one
that is off by three points does not.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.sparse import csr_array, vstack

from benchmarks.comparison.inference import Difference, difference, holm
from benchmarks.comparison.scores import KINDS, Precision, Ratio, Score
from benchmarks.dense.average_precision import average_precision, bootstrap, mean_over_classes
from benchmarks.resampling import Combined, studentised
from benchmarks.statistics import Interval, bootstrap_mean_per_class, bootstrap_miou, bootstrap_ratio
from tests.comparison import runs

TRIALS = 1000
REPLICATES = 300

Ints = npt.NDArray[np.int64]


def covered(intervals: Iterable[tuple[Interval | None, float]]) -> float:
    """The share of intervals that hold their truth."""
    held = [found is not None and found.low <= truth <= found.high for found, truth in intervals]
    return float(np.mean(held))


def calibrated(share: float) -> bool:
    return 0.93 <= share <= 0.97


def drawn(population: int, count: int, trial: int) -> Ints:
    """The images of one experiment."""
    return np.random.default_rng([5, trial]).integers(0, population, count)


# ---- intervals of one run


@pytest.mark.slow
def test_mean_per_class() -> None:
    """37 classes of uneven size and difficulty: the bootstrap over samples holds the mean of the true shares."""
    sizes = np.linspace(4, 1, 37) / np.linspace(4, 1, 37).sum()
    shares = np.random.default_rng(0).beta(3, 2, 37)

    def one(trial: int) -> Interval | None:
        generator = np.random.default_rng([1, trial])
        present = generator.multinomial(1500, sizes)
        return bootstrap_mean_per_class(generator.binomial(present, shares), present, replicates=REPLICATES)

    assert calibrated(covered((one(trial), 100 * shares.mean()) for trial in range(TRIALS)))


@pytest.mark.slow
def test_recall_of_captions_of_one_image() -> None:
    """Five captions of an image succeed together more often than not."""
    generator = np.random.default_rng(0)
    easy = generator.beta(0.7, 1.0, 50_000)
    hits, trials = generator.binomial(5, easy), np.full(50_000, 5)
    truth = 100 * hits.sum() / trials.sum()
    chosen = [drawn(50_000, 400, trial) for trial in range(TRIALS)]
    found = (bootstrap_ratio(hits[rows], trials[rows], replicates=REPLICATES) for rows in chosen)
    assert calibrated(covered((interval, truth) for interval in found))


def pixels(images: int, classes: int) -> tuple[Ints, Ints]:
    """Classes of very different frequency, each in a share of the images only."""
    generator = np.random.default_rng(11)
    frequency = np.minimum(1, 6 * (1 / np.arange(1, classes + 1)) / (1 / np.arange(1, classes + 1)).sum())
    here = generator.random((images, classes)) < frequency
    union = np.where(here, generator.integers(100, 6000, (images, classes)), 0)
    share = generator.beta(3, 2, (images, classes)) * np.linspace(1, 0.4, classes)
    return (union * share).astype(np.int64), union


@pytest.mark.slow
def test_miou_with_rare_classes() -> None:
    """30 classes, the rarest in ten of the 200 images of an experiment."""
    intersection, union = pixels(40_000, 30)
    truth = float((100 * intersection.sum(0) / union.sum(0)).mean())
    chosen = [drawn(40_000, 200, trial) for trial in range(TRIALS // 2)]
    found = (bootstrap_miou(intersection[rows], union[rows], replicates=REPLICATES) for rows in chosen)
    assert calibrated(covered((interval, truth) for interval in found))


# ---- at the shape of ADE20K's validation set

SHAPE, POPULATION, FEWER = (2000, 150), 60_000, 150


def scenes(images: int) -> tuple[csr_array, csr_array, csr_array, csr_array]:
    """Intersections and unions of two models on images of 150 classes, of which the rarest are in ten of 2,000.

    Sizes of objects differ widely and larger ones are segmented better; some images are harder than others, for both
    models and all classes; classes are found where they are not. All of this makes rare classes hard to tell of.
    """
    frequency = 0.9 * np.arange(1, SHAPE[1] + 1) ** -1.037
    quality = np.linspace(1.5, -0.3, SHAPE[1]) + np.random.default_rng(0).normal(0, 0.7, SHAPE[1])
    parts: list[list[csr_array]] = [[] for _ in range(4)]
    for chunk in range(images // 6000):
        generator = np.random.default_rng([1, chunk])
        here = generator.random((6000, SHAPE[1])) < frequency
        false = generator.random((6000, SHAPE[1])) < 0.3 * frequency * (1 - here)
        hard = generator.normal(0, 0.6, 6000)
        rows, columns = np.nonzero(here | false)
        size, common = generator.normal(0, 1.1, len(rows)), generator.normal(0, 0.8, len(rows))
        labelled = here[rows, columns]
        area = 2000 * np.exp(size)
        for model in range(2):
            own = generator.normal(0.15 * model, 0.6, len(rows))
            share = 1 / (1 + np.exp(hard[rows] - quality[columns] - 0.3 * size - common - own))
            spill = generator.exponential(0.5, len(rows)) * (1 - share) * area
            missed = generator.random(len(rows)) < 0.7
            counts = np.where(labelled, share * area, 0), np.where(labelled, area + spill, 0.4 * area * missed)
            for part, values in zip(parts[2 * model : 2 * model + 2], counts, strict=True):
                part.append(csr_array((np.floor(values), (rows, columns)), shape=(6000, SHAPE[1])))
    first, second, third, fourth = (csr_array(vstack(part)) for part in parts)
    return first, second, third, fourth


@pytest.mark.slow
def test_miou_and_its_difference_at_the_shape_of_ade20k() -> None:
    """Of 150 experiments a right 95 % interval holds the truth in 90 to 99 % (but for one in a hundred tests).

    Percentiles of resamples held this mIoU in less than 60 %: that of 2,000 images is too low by nearly its standard
    error. It is meant to be that of all images, and that of other 2,000 is held all the same.
    (So few resamples make intervals a little wider than 2,000 do.)
    """
    counts = scenes(POPULATION)
    totals = [part.sum(axis=0) for part in counts]
    first, second = (float((100 * totals[i] / totals[i + 1]).mean()) for i in (0, 2))
    single, paired, values = [], [], []
    for trial in range(FEWER):
        rows = drawn(POPULATION, SHAPE[0], trial)
        sample = [part[rows] for part in counts]
        kinds = np.arange(SHAPE[0])
        sides = [Ratio(sample[i], sample[i + 1], kinds, kinds) for i in (0, 2)]
        alone = studentised(Combined(sides[:1], [1.0], np.ones_like(kinds)), replicates=120, seed=trial)
        assert alone is not None
        single.append(Interval(*alone.ends(0.95)))
        values.append(alone.value)
        paired.append(difference([sides[:1]], [sides[1:]], replicates=120, seed=trial))
    assert np.mean(values) < first - 0.3
    for truth in (first, float(np.mean(values))):
        assert 0.9 <= covered((one, truth) for one in single) <= 0.99
    assert 0.9 <= covered((one.interval, second - first) for one in paired) <= 0.99


def precision(quality: float, seed: int, pictures: int) -> Precision:
    found = KINDS["AP_box"].read(runs.detected(pictures, quality, seed))
    assert isinstance(found, Precision)
    return found


@pytest.mark.slow
def test_average_precision() -> None:
    """AP of 150 pictures is higher than that of all; what other 150 would give is what the interval is for."""
    population = precision(0.6, 1, 20_000)
    samples = [population.take(drawn(20_000, 150, trial)).matches for trial in range(600)]
    truth = float(np.mean([100 * mean_over_classes(average_precision(one)).mean() for one in samples]))
    found = (bootstrap(one, replicates=REPLICATES)["AP"] for one in samples)
    assert calibrated(covered((interval, truth) for interval in found))


# ---- differences on the same images


def answers(shares: tuple[float, float], images: int) -> tuple[Ints, Ints]:
    """Two checkpoints that are right on an image with probabilities that depend on it, for both alike."""
    generator = np.random.default_rng(3)
    easy = generator.normal(0, 0.25, images)
    first, second = (generator.random(images) < np.clip(share + easy, 0, 1) for share in shares)
    return first.astype(np.int64), second.astype(np.int64)


def summary(found: Iterable[tuple[Difference, float]]) -> tuple[float, float]:
    """Coverage of the interval, and the share of p-values below 5 %."""
    every = list(found)
    held = covered((one.interval, truth) for one, truth in every)
    return held, float(np.mean([one.p < 0.05 for one, _ in every]))


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["top1", "mean_per_class"])
def test_paired_accuracy(metric: str) -> None:
    right = answers((0.5, 0.55), 50_000)
    labels = np.random.default_rng(4).integers(0, 10, 50_000)

    def sides(rows: Ints) -> list[Score]:
        frames = (runs.classified(labels[rows], np.where(one[rows] > 0, labels[rows], 10)) for one in right)
        return [KINDS[metric].read(frame) for frame in frames]

    first, second = (float(one.values()[0]) for one in sides(np.arange(50_000)))
    chosen = (sides(drawn(50_000, 400, trial)) for trial in range(TRIALS))
    found = [difference([[one]], [[two]], replicates=REPLICATES) for one, two in chosen]
    held, _ = summary((one, second - first) for one in found)
    assert calibrated(held)


@pytest.mark.slow
@pytest.mark.parametrize("binary", [True, False])
def test_where_nothing_differs_one_p_value_in_twenty_is_below_5_percent(binary: bool) -> None:
    """Both stay somewhat below the level: of few answers that differ only few p-values can come."""
    right = answers((0.5, 0.5), 50_000)
    truth = 100 * float((right[1] - right[0]).mean())
    chosen = [drawn(50_000, 300, trial) for trial in range(2 * TRIALS)]
    scores = ([KINDS["top1"].read(runs.hits(one[rows])) for one in right] for rows in chosen)
    found = [difference([[one]], [[two]], binary=binary, replicates=REPLICATES) for one, two in scores]
    held, false = summary((one, truth) for one in found)
    assert calibrated(held)
    assert 0.015 <= false <= 0.065


@pytest.mark.slow
def test_paired_miou() -> None:
    """The second model is better where the first is good, and worse on rare classes."""
    intersection, union = pixels(20_000, 20)
    better = np.minimum(union, (intersection * np.linspace(1.1, 0.8, 20)).astype(np.int64))
    truth = float((100 * (better - intersection).sum(0) / union.sum(0)).mean())

    def one(trial: int) -> Interval | None:
        rows = drawn(20_000, 200, trial)
        parts = [csr_array(part[rows].astype(float)) for part in (union, intersection, better)]
        kinds = np.arange(200)
        first, second = (Ratio(hits, parts[0], kinds, kinds) for hits in parts[1:])
        return difference([[first]], [[second]], replicates=REPLICATES).interval

    assert calibrated(covered((one(trial), truth) for trial in range(TRIALS // 2)))


@pytest.mark.slow
def test_paired_average_precision() -> None:
    whole = [precision(quality, seed, 20_000) for quality, seed in ((0.5, 1), (0.6, 2))]
    chosen = [drawn(20_000, 150, trial) for trial in range(600)]
    sides = [[part.take(rows) for part in whole] for rows in chosen]
    for pair in sides:  # an image that was drawn twice is two samples
        pair[:] = [Precision(part.matches, None, part.truth, np.arange(150)) for part in pair]
    found = [difference([[one]], [[two]], replicates=REPLICATES) for one, two in sides]
    truth = float(np.mean([one.value for one in found]))
    assert calibrated(covered((one.interval, truth) for one in found))


def of_seeds(seeds: tuple[int, int], spread: float, trials: int) -> list[Difference]:
    """Trainings whose quality is drawn anew, on 200 images; the second side's mean is five points higher."""
    population = np.random.default_rng(6).beta(2, 2, 100_000)
    found = []
    for trial in range(trials):
        generator = np.random.default_rng([7, trial])
        easy = population[generator.integers(0, 100_000, 200)]
        sides: list[list[list[Score]]] = [[], []]
        for side, count, mean in zip(sides, seeds, (0.0, 0.05), strict=True):
            for quality in mean + generator.normal(0, spread, count):
                right = generator.random(200) < np.clip(0.2 + 0.5 * easy + quality, 0, 1)
                side.append([KINDS["top1"].read(runs.hits(right))])
        found.append(difference(*sides, replicates=150))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "spread"), [((2, 2), 0.03), ((3, 3), 0.03), ((3, 3), 0.0), ((1, 3), 0.03)])
def test_images_and_seeds(seeds: tuple[int, int], spread: float) -> None:
    """The interval must hold the mean difference of all trainings and images."""
    assert calibrated(covered((one.interval, 5.0) for one in of_seeds(seeds, spread, 500)))


def test_a_single_seed_says_nothing_of_other_seeds() -> None:
    """Why one seed is said to be one: over trainings that differ by five points its 95 % interval covers far less."""
    assert covered((one.interval, 5.0) for one in of_seeds((1, 1), 0.05, 300)) < 0.85


def test_holm_keeps_the_chance_of_any_false_difference() -> None:
    """13 sets without any difference: uncorrected half of the comparisons find one, corrected one in twenty."""
    p_values = np.random.default_rng(0).random((4000, 13))
    assert (p_values.min(axis=1) < 0.05).mean() > 0.4
    false = np.mean([min(holm(list(row))) < 0.05 for row in p_values])
    assert 0.04 <= false <= 0.06
