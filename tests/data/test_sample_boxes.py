"""The sample's detection view: read by the reader of the real data, and true to what is drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as codec

from benchmarks.data import coco, world
from benchmarks.data.sample_views.boxes import _FIRST, CATEGORY, write_boxes

SEED = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boxes")
    write_boxes(folder, SEED, 6)
    return folder


def test_the_reader_of_the_real_data_reads_it(root: Path) -> None:
    training, validation = (coco.load_split(root, name) for name in ("train2017", "val2017"))
    assert (len(training.pictures), len(validation.pictures)) == (6, 4)
    assert sum(picture.objects for picture in training.pictures) > 6


def test_masks_and_boxes_are_those_of_what_is_seen(root: Path) -> None:
    """Decoded by pycocotools, each mask shows its thing where it is drawn, and fills its box."""
    truth = coco.read_instances(coco.annotation_path(root, "train2017"))
    for image in truth["images"]:
        scene = world.draw_scene(SEED, "training", _FIRST + image["id"])
        with Image.open(root / "coco/train2017" / image["file_name"]) as file:
            assert file.size == (scene.width, scene.height)
        known = [
            (CATEGORY[thing.category], mask)
            for thing, mask in zip(scene.instances, world.visible_masks(scene), strict=True)
            if thing.category in CATEGORY and mask.sum() >= 24
        ]
        items = [item for item in truth["annotations"] if item["image_id"] == image["id"]]
        assert [item["category_id"] for item in items] == [category for category, _ in known]
        for item, (_, mask) in zip(items, known, strict=True):
            code = codec.frPyObjects(item["segmentation"], scene.height, scene.width)
            np.testing.assert_array_equal(codec.decode(code).astype(bool), mask)
            assert codec.toBbox(code).tolist() == item["bbox"]
            assert codec.area(code) == item["area"]


def test_splits_show_other_scenes_and_fewer_are_the_first(root: Path, tmp_path: Path) -> None:
    write_boxes(tmp_path, SEED, 2)
    for split, count in (("train2017", 2), ("val2017", 1)):
        names = sorted((tmp_path / "coco" / split).iterdir())
        assert [name.read_bytes() for name in names] == [
            (root / "coco" / split / name.name).read_bytes() for name in names
        ]
        assert len(names) == count
    few, more = (json.loads(coco.annotation_path(folder, "train2017").read_text()) for folder in (tmp_path, root))
    assert more["annotations"][: len(few["annotations"])] == few["annotations"]
    first = [root / "coco" / split / "000000000001.jpg" for split in ("train2017", "val2017")]
    assert first[0].read_bytes() != first[1].read_bytes()


def test_every_category_occurs_in_the_default_number(tmp_path: Path) -> None:
    write_boxes(tmp_path, 0, 24)
    seen = {}
    for split in coco.OFFICIAL:
        annotations = coco.read_instances(coco.annotation_path(tmp_path, split))["annotations"]
        seen[split] = {item["category_id"] for item in annotations}
    assert seen["train2017"] == set(CATEGORY.values())
    assert seen["val2017"] <= seen["train2017"]


def test_none_are_written_on_request(tmp_path: Path) -> None:
    write_boxes(tmp_path, SEED, 0)
    assert list(tmp_path.iterdir()) == []
