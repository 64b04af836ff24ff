"""Average precision from cached matches: pycocotools' own numbers, and the bootstrap that counting anew would give."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from benchmarks.dense.average_precision import (
    IOUS,
    RECALLS,
    Matches,
    _recalls_reached,
    average_precision,
    bootstrap,
    matches_of,
    mean_over_classes,
    pack,
    samples_table,
    unpack,
)

CLASSES = 3


def random_matches(seed: int, pictures: int = 5, most: int = 6, ties: bool = False) -> Matches:
    """Plausible matches: no class has more hits in a picture than objects, and stricter overlaps have fewer."""
    rng = np.random.default_rng(seed)
    objects = rng.integers(0, 4, (pictures, CLASSES))
    parts = []
    for number in range(pictures):
        for label in range(CLASSES):
            count = int(rng.integers(0, most))
            scores = np.sort(rng.integers(0, 4, count) / 4 if ties else rng.random(count))[::-1]
            matched = np.zeros((count, len(IOUS)), bool)
            for row in rng.permutation(count)[: objects[number, label]]:
                matched[row, : rng.integers(0, len(IOUS) + 1)] = True
            parts.append((np.full(count, number), np.full(count, label), scores, matched))
    picture, category, score, matched = (np.concatenate(column) for column in zip(*parts, strict=True))
    ignored = (rng.random(matched.shape) < 0.1) & ~matched
    return Matches(picture, category, score, matched, ignored, objects)


def plainly(matches: Matches, drawn: list[int]) -> Any:
    """(T, C) as COCO's accumulation defines it, picture by picture as they were drawn, without any vectorising."""
    values = np.full((len(IOUS), CLASSES), np.nan)
    for category in range(CLASSES):
        total = sum(int(matches.objects[picture, category]) for picture in drawn)
        if not total:
            continue
        rows = [row for p in drawn for row in np.flatnonzero((matches.picture == p) & (matches.category == category))]
        rows = sorted(rows, key=lambda row: -matches.score[row])
        for overlap in range(len(IOUS)):
            hits, misses, points = 0, 0, []
            for row in rows:
                if not matches.ignored[row, overlap]:
                    hits += bool(matches.matched[row, overlap])
                    misses += not matches.matched[row, overlap]
                points.append((hits / total, hits / (hits + misses + np.spacing(1))))
            best = [max((p for recall, p in points if recall >= wanted), default=0.0) for wanted in RECALLS]
            values[overlap, category] = np.mean(best)
    return values


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_each_picture_once_is_the_plain_definition(seed: int, ties: bool) -> None:
    matches = random_matches(seed, ties=ties)
    np.testing.assert_allclose(average_precision(matches)[0], plainly(matches, list(range(5))), atol=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_weights_are_pictures_drawn_several_times(seed: int, drawn: list[int]) -> None:
    """A resample counted by weights equals the same pictures really put together."""
    matches = random_matches(seed)
    weights = np.bincount(drawn, minlength=5)[None]
    np.testing.assert_allclose(average_precision(matches, weights)[0], plainly(matches, sorted(drawn)), atol=1e-12)


def test_interval_is_the_quantiles_of_plain_resamples_moved_to_the_value_or_students() -> None:
    matches = random_matches(7, pictures=6)
    weights = np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), size=40)
    series = []
    for row in weights:
        drawn = np.repeat(np.arange(6), row).tolist()
        series.append(100 * np.nanmean(plainly(matches, drawn), axis=1))
    found = bootstrap(matches, replicates=40, seed=3)
    once = 100 * np.nanmean(plainly(matches, list(range(6))), axis=1)
    for name, values, value in (
        ("AP", np.mean(series, axis=1), once.mean()),
        ("AP50", np.array(series)[:, 0], once[0]),
        ("AP75", np.array(series)[:, 5], once[5]),
    ):
        ordered = np.sort(values) + value - np.mean(values)
        reach = np.std(values, ddof=1) * t.ppf(0.975, 5)
        wider = min(ordered[0], value - reach), max(ordered[-1], value + reach)  # 2.5 % of 40 is one
        assert found[name] == pytest.approx(np.clip(wider, 0, 100), abs=1e-9)


def test_many_pieces_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is cut into pieces of bounded memory."""
    matches = random_matches(1)
    weights = np.random.default_rng(0).multinomial(5, np.full(5, 0.2), size=30)
    whole = average_precision(matches, weights)
    monkeypatch.setattr("benchmarks.dense.average_precision._CELLS", 300)
    np.testing.assert_array_equal(average_precision(matches, weights), whole)


def test_by_hand() -> None:
    """Two objects; detections hit, miss, hit: precision 1 up to recall .5, then 2/3: (51·1 + 50·2/3) / 101."""
    everywhere = np.ones(len(IOUS), bool)
    matches = Matches(
        picture=np.array([0, 0, 1]),
        category=np.array([1, 1, 1]),
        score=np.array([0.9, 0.8, 0.7]),
        matched=np.stack([everywhere, ~everywhere, everywhere]),
        ignored=np.zeros((3, len(IOUS)), bool),
        objects=np.array([[0, 1, 0], [0, 1, 0]]),
    )
    values = average_precision(matches)[0]
    assert values[:, 1] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert np.isnan(values[:, [0, 2]]).all()
    assert mean_over_classes(values)[0] == values[0, 1]


def test_nothing_detected_is_zero_and_no_objects_is_nothing() -> None:
    nothing = np.empty((0, len(IOUS)), bool)
    empty = Matches(np.empty(0, int), np.empty(0, int), np.empty(0), nothing, nothing, np.array([[1, 0, 0], [0, 2, 0]]))
    values = average_precision(empty)[0]
    assert (values[:, :2] == 0).all()
    assert np.isnan(values[:, 2]).all()
    assert bootstrap(empty)["AP"] == (0.0, 0.0)
    one = Matches(np.empty(0, int), np.empty(0, int), np.empty(0), nothing, nothing, np.array([[1, 0, 0]]))
    assert bootstrap(one) == {}, "one picture has no spread"


def test_samples_keep_the_matches() -> None:
    """What a record stores is enough to count again; pictures without detections or objects included."""
    boxes = random_matches(3, most=4)
    masks = Matches(boxes.picture, boxes.category, boxes.score, boxes.ignored, boxes.matched, boxes.objects)
    table = samples_table([f"{number:012d}" for number in range(5)], boxes, masks)
    for kind, matches in (("box", boxes), ("mask", masks)):
        again = matches_of(table, kind, CLASSES)
        for name in ("picture", "category", "score", "matched", "ignored", "objects"):
            np.testing.assert_array_equal(getattr(again, name), getattr(matches, name), err_msg=name)
        np.testing.assert_array_equal(average_precision(again), average_precision(matches))


@given(st.lists(st.lists(st.booleans(), min_size=10, max_size=10), max_size=5))
def test_packing_loses_nothing(rows: list[list[bool]]) -> None:
    flags = np.array(rows, bool).reshape(-1, 10)
    np.testing.assert_array_equal(unpack(pack(flags)), flags)


def test_recalls_are_compared_as_pycocotools_does() -> None:
    """Shares k / n of up to 300 objects: one rounding error puts a precision to the wrong recall."""
    for objects in (1, 3, 7, 10, 29, 49, 100, 113, 300):
        hits = np.arange(objects + 1, dtype=np.int32)[None]
        expected = np.searchsorted(RECALLS, hits[0] / objects, side="right")
        assert _recalls_reached(hits, np.array([objects]))[0].tolist() == expected.tolist()
