"""Karpathy's files: what is read of them, in which order, and which damage is named how."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.data.karpathy import DescribedImage, read_karpathy, require_captions
from benchmarks.errors import DataError


def entry(filename: str, split: str, *captions: str, **more: Any) -> dict[str, Any]:
    """An image as Karpathy's files have it, with what is passed over."""
    sentences = [{"tokens": text.split(), "raw": text, "imgid": 0, "sentid": 7} for text in captions]
    return {"filename": filename, "split": split, "sentences": sentences, "imgid": 0, "sentids": [7], **more}


def write(path: Path, *entries: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"images": entries, "dataset": "test"}))
    return path


def from_other_form(path: Path, target: Path) -> Path:
    """The captions of another project's list, in Karpathy's own form."""
    images = [
        entry(image["image_name"], image["split"], *image["captions"], filepath=image.get("file_path"))
        for image in json.loads(path.read_bytes())
    ]
    return write(target, *images)


def test_splits_are_taken_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "dataset_coco.json",
        entry("b.jpg", "restval", "two", "three", filepath="val2014", cocoid=5),
        entry("c.jpg", "test", "no"),
        entry("a.jpg", "train", "one", filepath="train2014"),
    )
    assert read_karpathy(path, ("train", "restval")) == [
        DescribedImage("val2014/b.jpg", ("two", "three")),
        DescribedImage("train2014/a.jpg", ("one",)),
    ]
    assert read_karpathy(path, ["test"]) == [("c.jpg", ("no",))]


@pytest.mark.parametrize("filepath", [None, ""])
def test_empty_folder_is_none(tmp_path: Path, filepath: str | None) -> None:
    path = write(tmp_path / "k.json", entry("a.jpg", "test", "one", filepath=filepath))
    assert read_karpathy(path, ("test",))[0].path == "a.jpg"


texts = st.text(st.characters(codec="utf-8"), max_size=20)
described = st.lists(st.tuples(st.sampled_from(["train", "test"]), texts.filter(bool), st.lists(texts)), max_size=8)


@given(described, st.booleans())
def test_captions_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, images: list[tuple[str, str, list[str]]], escaped: bool
) -> None:
    """Quotes, newlines, white space at either end, any script; escaped in the JSON or not."""
    entries = [entry(name, split, *captions) for split, name, captions in [*images, ("test", "x", ["y"])]]
    path = tmp_path_factory.mktemp("k") / "k.json"
    path.write_text(json.dumps({"images": entries}, ensure_ascii=escaped), encoding="utf-8")
    expected = [(name, tuple(captions)) for split, name, captions in images if split == "test"]
    assert read_karpathy(path, ("test",)) == [*expected, ("x", ("y",))]


def test_unknown_split_lists_the_known(tmp_path: Path) -> None:
    path = write(tmp_path / "k.json", entry("a.jpg", "val", "one"), entry("b.jpg", "train", "two"))
    with pytest.raises(DataError, match=r"k\.json: has no split 'test' \(splits: train, val\)"):
        read_karpathy(path, ("val", "test"))


def test_no_images_have_no_splits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'test' \(splits: none\)"):
        read_karpathy(write(tmp_path / "k.json"), ("test",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no JSON"),
        ('{"images": [', "no JSON file .*truncated"),
        ("\xff", "no JSON"),
        ("[]", "layout"),
        ("{}", r"layout \(images: Field required\)"),
        ('{"images": [1]}', r"layout \(images\.0"),
        ('{"images": {"a": 1}}', "layout"),
        ('{"images": [{"filename": "a", "split": "test"}]}', r"images\.0\.sentences: Field required"),
        ('{"images": [{"filename": 3, "split": "test", "sentences": []}]}', r"images\.0\.filename"),
        ('{"images": [{"filename": "a", "split": "t", "sentences": [{"raw": null}]}]}', r"sentences\.0\.raw"),
        ('{"images": [], "annotations": []', "no JSON"),
    ],
)
def test_other_content_is_named_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "k.json"
    path.write_bytes(content.encode("latin1"))
    with pytest.raises(DataError, match=message) as caught:
        read_karpathy(path, ("test",))
    assert str(caught.value).startswith(f"{path}: is no")
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value), "the remedy"


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: cannot be read \(No such file"):
        read_karpathy(tmp_path / "none.json", ("test",))


def test_only_the_first_of_many_errors_is_looked_for(tmp_path: Path) -> None:
    """COCO's own annotations have 100,000 images without a split: their message must not hold them all."""
    path = tmp_path / "k.json"
    path.write_text(json.dumps({"images": [{"id": number} for number in range(20_000)]}))
    with pytest.raises(DataError, match=r"images\.0\.filename: Field required") as caught:
        read_karpathy(path, ("test",))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        ((), r"val2014/b\.jpg has no caption"),
        (("fine", ""), r"caption 2 of val2014/b\.jpg is empty"),
        ((" \t\n\u00a0", "fine"), r"caption 1 of val2014/b\.jpg is empty"),
    ],
)
def test_retrieval_refuses_what_has_no_caption(tmp_path: Path, captions: tuple[str, ...], message: str) -> None:
    path = tmp_path / "k.json"
    images = [DescribedImage("a.jpg", ("one",)), DescribedImage("val2014/b.jpg", captions)]
    with pytest.raises(DataError, match=message):
        require_captions(path, images)
    require_captions(path, images[:1])


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "images", "captions", "most"), [("flickr30k", 1_000, 5_000, 5), ("mscoco", 5_000, 25_010, 6)]
)
def test_full_test_splits(real_data: Path, tmp_path: Path, name: str, images: int, captions: int, most: int) -> None:
    """The captions that every paper scores: their numbers, and that none of them is blank."""
    source = real_data / "karpathy_captions" / f"{name}_test.json"
    path = from_other_form(source, tmp_path / f"dataset_{name}.json")
    found = read_karpathy(path, ("test",))
    require_captions(path, found)
    assert len(found) == images
    assert sum(len(image.captions) for image in found) == captions
    assert {min(map(len, (image.captions for image in found))), max(len(image.captions) for image in found)} == {
        5,
        most,
    }
    assert len({image.path for image in found}) == images
    original = json.loads(source.read_bytes())
    assert [list(image.captions) for image in found] == [image["captions"] for image in original]
