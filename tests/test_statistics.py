"""mIoU and its interval: against numbers worked out by hand, and what must not change it.

The rule of the interval is tested in test_resampling.py, and in comparison/test_calibration.py how often it holds.
"""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.statistics import Interval, bootstrap_miou, miou, per_class_iou

Ints = npt.NDArray[np.int64]


@st.composite
def counts(draw: st.DrawFn, least: int = 1) -> tuple[Ints, Ints]:
    """Per-image counts of up to 6 images and 4 classes, with at least one labelled pixel."""
    shape = draw(st.tuples(st.integers(least, 6), st.integers(1, 4)))
    union = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 50)))
    share = draw(hnp.arrays(np.float64, shape, elements=st.floats(0, 1)))
    union[0, 0] = max(union[0, 0], 1)
    return (union * share).astype(np.int64), union


def brute_force_miou(intersection: Ints, union: Ints) -> float:
    """The definition in plain Python: sum each class's pixels, divide, average the classes that occur."""
    ious = []
    for c in range(union.shape[1]):
        pixels = sum(int(row[c]) for row in union)
        if pixels > 0:
            ious.append(100 * sum(int(row[c]) for row in intersection) / pixels)
    return sum(ious) / len(ious)


def test_a_case_worked_out_by_hand() -> None:
    """Class 0: (3+1)/(4+4) = 50 %; class 1: 2/8 = 25 %; class 2 never occurs and does not count."""
    intersection = np.array([[3, 0, 0], [1, 2, 0]])
    union = np.array([[4, 2, 0], [4, 6, 0]])
    assert per_class_iou(intersection, union)[:2].tolist() == [50.0, 25.0]
    assert np.isnan(per_class_iou(intersection, union)[2])
    assert miou(intersection, union) == 37.5


def test_a_class_that_is_only_predicted_counts_as_zero() -> None:
    """Without labels but with wrong predictions a class has an IoU of 0, which pulls the mean down."""
    assert miou(np.array([[8, 0]]), np.array([[8, 1]])) == 50.0


@settings(deadline=None)
@given(counts())
def test_miou_equals_the_definition(arrays: tuple[Ints, Ints]) -> None:
    assert miou(*arrays) == pytest.approx(brute_force_miou(*arrays), abs=1e-9)


@settings(deadline=None)
@given(counts(), st.integers(0, 2**32 - 1))
def test_miou_does_not_depend_on_the_order_of_the_images(arrays: tuple[Ints, Ints], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(arrays[0]))
    assert miou(arrays[0][order], arrays[1][order]) == pytest.approx(miou(*arrays), abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(counts(least=2))
def test_the_interval_lies_within_what_resampling_can_reach(arrays: tuple[Ints, Ints]) -> None:
    """A resample's mIoU is a percentage; the ends are ordered; one seed gives one interval."""
    interval = bootstrap_miou(*arrays, replicates=50)
    assert interval == bootstrap_miou(*arrays, replicates=50)
    if interval is not None:
        assert 0 <= interval.low <= interval.high <= 100


def test_two_images_can_be_checked_exactly() -> None:
    """With images of 0 % and 100 % the resamples are 0, 50 or 100 %: the 95 % interval is the whole range."""
    interval = bootstrap_miou(np.array([[0], [10]]), np.array([[10], [10]]))
    assert interval == Interval(0.0, 100.0)


def test_a_perfect_score_has_an_interval_of_one_point() -> None:
    """Where all images say the same, resamples do too: nothing can be told of images that would say otherwise."""
    union = np.arange(1, 13).reshape(4, 3)
    assert bootstrap_miou(union, union) == pytest.approx((100, 100), abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(counts(least=2), st.integers(0, 2**32 - 1), st.integers(2, 1000))
def test_names_of_classes_and_the_size_of_pixels_do_not_matter(
    arrays: tuple[Ints, Ints], seed: int, factor: int
) -> None:
    """Classes in another order, one that never occurs, or four pixels for one: the same interval."""
    plain = bootstrap_miou(*arrays, replicates=60)
    order = np.random.default_rng(seed).permutation(arrays[0].shape[1])
    nowhere = np.zeros((len(arrays[0]), 1), np.int64)
    for intersection, union in (
        [part[:, order] for part in arrays],
        [np.concatenate([nowhere, part], axis=1) for part in arrays],
        [factor * part for part in arrays],
    ):
        found = bootstrap_miou(intersection, union, replicates=60)
        assert (found is None) == (plain is None)
        if found and plain:
            assert found == pytest.approx(plain, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(counts(least=2))
def test_the_value_lies_in_its_interval(arrays: tuple[Ints, Ints]) -> None:
    interval = bootstrap_miou(*arrays, replicates=60)
    if interval:
        assert interval.low - 1e-9 <= miou(*arrays) <= interval.high + 1e-9


def test_the_order_of_images_is_chance_and_nothing_else() -> None:
    generator = np.random.default_rng(5)
    union = generator.integers(0, 40, (200, 8))
    intersection = (union * generator.random(union.shape)).astype(np.int64)
    order = generator.permutation(200)
    there, back = (bootstrap_miou(intersection[rows], union[rows]) for rows in (np.arange(200), order))
    assert there == pytest.approx(back, abs=0.3)


def test_each_image_four_times_halves_the_interval() -> None:
    generator = np.random.default_rng(6)
    union = generator.integers(1, 40, (200, 3))
    intersection = (union * generator.random(union.shape)).astype(np.int64)
    once, often = (bootstrap_miou(np.tile(intersection, (k, 1)), np.tile(union, (k, 1))) for k in (1, 4))
    assert once is not None
    assert often is not None
    assert (often.high - often.low) == pytest.approx((once.high - once.low) / 2, rel=0.08)


def test_a_lower_level_gives_a_narrower_interval() -> None:
    generator = np.random.default_rng(0)
    union = generator.integers(1, 40, (30, 4))
    intersection = (union * generator.random(union.shape)).astype(np.int64)
    wide, narrow = (bootstrap_miou(intersection, union, level=level) for level in (0.95, 0.5))
    assert wide is not None
    assert narrow is not None
    assert wide.low < narrow.low < narrow.high < wide.high


def test_no_interval_where_there_is_none() -> None:
    """One image cannot be resampled; an image without any labelled pixel can make an empty resample."""
    assert bootstrap_miou(np.array([[1, 2]]), np.array([[2, 2]])) is None
    assert bootstrap_miou(np.array([[1], [0]]), np.array([[2], [0]])) is None


@pytest.mark.parametrize(
    ("intersection", "union"),
    [
        (np.zeros((2, 3), int), np.zeros((2, 4), int)),
        (np.zeros(3, int), np.zeros(3, int)),
        (np.array([[3]]), np.array([[2]])),
        (np.array([[-1]]), np.array([[2]])),
    ],
)
def test_impossible_counts_are_refused(intersection: Ints, union: Ints) -> None:
    for function in (per_class_iou, miou, bootstrap_miou):
        with pytest.raises(ValueError, match="counts must"):
            function(intersection, union)


def test_nothing_to_average_is_an_error_not_a_nan() -> None:
    with pytest.raises(ValueError, match="no class occurs"):
        miou(np.zeros((3, 2), int), np.zeros((3, 2), int))


def test_the_full_validation_set_takes_bounded_time_and_pixels_do_not_overflow() -> None:
    """2,000 images of 150 classes with counts beyond 32 bits: an int32 sum would go negative."""
    generator = np.random.default_rng(0)
    union = generator.integers(2**30, 2**31, (2000, 150))
    intersection = union // 2
    assert miou(intersection, union) == pytest.approx(50, abs=1e-6)
    interval = bootstrap_miou(intersection, union, replicates=200)
    assert interval == pytest.approx((50, 50), abs=1e-6)
