"""Detections scored: pycocotools' own numbers, and sense where there are crowds, no objects or no detections."""

import contextlib
import copy
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.data import coco
from benchmarks.dense.average_precision import average_precision, mean_over_classes
from benchmarks.dense.coco_metric import CocoDetections, Found, Kind, encode, score, write_detections
from tests.dense.coco_world import annotation, instances, picture, some_instances

KINDS: tuple[Kind, ...] = ("box", "mask")
CLASS = {number: label for label, number in enumerate(coco.CATEGORIES)}


def bitmap(item: Any, height: int, width: int) -> np.ndarray:
    """The mask of an annotation, by pycocotools."""
    code = item["segmentation"]
    if isinstance(code, list):
        code = codec.merge(codec.frPyObjects(code, height, width))
    elif isinstance(code["counts"], list):
        code = codec.frPyObjects(code, height, width)
    mask: np.ndarray = codec.decode(code)
    return mask


def as_predicted(truth: coco.Instances) -> list[dict[str, Any]]:
    """The truth, crowds left out, in the form in which the model hands its detections over."""
    samples = []
    for image in truth["images"]:
        its = [item for item in truth["annotations"] if item["image_id"] == image["id"] and not item.get("iscrowd", 0)]
        boxes = torch.tensor([item["bbox"] for item in its], dtype=torch.float32).reshape(-1, 4)
        masks = np.zeros((len(its), image["height"], image["width"]), bool)
        for number, item in enumerate(its):
            masks[number] = bitmap(item, image["height"], image["width"])
        predicted = {
            "bboxes": torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1),
            "scores": torch.linspace(1, 0.5, len(its)),
            "labels": torch.tensor([CLASS[item["category_id"]] for item in its], dtype=torch.long),
            "masks": torch.from_numpy(masks),
        }
        samples.append({"img_id": image["id"], "pred_instances": predicted})
    return samples


def through_metric(samples: Sequence[dict[str, Any]]) -> list[Found]:
    """The way that detections take in a run."""
    metric = CocoDetections()
    for sample in samples:
        metric.process(None, [sample])
    metric.evaluate(len(samples))
    return metric.found


def directly(truth: coco.Instances, found: Sequence[Found], kind: Kind) -> Any:
    """pycocotools called as its own demonstration does: the 12 numbers."""
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = copy.deepcopy(dict(truth))
        data.createIndex()
        drop = {"box": "segmentation", "mask": "bbox"}[kind]
        entries = [
            {key: value for key, value in entry.items() if key != drop} for one in found for entry in one.entries()
        ]
        judged = COCOeval(data, data.loadRes(entries), {"box": "bbox", "mask": "segm"}[kind])
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return judged.stats


def disturbed(found: Sequence[Found], seed: int = 0) -> list[Found]:
    """Detections with moved boxes, shifted masks, some wrong classes and random scores."""
    rng = np.random.default_rng(seed)
    changed = []
    for one in found:
        count = len(one.labels)
        labels = np.where(rng.random(count) < 0.2, rng.integers(0, 80, count), one.labels)
        masks = [np.roll(codec.decode(mask), rng.integers(-4, 5), axis=1) for mask in one.masks]
        codes = encode(np.stack(masks)) if masks else []
        boxes = one.boxes + rng.normal(0, 3, one.boxes.shape)
        changed.append(Found(one.image_id, boxes, rng.random(count), labels, codes))
    return changed


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_scores_one(kind: Kind) -> None:
    """Crowds are not detected and cost nothing; a picture without objects does neither good nor harm."""
    judged = score(some_instances(), through_metric(as_predicted(some_instances())), kind)
    for overlap in (None, 0.5, 0.75):
        assert judged.average(overlap) == pytest.approx(100, abs=1e-9)
    values = judged.per_class()
    assert {name for name, value in values.items() if value is not None} == {"person", "dog"}


@pytest.mark.real_data
@pytest.mark.parametrize("kind", KINDS)
def test_the_real_truth_scores_one(kind: Kind, real_data: Path) -> None:
    truth = coco.read_instances(coco.annotation_path(real_data, "val2017"))
    judged = score(truth, through_metric(as_predicted(truth)), kind)
    assert judged.average() == pytest.approx(100, abs=1e-6)
    for area in ("small", "medium", "large"):
        assert judged.average(area=area) == pytest.approx(100, abs=1e-6)


@pytest.mark.real_data
@pytest.mark.parametrize("kind", KINDS)
def test_real_scores_are_those_of_pycocotools(kind: Kind, real_data: Path) -> None:
    """On imperfect detections, crowds among the truth; counting cached matches anew gives the same."""
    truth = coco.read_instances(coco.annotation_path(real_data, "val2017"))
    found = disturbed(through_metric(as_predicted(truth)))
    judged, stats = score(truth, found, kind), directly(truth, found, kind)
    ours = [judged.average(), judged.average(0.5), judged.average(0.75)]
    ours += [judged.average(area=area) for area in ("small", "medium", "large")]
    assert 5 < stats[0] * 100 < 90, "a test on detections that are neither perfect nor all wrong"
    assert ours == pytest.approx(100 * stats[:6], abs=1e-9)
    values = 100 * mean_over_classes(average_precision(judged.matches))[0]
    assert [values.mean(), values[0], values[5]] == pytest.approx(ours[:3], abs=1e-9)
    per_class = [value for value in judged.per_class().values() if value is not None]
    assert np.mean(per_class) == pytest.approx(ours[0], abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_detected_is_zero(kind: Kind) -> None:
    samples = as_predicted(some_instances())
    for sample in samples:
        predicted = sample["pred_instances"]
        sample["pred_instances"] = {name: value[:0] for name, value in predicted.items()}
    judged = score(some_instances(), through_metric(samples), kind)
    assert judged.average() == judged.average(0.5) == 0.0
    assert len(judged.matches.score) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_object_of_an_area_is_nothing_not_zero(kind: Kind) -> None:
    """The hand-made objects are small and medium: there is no AP of large ones."""
    judged = score(some_instances(), through_metric(as_predicted(some_instances())), kind)
    assert judged.average(area="large") is None
    assert judged.average(area="small") == pytest.approx(100, abs=1e-9)


def test_detections_inside_a_crowd_are_neither_right_nor_wrong() -> None:
    """Many persons found in a crowd of persons leave AP as it is; outside of it they are mistakes."""
    truth = instances([picture(1)], [annotation(1, 1, 1, (0, 0, 16, 40)), annotation(2, 1, 1, (24, 0, 40, 48), True)])
    person, codes = np.zeros(5, int), encode(np.zeros((5, 48, 64), bool))
    scores = np.array([0.5, 0.9, 0.9, 0.9, 0.9])
    in_crowd = np.array([[0, 0, 16, 40], *[[26 + 4 * i, 2, 8, 20] for i in range(4)]], float)
    beside = np.array([[0, 0, 16, 40], *[[0, 30 + i, 16, 10] for i in range(4)]], float)
    values = [score(truth, [Found(1, boxes, scores, person, codes)], "box").average() for boxes in (in_crowd, beside)]
    assert values == pytest.approx([100, 20])


def test_a_mask_is_judged_by_its_own_area() -> None:
    """With the box beside it pycocotools would take the box's area for the mask's."""
    truth = instances([picture(1)], [annotation(1, 1, 1, (0, 0, 30, 30))])
    mask = np.zeros((1, 48, 64), bool)
    mask[0, 40:44, 40:44] = True  # a mistake of 16 pixels in a box of 1600: small, but for its box
    codes = [*encode(mask), *encode(bitmap(truth["annotations"][0], 48, 64)[None])]
    boxes = np.array([[10, 4, 40, 40], [0, 0, 30, 30]], float)
    found = [Found(1, boxes, np.array([0.9, 0.5]), np.zeros(2, int), codes)]
    assert score(truth, found, "mask").average(area="small") == pytest.approx(50)
    assert score(truth, found, "box").average(area="small") == pytest.approx(100)


def test_file_of_detections_is_read_by_pycocotools(tmp_path: Path) -> None:
    """Boxes as they are; masks once the boxes are taken away. The same detections give the same bytes."""
    truth = some_instances()
    found = disturbed(through_metric(as_predicted(truth)))
    for name in ("a", "b"):
        write_detections(tmp_path / f"{name}.json.gz", found)
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
    entries = json.loads(gzip.decompress((tmp_path / "a.json.gz").read_bytes()))
    assert entries == [entry for one in found for entry in one.entries()]
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = dict(truth)
        data.createIndex()
        assert len(data.loadRes(copy.deepcopy(entries)).anns) == len(entries) == 3
    write_detections(tmp_path / "none.json.gz", [])
    assert json.loads(gzip.decompress((tmp_path / "none.json.gz").read_bytes())) == []


def test_scoring_says_nothing_and_changes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    truth = some_instances()
    before = copy.deepcopy(truth)
    score(truth, through_metric(as_predicted(truth)), "mask")
    assert truth == before
    assert capfd.readouterr().out == ""
