"""Figures of detections: image, truth and detections side by side, each thing in its class's colour."""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.data import coco
from benchmarks.dense.coco_metric import Found, encode
from benchmarks.dense.detection_pictures import SHOWN_SCORE, Shown, detected, draw, palette, save_pictures
from benchmarks.dense.pictures import GAP
from tests.dense.coco_world import some_instances, write_root


def found(scores: list[float]) -> Found:
    masks = np.zeros((len(scores), 48, 64), bool)
    masks[:, 30:40, 50:60] = True
    boxes = np.tile([50.0, 30.0, 10.0, 10.0], (len(scores), 1))
    return Found(1, boxes, np.array(scores), np.arange(len(scores)), encode(masks))


def test_only_likely_detections_are_shown_the_surest_on_top() -> None:
    shown = detected(found([0.9, SHOWN_SCORE - 0.01, 0.5, SHOWN_SCORE]))
    assert [thing.text for thing in shown] == ["motorcycle 0.30", "car 0.50", "person 0.90"]
    assert detected(found([])) == []


def test_masks_are_tinted_and_nothing_else() -> None:
    grey = np.full((48, 64, 3), 100, np.uint8)
    mask = np.zeros((48, 64), np.uint8)
    mask[40:44, 2:6] = 1
    drawn = draw(grey, [Shown(mask, (20, 20, 10, 10), 2, "car")])
    assert (drawn[41, 3] == np.rint(100 + 0.45 * (palette()[2] - 100.0))).all()
    assert (drawn[46, 60] == 100).all()
    assert (drawn[25, 20] == palette()[2]).all(), "the box's left edge"
    assert (draw(grey, []) == grey).all()


def test_three_panels_with_polygons_and_crowds(tmp_path: Path) -> None:
    root = write_root(tmp_path / "data", some_instances())
    split = coco.load_split(root, "val2017")
    save_pictures(tmp_path / "out", split, some_instances(), [found([0.9])])
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "000000000001.png"
    with Image.open(path) as picture:
        assert picture.size == (3 * 64 + 2 * GAP, 48)
        pixels = np.asarray(picture, np.int32)
    with Image.open(split.picture_folder / "000000000001.jpg") as file:
        photograph = np.asarray(file, np.int32)
    np.testing.assert_array_equal(pixels[:, :64], photograph)
    truth, detections = pixels[:, 64 + GAP : 128 + GAP], pixels[:, 128 + 2 * GAP :]
    assert (truth[30, 50] != photograph[30, 50]).any(), "inside the crowd"
    assert (truth[46, 2] == photograph[46, 2]).all()
    assert (detections[35, 55] != photograph[35, 55]).any()
    assert (detections[10, 10] == photograph[10, 10]).all(), "the truth is not drawn over the detections"
