"""Metrics out of samples: equal to their definitions, for any weighting, never out of others' samples."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.comparison.scores import KINDS, read_score, require_same_truth, same_samples
from benchmarks.errors import RecordError
from benchmarks.statistics import mean_per_class, miou
from tests.comparison import runs

ONE_OF_EACH: dict[str, tuple[str, pd.DataFrame]] = {
    "top1": ("zeroshot/dtd", runs.random_classified(40, 5, 0.6, 1)),
    "top5": ("zeroshot/dtd", runs.random_classified(40, 5, 0.6, 1)),
    "mean_per_class": ("zeroshot/pets", runs.random_classified(40, 5, 0.6, 1)),
    "i2t_r1": ("flickr30k-retrieval", runs.retrieved([1, 3, 1, 9], [[1, 2], [4], [1, 1, 8], [2, 1]])),
    "t2i_r1": ("flickr30k-retrieval", runs.retrieved([1, 3, 1, 9], [[1, 2], [4], [1, 1, 8], [2, 1]])),
    "mIoU": ("ade20k-upernet", runs.random_segmented(12, 4, 0.6, 1)),
    "AP_box": ("coco-cascade", runs.detected(30, 0.7, 1)),
    "AP50_mask": ("coco-cascade", runs.detected(30, 0.7, 1)),
}


def test_values_by_hand() -> None:
    frame = runs.classified([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0])
    assert KINDS["top1"].read(frame).values().tolist() == pytest.approx([100 * 4 / 6])
    assert KINDS["mean_per_class"].read(frame).values().tolist() == pytest.approx([(75 + 50) / 2])
    assert KINDS["top5"].read(frame).values().tolist() == [100]
    frame = ONE_OF_EACH["t2i_r1"][1]
    found = {name: float(KINDS[name].read(frame).values()[0]) for name in ("i2t_r1", "i2t_r5", "t2i_r1", "t2i_r5")}
    assert found == pytest.approx({"i2t_r1": 50, "i2t_r5": 75, "t2i_r1": 50, "t2i_r5": 87.5})


def test_segmentation_is_the_suites_own_miou() -> None:
    generator = np.random.default_rng(0)
    label = generator.integers(0, 20, (9, 5))
    label[:, 4] = 0
    intersection = generator.binomial(label, 0.5)
    prediction = intersection + generator.integers(0, 9, label.shape) * np.array([1, 1, 1, 1, 0])
    score = KINDS["mIoU"].read(runs.segmented(intersection, prediction, label))
    assert score.values()[0] == pytest.approx(miou(intersection, prediction + label - intersection))


def test_mean_per_class_is_the_suites_own() -> None:
    frame = ONE_OF_EACH["mean_per_class"][1]
    right = np.bincount(frame["label"][frame["correct"]], minlength=5)
    expected = mean_per_class(right, np.bincount(frame["label"], minlength=5))
    assert KINDS["mean_per_class"].read(frame).values()[0] == pytest.approx(expected)


@pytest.mark.parametrize("metric", ONE_OF_EACH)
@given(seed=st.integers(0, 1000))
def test_a_weight_is_a_repetition(metric: str, seed: int) -> None:
    """The value for weights is that of the samples written down as often: the definition of a bootstrap."""
    frame = ONE_OF_EACH[metric][1]
    score = KINDS[metric].read(frame)
    weights = np.random.default_rng(seed).integers(0, 3, len(frame))
    weights[:2] += 1
    repeated = frame.loc[np.repeat(frame.index, weights)].reset_index(drop=True)
    expected = KINDS[metric].read(repeated).values()
    np.testing.assert_allclose(score.values(weights[None]), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("metric", ONE_OF_EACH)
def test_samples_of_one_kind_can_stand_for_each_other(metric: str) -> None:
    score = KINDS[metric].read(ONE_OF_EACH[metric][1])
    _, rows, sizes = np.unique(score.kinds, return_index=True, return_counts=True)
    kept = score.take(rows.astype(np.int64))
    np.testing.assert_allclose(kept.values(sizes[None]), score.values(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("metric", ONE_OF_EACH)
def test_the_order_of_samples_does_not_matter(metric: str) -> None:
    frame = ONE_OF_EACH[metric][1]
    score = KINDS[metric].read(frame)
    order = np.random.default_rng(0).permutation(len(frame))
    shuffled = KINDS[metric].read(frame.iloc[order].reset_index(drop=True))
    back = shuffled.take(np.argsort(order))
    assert (back.truth == score.truth).all()
    np.testing.assert_allclose(back.values(), score.values(), rtol=0, atol=1e-9)


# ---- what is refused


@pytest.mark.parametrize("metric", ONE_OF_EACH)
def test_a_record_whose_samples_give_another_value_is_refused(metric: str) -> None:
    benchmark, frame = ONE_OF_EACH[metric]
    record = runs.fitting(benchmark, frame)
    read_score(record, metric, frame)
    value = record.metrics[metric].model_copy(update={"value": record.metrics[metric].value / 2 + 1})
    false = record.model_copy(update={"metrics": {**record.metrics, metric: value}})
    with pytest.raises(RecordError, match=f"its samples give {metric} .*, its record says"):
        read_score(false, metric, frame)


@pytest.mark.parametrize(
    ("metric", "change"),
    [
        ("top1", {"label": -1}),
        ("top1", {"label": "cat"}),
        ("mean_per_class", {"label": 1 << 20}),
        ("mean_per_class", {"label": 0.5}),
        ("top1", {"prediction": None}),
        ("i2t_r1", {"t2i_ranks": 7}),
        ("i2t_r1", {"i2t_rank": "first"}),
        ("t2i_r1", {"t2i_ranks": "none"}),
        ("mIoU", {"classes": [[-3]] * 12}),
        ("mIoU", {"label": [[1]] * 12}),
        ("mIoU", {"classes": [[10**6] * 4] * 12}),
        ("mIoU", {"intersection": None}),
        ("AP_box", {"scores": [[float("nan")]] * 30}),
        ("AP_box", {"classes": [[10**6]] * 30}),
        ("AP_box", {"box_matched": 3}),
        ("AP_box", {"objects": "chair"}),
    ],
    ids=str,
)
def test_samples_that_are_not_the_metrics_are_one_line(metric: str, change: dict[str, Any]) -> None:
    benchmark, frame = ONE_OF_EACH[metric]
    record = runs.fitting(benchmark, frame)
    for damaged in (frame.assign(**change), frame.drop(columns=list(change))):
        with pytest.raises(RecordError, match=f"{record.run_id}: its samples ") as caught:
            read_score(record, metric, damaged)
        assert "\n" not in str(caught.value)


def test_other_samples_cannot_be_paired_and_the_line_says_how_many() -> None:
    one = runs.hits([1, 0, 1, 1])
    assert [place.tolist() for place in same_samples(["a", "b"], [one, one.iloc[::-1]])] == [[0, 1, 2, 3], [3, 2, 1, 0]]
    other = one.assign(sample_id=["image_00000", "x", "y", "image_00003"])
    with pytest.raises(RecordError, match=r"a and b hold different samples: 2 only in the first, 2 only in the second"):
        same_samples(["a", "b"], [one, other])
    with pytest.raises(RecordError, match="1 only in the first, 0 only"):
        same_samples(["a", "b"], [one, one.iloc[:3]])


@pytest.mark.parametrize("metric", ["top1", "t2i_r1", "mIoU", "AP_box"])
def test_other_labels_under_the_same_names_cannot_be_paired(metric: str) -> None:
    changed = {
        "top1": runs.classified([0] * 40, [0] * 40),
        "t2i_r1": runs.retrieved([1, 1, 1, 1], [[1], [1], [1], [1]]),
        "mIoU": runs.segmented(*(np.ones((12, 4), int) for _ in range(3))),
        "AP_box": runs.detected(30, 0.7, 1).assign(objects=pd.Series([[0]] * 30)),
    }
    scores = [KINDS[metric].read(frame) for frame in (ONE_OF_EACH[metric][1], changed[metric])]
    with pytest.raises(RecordError, match=r"scored against different labels in \d+ samples"):
        require_same_truth(["a", "b"], scores)
    require_same_truth(["a", "b"], [scores[0], KINDS[metric].read(ONE_OF_EACH[metric][1])])
