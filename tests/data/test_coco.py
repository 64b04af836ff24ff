"""COCO's instances: a good folder gives its pictures; each thing that can be wrong with one gives its own line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.data import coco
from benchmarks.data.root import SAMPLE_MARKER
from benchmarks.errors import DataError
from tests.dense.coco_world import annotation, picture, some_instances, write_root

Content = dict[str, Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_root(tmp_path / "data", some_instances())


def failure(root: Path) -> str:
    """The message of the error, which must be one line."""
    with pytest.raises(DataError) as caught:
        coco.load_split(root, "val2017")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change(root: Path, how: Callable[[Content], object]) -> None:
    """Change the annotations of val2017."""
    path = coco.annotation_path(root, "val2017")
    content = json.loads(path.read_text())
    how(content)
    path.write_text(json.dumps(content))


def test_split_holds_what_is_listed(root: Path) -> None:
    split = coco.load_split(root, "val2017")
    assert (split.name, split.official, split.is_sample) == ("val2017", 5000, False)
    assert [(p.image_id, p.width, p.height) for p in split.pictures] == [
        (1, 64, 48),
        (2, 48, 64),
        (3, 64, 48),
        (4, 64, 48),
    ]
    assert [(p.annotations, p.objects) for p in split.pictures] == [(3, 2), (1, 1), (1, 0), (0, 0)]
    assert split.pictures[0].sample_id == "000000000001"
    assert (split.picture_folder / split.pictures[0].file_name).is_file()


def test_pictures_are_sorted_by_number_whatever_the_file_has(root: Path) -> None:
    before = coco.load_split(root, "val2017").pictures
    change(root, lambda content: content["images"].reverse())
    assert coco.load_split(root, "val2017").pictures == before


def test_trained_on_are_annotated_pictures_of_some_size(root: Path) -> None:
    """A crowd alone is kept, as MMDetection counts; nothing annotated is dropped."""
    pictures = coco.load_split(root, "train2017").pictures
    assert [p.image_id for p in coco.trained_on(pictures, 32)] == [1, 2, 3]
    assert [p.image_id for p in coco.trained_on(pictures, 48)] == [1, 2, 3]
    assert coco.trained_on(pictures, 49) == ()


def test_missing_pictures_make_the_split_smaller(root: Path) -> None:
    """Not an error: the run is marked as partial, and annotations of what is missing are not counted."""
    (root / "coco/val2017/000000000001.jpg").unlink()
    split = coco.load_split(root, "val2017")
    assert [p.image_id for p in split.pictures] == [2, 3, 4]
    truth = coco.truth_of(split.annotation_file, {p.image_id for p in split.pictures})
    assert [item["id"] for item in truth["annotations"]] == [4, 5]
    assert len(truth["categories"]) == 80


def test_marker_file_makes_it_a_sample(root: Path) -> None:
    (root / SAMPLE_MARKER).write_text("{}")
    assert coco.load_split(root, "val2017").is_sample


def test_fingerprint_is_of_content(root: Path, tmp_path: Path) -> None:
    first = coco.load_split(root, "val2017").fingerprint
    moved = Path(shutil.copytree(root, tmp_path / "moved"))
    assert coco.load_split(moved, "val2017").fingerprint == first
    Image.new("RGB", (64, 48)).save(moved / "coco/val2017/000000000001.jpg")
    assert coco.load_split(moved, "val2017").fingerprint != first
    change(root, lambda content: content["annotations"].pop())
    assert coco.load_split(root, "val2017").fingerprint != first


def test_missing_root_and_annotations_are_named(tmp_path: Path, root: Path) -> None:
    assert "--data-root" in failure(tmp_path / "nowhere")
    path = coco.annotation_path(root, "val2017")
    path.unlink()
    message = failure(root)
    assert str(path) in message
    assert "coco/{train2017,val2017}" in message


def test_no_picture_at_all_is_named(root: Path) -> None:
    shutil.rmtree(root / "coco/val2017")
    message = failure(root)
    assert "000000000001.jpg" in message
    assert "unpack val2017.zip" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no JSON file"),
        ('{"images": [', "truncated"),
        ("[]", "not in the layout of COCO's instances"),
        ('{"images": [], "annotations": []}', "categories"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "images.0.file_name"),
        ('{"images": [], "annotations": [{"id": 1, "caption": "a dog"}], "categories": []}', "annotations.0.image_id"),
    ],
)
def test_broken_files_are_told_apart(root: Path, content: str, words: str) -> None:
    """Captions and key points lie in the same folder, and are none of it."""
    path = coco.annotation_path(root, "val2017")
    path.write_text(content)
    message = failure(root)
    assert str(path) in message
    assert words in message


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"image_id": 77}, "annotation 4 is of picture 77"),
        ({"category_id": 12}, "annotation 4 is of category 12"),
        ({"bbox": [1, 2, 3]}, "annotation 4 has a box that is not"),
        ({"segmentation": []}, "annotation 4 has a mask that is neither"),
        ({"segmentation": [[1, 2, 3, 4]]}, "annotation 4 has a mask that is neither"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "annotation 4 has a mask that is neither"),
        ({"segmentation": {"size": [5, 5], "counts": [25]}}, "annotation 4 has a run-length mask of another size"),
        ({"id": 1}, "annotation 1 twice"),
        ({"iscrowd": 2}, "annotations.3.iscrowd"),
    ],
)
def test_annotations_that_contradict_the_file_are_named(root: Path, item: Content, words: str) -> None:
    change(root, lambda content: content["annotations"][3].update(item))
    assert words in failure(root)


def test_other_categories_are_refused(root: Path) -> None:
    change(root, lambda content: content["categories"][0].update(name="people"))
    assert "COCO's 80 (category 1 " in failure(root)
    change(root, lambda content: content["categories"].pop(0))
    assert "COCO's 80" in failure(root)


def test_pictures_listed_twice_are_refused(root: Path) -> None:
    change(root, lambda content: content["images"].append(picture(1)))
    assert "lists picture 1 twice" in failure(root)


def test_more_pictures_than_published_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(coco.OFFICIAL, "val2017", 3)
    assert "lists 4 pictures, but 3 are published" in failure(root)


def test_truncated_picture_is_named(root: Path) -> None:
    path = root / "coco/val2017/000000000002.jpg"
    path.write_bytes(path.read_bytes()[:-60])
    message = failure(root)
    assert str(path) in message
    assert "cannot be decoded" in message


def test_picture_of_another_size_is_named(root: Path) -> None:
    """Boxes and masks would lie elsewhere."""
    Image.new("RGB", (48, 64)).save(root / "coco/val2017/000000000001.jpg")
    assert "is 48×64 pixels, but its annotations mean 64×48" in failure(root)


def test_second_load_decodes_nothing(root: Path, reads: list[str]) -> None:
    coco.load_split(root, "val2017")
    assert len(reads) == 4
    coco.load_split(root, "val2017")
    assert len(reads) == 4


def test_annotation_file_without_crowd_marks_is_read(root: Path) -> None:
    change(root, lambda content: content["annotations"].append(
        {key: value for key, value in annotation(9, 4, 1, (1, 1, 9, 9)).items() if key != "iscrowd"}))  # fmt: skip
    assert coco.load_split(root, "val2017").pictures[3].objects == 1


@pytest.mark.real_data
def test_real_subset(real_data: Path) -> None:
    """Pictures that the file does not list (102 lie there) are none of the split; crowds are told apart."""
    training, validation = (coco.load_split(real_data, name) for name in ("train2017", "val2017"))
    assert (len(training.pictures), len(validation.pictures)) == (80, 60)
    assert len(coco.trained_on(training.pictures, 32)) == 80
    assert sum(p.annotations - p.objects for p in validation.pictures) == 9
