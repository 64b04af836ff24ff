"""What is shown of samples is what the samples say: worked through by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.report.blocks import Figure, Grid
from benchmarks.report.kinds import KINDS, Sampled, kind_of
from benchmarks.report.kinds.classification import CLASSIFICATION
from benchmarks.report.kinds.detection import DETECTION
from benchmarks.report.kinds.kind import Kind
from benchmarks.report.kinds.retrieval import RETRIEVAL
from benchmarks.report.kinds.segmentation import SEGMENTATION
from benchmarks.report.results import Run
from tests.example_record import make_record

SEGMENTED = pd.DataFrame(
    {
        "sample_id": ["good", "bad", "empty"],
        "classes": [np.array([0, 1]), np.array([0, 2]), np.array([], int)],
        "intersection": [np.array([50, 10]), np.array([0, 30]), np.array([], int)],
        "prediction": [np.array([50, 10]), np.array([90, 30]), np.array([], int)],
        "label": [np.array([50, 20]), np.array([0, 120]), np.array([], int)],
    }
)
DETECTED = pd.DataFrame(
    {
        "sample_id": ["a", "b", "none"],
        "classes": [np.array([0, 0, 1]), np.array([1]), np.array([], int)],
        "scores": [np.array([0.9, 0.8, 0.3]), np.array([0.7]), np.array([], float)],
        # bit 0 is an overlap of half: the second detection only hits from 0.55 on, which does not happen in truth
        "box_matched": [np.array([1, 2, 1]), np.array([1]), np.array([], int)],
        "box_ignored": [np.array([0, 0, 0]), np.array([1]), np.array([], int)],
        "mask_matched": [np.array([0, 0, 0]), np.array([0]), np.array([], int)],
        "mask_ignored": [np.array([0, 0, 0]), np.array([0]), np.array([], int)],
        "objects": [np.array([0, 0, 1, 1]), np.array([0]), np.array([], int)],
    }
)
CLASSIFIED = pd.DataFrame(
    {
        "sample_id": ["a", "b", "c", "d"],
        "label": [0, 0, 1, 1],
        "prediction": [0, 1, 0, 0],
        "correct": [True, False, False, False],
        "rank": [1, 2, 2, 2],
        "margin": np.array([0.5, 0.1, 0.3, 0.2], np.float32),
    }
)
RANKED = pd.DataFrame(
    {"sample_id": ["first", "last"], "i2t_rank": [1, 90], "t2i_ranks": [np.array([1, 1, 2]), np.array([7, 40, 300])]}
)


def sampled(samples: pd.DataFrame, per_class: dict[str, dict[str, float | None]] | None = None) -> Sampled:
    record = make_record(per_class=per_class or {})
    return Sampled(Run(record, Path("nowhere"), "mine", ""), samples, {"bad": "pictures.html#bad"})


def grid(kind: Kind, each: Sampled, title: str) -> list[list[object]]:
    blocks = [block for section in kind.sections([each]) for block in section.blocks]
    (found,) = (block for block in blocks if isinstance(block, Grid) and block.title == title)
    return [[cell.value for cell in row] for row in found.rows]


def figures(kind: Kind, each: Sampled) -> dict[str, Figure]:
    blocks = [block for section in kind.sections([each]) for block in section.blocks]
    return {block.title: block for block in blocks if isinstance(block, Figure)}


@pytest.mark.parametrize(
    ("samples", "kind"),
    [(SEGMENTED, SEGMENTATION), (DETECTED, DETECTION), (CLASSIFIED, CLASSIFICATION), (RANKED, RETRIEVAL)],
)
def test_a_kind_is_known_by_its_columns(samples: pd.DataFrame, kind: Kind) -> None:
    assert kind_of(samples.columns) is kind
    assert sum(each.columns <= set(samples.columns) for each in KINDS) == 1


def test_samples_without_anything_but_ids_have_no_kind() -> None:
    assert kind_of(["sample_id"]) is None


def test_the_iou_of_an_image_is_the_mean_over_its_classes() -> None:
    good, bad, empty = SEGMENTATION.score(SEGMENTED)
    assert good == pytest.approx(100 * (50 / 50 + 10 / 20) / 2)
    assert bad == pytest.approx(100 * (0 / 90 + 30 / 120) / 2)
    assert np.isnan(empty)


def test_the_worst_segmentations_come_first_and_lead_to_their_pictures() -> None:
    each = sampled(SEGMENTED, {"IoU": {"wall": 1.0, "sky": 2.0, "tree": 3.0}})
    assert grid(SEGMENTATION, each, "Images with the lowest mIoU") == [
        ["bad", "mine", pytest.approx(12.5), "tree"],
        ["good", "mine", pytest.approx(75.0), "sky"],
    ]
    assert each.sample("bad").href == "pictures.html#bad" and each.sample("good").href is None


def test_classes_that_are_predicted_too_often_are_told() -> None:
    each = sampled(SEGMENTED, {"IoU": {"wall": 1.0, "sky": 2.0, "tree": 3.0}})
    rows = grid(SEGMENTATION, each, "Classes predicted too often or too rarely")
    # 190 labelled pixels; of tree 120 are labelled and 30 predicted
    assert ["tree", "mine", *(pytest.approx(100 * n / 190) for n in (120, 30, 30, -90))] in rows


def test_found_is_what_any_detection_overlaps_by_half() -> None:
    first, second, none = DETECTION.score(DETECTED)
    assert first == pytest.approx(50.0)
    assert second == 0, "what matches a crowd is not counted"
    assert np.isnan(none), "a picture without objects has no share"


def test_false_detections_are_listed_by_falling_score() -> None:
    each = sampled(DETECTED, {"AP_box": {"person": 1.0, "bicycle": 2.0}})
    assert grid(DETECTION, each, "Surest detections of what is not there") == [["a", "mine", "person", 0.8]]
    assert grid(DETECTION, each, "Pictures in which least was found")[0] == ["b", "mine", 0.0, 1]


def test_scores_of_detections_are_counted_apart() -> None:
    _, rows = figures(DETECTION, sampled(DETECTED))["Detections by their score"].values
    counts = {part: sum(int(row[4] or 0) for row in rows if row[1] == part) for part in ("right", "wrong")}
    assert counts == {"right": 2, "wrong": 1}, "the ignored one is neither"


def test_confusions_are_counted_and_shared_out() -> None:
    each = sampled(CLASSIFIED, {"accuracy": {"cat": 50.0, "dog": 0.0}})
    assert grid(CLASSIFICATION, each, "Most frequent confusions") == [
        ["dog", "cat", "mine", 2, 100.0],
        ["cat", "dog", "mine", 1, 50.0],
    ]
    _, rows = figures(CLASSIFICATION, each)["Confusion matrices"].values
    assert list(rows) == [
        ["mine", "cat", "cat", 1],
        ["mine", "cat", "dog", 1],
        ["mine", "dog", "cat", 2],
        ["mine", "dog", "dog", 0],
    ]


def test_many_classes_have_a_list_and_no_matrix() -> None:
    classes = 1000
    label = np.arange(classes)
    samples = pd.DataFrame({"sample_id": label.astype(str), "label": label, "prediction": (label + 1) % classes})
    samples = samples.assign(correct=False, rank=2, margin=np.linspace(0.01, 0.2, classes))
    each = sampled(samples, {"accuracy": {f"class {number}": 0.0 for number in range(classes)}})
    assert "Confusion matrices" not in figures(CLASSIFICATION, each)
    assert len(grid(CLASSIFICATION, each, "Most frequent confusions")) == 30


def test_what_was_sure_and_wrong_comes_first() -> None:
    each = sampled(CLASSIFIED, {"accuracy": {"cat": 50.0, "dog": 0.0}})
    rows = grid(CLASSIFICATION, each, "Wrong, and sure of it")
    assert [row[0] for row in rows] == ["c", "d", "b"]
    assert rows[0] == ["c", "mine", "dog", "cat", pytest.approx(0.3), 2]


def test_ranks_are_shared_out_at_the_bounds_of_recall() -> None:
    found = figures(RETRIEVAL, sampled(RANKED))
    _, by_image = found["Pictures by the place of their first own caption"].values
    assert {row[1]: row[2] for row in by_image if row[2]} == {"1": 50.0, "51–100": 50.0}
    _, by_text = found["Captions by the place of their picture"].values
    shares = {row[1]: row[2] for row in by_text}
    assert shares == {"1": 33.33, "2–5": 16.67, "6–10": 16.67, "11–50": 16.67, "51–100": 0.0, "101+": 16.67}


def test_retrieval_shows_the_best_and_the_worst_queries() -> None:
    each = sampled(RANKED)
    assert grid(RETRIEVAL, each, "Pictures found last")[0] == ["last", "mine", 90, 7, 300, "7, 40, 300"]
    assert grid(RETRIEVAL, each, "Pictures found first")[0] == ["first", "mine", 1, 1, 2, "1, 1, 2"]
