"""The retrieval sets: which pictures and captions make up a split, where pictures may lie, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.data.images import Images
from benchmarks.data.retrieval import RETRIEVAL, RetrievalDataSet, load_split
from benchmarks.errors import DataError
from tests.data.test_karpathy import entry, from_other_form, write


def write_picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)).save(path)


def write_flickr(root: Path, count: int = 3, **replaced: Any) -> Path:
    """Test pictures ``0.jpg``, ``1.jpg``, … with five captions each, and one of another split."""
    images = [entry(f"{index}.jpg", "test", *(f"{index} {word}" for word in "abcde")) for index in range(count)]
    if replaced:
        images[1].update(replaced)
    for index in range(count):
        write_picture(root / f"flickr8k/images/{index}.jpg", index)
    return write(root / "flickr8k/dataset_flickr8k.json", entry("t.jpg", "train", "not this"), *images)


def coco_name(number: int, folder: str = "val2014") -> str:
    return f"COCO_{folder}_{number:012d}.jpg"


def pixels(images: Images, index: int) -> list[int]:
    return list(images.open(index).convert("RGB").tobytes())


def test_test_split_comes_in_the_order_of_the_file(tmp_path: Path) -> None:
    write_flickr(tmp_path)
    split = load_split(tmp_path, "flickr8k")
    assert (split.dataset, split.split, split.official) == ("flickr8k", "test", 1_000)
    assert list(split.images.sample_ids) == ["0", "1", "2"]
    assert split.captions[2] == ("2 a", "2 b", "2 c", "2 d", "2 e")
    assert split.images.open(1).size == (16, 12)
    assert not split.complete
    assert not split.is_sample


def test_all_captions_are_kept(tmp_path: Path) -> None:
    """COCO has pictures with six and seven; whoever scores takes the first five."""
    write_flickr(tmp_path, sentences=[{"raw": f"{number}"} for number in range(7)])
    assert [len(captions) for captions in load_split(tmp_path, "flickr8k").captions] == [5, 7, 5]


def test_missing_picture_leaves_with_its_captions(tmp_path: Path) -> None:
    write_flickr(tmp_path)
    whole = load_split(tmp_path, "flickr8k")
    (tmp_path / "flickr8k/images/1.jpg").unlink()
    split = load_split(tmp_path, "flickr8k")
    assert list(split.images.sample_ids) == ["0", "2"]
    assert [captions[0] for captions in split.captions] == ["0 a", "2 a"]
    assert split.images.fingerprint != whole.images.fingerprint
    assert not split.complete


def test_full_number_is_complete(tmp_path: Path) -> None:
    declared = RETRIEVAL["flickr8k"]
    images = [entry(f"{index}.png", "test", *(f"{index} {word}" for word in "abcde")) for index in range(1_000)]
    write_picture(tmp_path / "flickr8k/images/0.png")
    content = (tmp_path / "flickr8k/images/0.png").read_bytes()
    for index in range(1, declared.official):
        (tmp_path / f"flickr8k/images/{index}.png").write_bytes(content)
    path = write(tmp_path / "flickr8k/dataset_flickr8k.json", *images)
    assert load_split(tmp_path, "flickr8k").complete
    write(tmp_path / "flickr8k/dataset_flickr8k.json", *images[:-1], entry("999.png", "test", "one caption alone"))
    assert not load_split(tmp_path, "flickr8k").complete, "captions are missing"
    write(path, *images, entry("more.png", "test", "words"))
    with pytest.raises(DataError, match=r"lists 1,001 pictures .* but 1,000 are published"):
        load_split(tmp_path, "flickr8k")


def test_generated_data_are_their_own_measure(tmp_path: Path) -> None:
    write_flickr(tmp_path)
    (tmp_path / "SAMPLE.json").write_text("{}")
    split = load_split(tmp_path, "flickr8k")
    assert (split.official, split.is_sample, split.complete) == (3, True, True)


@pytest.mark.parametrize(
    "place",
    ["val2014/COCO_val2014_000000000042.jpg", "val2017/000000000042.jpg", "train2017/000000000042.jpg"],
)
def test_coco_picture_is_found_under_either_name(tmp_path: Path, place: str) -> None:
    write_picture(tmp_path / "coco" / place)
    (tmp_path / "coco/annotations").mkdir()
    write(
        tmp_path / "coco/annotations/dataset_coco.json",
        entry(coco_name(42), "test", "one", filepath="val2014"),
        entry(coco_name(43), "test", "missing", filepath="val2014"),
    )
    split = load_split(tmp_path, "coco")
    assert list(split.images.sample_ids) == ["COCO_val2014_000000000042"], "wherever it lies, it is called the same"
    assert split.captions == (("one",),)
    assert split.images.open(0).size == (16, 12)


def test_coco_prefers_the_folder_that_the_file_names(tmp_path: Path) -> None:
    for seed, place in enumerate([f"val2014/{coco_name(42)}", "val2017/000000000042.jpg"]):
        write_picture(tmp_path / "coco" / place, seed)
    (tmp_path / "coco/annotations").mkdir()
    write(tmp_path / "coco/annotations/dataset_coco.json", entry(coco_name(42), "test", "one", filepath="val2014"))
    first = pixels(load_split(tmp_path, "coco").images, 0)
    (tmp_path / "coco/val2014" / coco_name(42)).unlink()
    assert pixels(load_split(tmp_path, "coco").images, 0) != first


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"sentences": []}, r"dataset_flickr8k\.json: 1\.jpg has no caption"),
        ({"sentences": [{"raw": "fine"}, {"raw": "  "}]}, r"caption 2 of 1\.jpg is empty"),
        ({"filename": "0.jpg"}, r"lists 0\.jpg twice"),
        ({"filename": "0.png"}, r"lists 0\.png twice"),
        ({"split": 3}, "layout"),
    ],
)
def test_wrong_entry_is_named(tmp_path: Path, replaced: dict[str, Any], message: str) -> None:
    write_flickr(tmp_path, **replaced)
    with pytest.raises(DataError, match=message):
        load_split(tmp_path, "flickr8k")


def test_damaged_picture_is_named(tmp_path: Path) -> None:
    write_flickr(tmp_path)
    path = tmp_path / "flickr8k/images/2.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"images/2\.jpg: cannot be decoded"):
        load_split(tmp_path, "flickr8k")


def test_what_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data folder"):
        load_split(tmp_path / "none", "flickr30k")
    with pytest.raises(DataError, match=r"dataset_flickr30k\.json: .*prepare flickr30k.*caption_datasets\.zip"):
        load_split(tmp_path, "flickr30k")
    path = write_flickr(tmp_path)
    for picture in (tmp_path / "flickr8k/images").iterdir():
        picture.unlink()
    with pytest.raises(DataError, match=r"images/0\.jpg: none of the pictures .*prepare flickr8k"):
        load_split(tmp_path, "flickr8k")
    write(path, entry("a.jpg", "train", "one"))
    with pytest.raises(DataError, match=r"no split 'test' \(splits: train\)"):
        load_split(tmp_path, "flickr8k")


def test_progress_is_told(tmp_path: Path) -> None:
    write_flickr(tmp_path)
    seen: list[tuple[int, int]] = []
    load_split(tmp_path, "flickr8k", lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3, 3)


@pytest.mark.parametrize("declared", RETRIEVAL.values(), ids=list(RETRIEVAL))
def test_declarations_are_whole(declared: RetrievalDataSet) -> None:
    assert declared.captions >= 5 * declared.official
    assert declared.layout
    assert declared.licence
    assert declared.homepage.startswith("https://")
    files = [download.filename for download in declared.downloads]
    folder = declared.annotations.rpartition("/")[0]
    assert any(file.rpartition("/")[0] == folder for file in files), "the captions are unpacked where they are read"
    assert declared.by_hand or len(files) > 1, "the pictures are fetched, or it is said how to get them"


@pytest.mark.real_data
def test_real_flickr8k(real_data: Path) -> None:
    """100 of the 1,000 test pictures."""
    split = load_split(real_data, "flickr8k")
    assert len(split.images) == len(split.captions) == 100
    assert {len(captions) for captions in split.captions} == {5}
    assert split.captions[0][0].startswith("A little girl covered in paint")
    assert split.images.sample_ids[0] == "1002674143_1b742ab4b8"
    assert min(split.images.open(0).size) > 100
    assert not split.complete


@pytest.mark.real_data
def test_real_coco_subset(real_data: Path, tmp_path: Path) -> None:
    """Test pictures of 2014 that are held under their names of 2017, with all captions of the full file."""
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    for name in ("val2017", "train2017"):
        (folder / name).symlink_to(real_data / "coco" / name)
    source = real_data / "karpathy_captions/mscoco_test.json"
    from_other_form(source, folder / "annotations/dataset_coco.json")
    split = load_split(tmp_path, "coco")
    held = {path.stem for name in ("val2017", "train2017") for path in (real_data / "coco" / name).glob("*.jpg")}
    listed = {image["image_name"]: image["captions"] for image in json.loads(source.read_bytes())}
    expected = {name: texts for name, texts in listed.items() if name[-16:-4] in held}
    assert len(expected) > 5
    assert {f"{name}.jpg" for name in split.images.sample_ids} == set(expected)
    assert [list(captions) for captions in split.captions] == list(expected.values())
    own: dict[str, set[str]] = {}
    for annotation in json.loads((real_data / "coco/annotations/captions_val2017.json").read_bytes())["annotations"]:
        own.setdefault(f"COCO_val2014_{annotation['image_id']:012d}", set()).add(annotation["caption"].strip())
    both = [index for index, name in enumerate(split.images.sample_ids) if name in own]
    assert len(both) > 5
    for index in both:
        said = {caption.strip() for caption in split.captions[index]}
        assert said == own[split.images.sample_ids[index]], "numbers of 2014 and of 2017 mean the same picture"
