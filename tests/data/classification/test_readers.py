"""Readers give each picture the class that its publisher gives it, and take the split that they say."""

import bisect
import csv
import hashlib
import json
import math
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.data.classification import CLASSIFICATION, ClassificationSplit, list_split, load_split
from benchmarks.data.classification.readers import _held_out, _population, _random_fifth, nearest_vehicle
from benchmarks.data.vocabulary import shipped
from benchmarks.errors import DataError
from tests.data.classification.layouts import KEYS, kitti_line, vocabulary, write, write_lines


def failure(data_root: Path, name: str, split: str | None = None) -> str:
    """The message of the error, which must be one line."""
    with pytest.raises(DataError) as caught:
        load_split(data_root, name, vocabulary(name), split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def keys_of(split: ClassificationSplit, keys: tuple[str, ...]) -> dict[str, str]:
    """The class of each picture by the last part of its name."""
    return {
        Path(sample_id).name: keys[label]
        for sample_id, label in zip(split.images.sample_ids, split.labels, strict=True)
    }


# Lists that are damaged

LISTS = {
    "sun397": "SUN397/Testing_01.txt",
    "aircraft": "fgvc-aircraft-2013b/data/images_variant_test.txt",
    "dtd": "dtd/labels/test1.txt",
    "pets": "oxford-iiit-pet/annotations/test.txt",
    "flowers": "flowers-102/setid.mat",
    "gtsrb": "gtsrb/GT-final_test.csv",
    "clevr": "clevr/CLEVR_v1.0/scenes/CLEVR_val_scenes.json",
}


@pytest.mark.parametrize("name", LISTS)
def test_missing_list_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    (tmp_path / name / LISTS[name]).unlink()
    assert f"{tmp_path / name / LISTS[name]}: cannot be read" in failure(tmp_path, name)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\xfd", b"<html>404</html>\n"])
def test_list_that_is_none_is_an_error(tmp_path: Path, name: str, content: bytes) -> None:
    write(tmp_path, name)
    (tmp_path / name / LISTS[name]).write_bytes(content)
    assert str(tmp_path / name) in failure(tmp_path, name)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("name", ["setid.mat", "imagelabels.mat"])
def test_truncated_matlab_file_is_named(tmp_path: Path, name: str, share: float) -> None:
    write(tmp_path, "flowers")
    file = tmp_path / "flowers/flowers-102" / name
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert str(file) in failure(tmp_path, "flowers")


def test_truncated_scenes_are_named(tmp_path: Path) -> None:
    write(tmp_path, "clevr")
    file = tmp_path / "clevr" / LISTS["clevr"]
    file.write_bytes(file.read_bytes()[:-20])
    assert f"{file}: is no list of CLEVR's scenes" in failure(tmp_path, "clevr")


def test_flowers_that_have_no_class_are_an_error(tmp_path: Path) -> None:
    from scipy.io import savemat

    write(tmp_path, "flowers")
    savemat(tmp_path / "flowers/flowers-102/setid.mat", {"tstid": np.array([[1, 99]])})
    assert "names pictures that imagelabels.mat lacks" in failure(tmp_path, "flowers")


def test_picture_that_is_listed_twice_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "dtd")
    file = tmp_path / "dtd" / LISTS["dtd"]
    file.write_text(file.read_text() + file.read_text().splitlines()[0])
    assert f"{file}: names a picture twice" in failure(tmp_path, "dtd")


def test_dtd_is_read_where_torchvision_unpacks_it(tmp_path: Path) -> None:
    expected = write(tmp_path, "dtd")
    (tmp_path / "dtd/dtd").rename(tmp_path / "archive")
    (tmp_path / "dtd/dtd").mkdir()
    (tmp_path / "archive").rename(tmp_path / "dtd/dtd/dtd")
    split = load_split(tmp_path, "dtd", vocabulary("dtd"))
    assert list(split.images.sample_ids) == [f"dtd/{Path(path).with_suffix('')}" for path, _ in expected]


# torchvision reads the same, where it can read a miniature


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aircraft", "dtd", "pets", "gtsrb", "country211", "clevr", "sst2", "sun397"])
def test_torchvision_finds_the_same_pictures_and_classes(tmp_path: Path, name: str) -> None:
    from torchvision import datasets

    expected = write(tmp_path, name)
    root = str(tmp_path / name)
    theirs = {
        "aircraft": lambda: datasets.FGVCAircraft(root, "test"),
        "dtd": lambda: datasets.DTD(str(tmp_path), "test"),
        "pets": lambda: datasets.OxfordIIITPet(root, "test"),
        "gtsrb": lambda: datasets.GTSRB(root, "test"),
        "country211": lambda: datasets.Country211(root, "test"),
        "clevr": lambda: datasets.CLEVRClassification(root, "val"),
        "sst2": lambda: datasets.RenderedSST2(root, "test"),
        "sun397": lambda: datasets.SUN397(root),
    }[name]()
    ours = load_split(tmp_path, name, vocabulary(name))
    pictures = {picture.tobytes(): label for picture, label in theirs}
    assert name == "sun397" or len(theirs) == len(expected)
    for index, (_, key) in enumerate(expected):
        label = pictures[ours.images.open(index).convert("RGB").tobytes()]
        assert label == (int(key.rpartition("_")[2]) if name == "clevr" else ours.labels[index])


# SUN397's split of SLIP's builder


def sun397_root(data_root: Path, pictures: int) -> Path:
    write_lines(data_root / "sun397/SUN397/ClassName.txt", KEYS["sun397"])
    for key in KEYS["sun397"]:
        for index in range(pictures):
            path = data_root / f"sun397/SUN397{key}/sun_{index:03d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return data_root


def test_slip_split_of_sun397_is_that_of_its_builder_on_sorted_names(tmp_path: Path) -> None:
    sun397_root(tmp_path, 23)
    listing = list_split(tmp_path, CLASSIFICATION["sun397"], vocabulary("sun397"), "slip")
    random.seed(0)
    expected = []
    for key in KEYS["sun397"]:
        names = [f"SUN397{key}/sun_{index:03d}.jpg" for index in range(23)]
        random.shuffle(names)
        start = round(23 * 0.7)
        expected += sorted(names[start + round(23 * 0.1) :])
    assert list(listing.paths) == expected
    assert listing.keys == tuple(path.removeprefix("SUN397").rpartition("/")[0] for path in expected)
    assert listing.missing > 21_000, "the other pictures of the set are missing"


def test_sun397_without_official_size_is_incomplete_while_pictures_are_missing(tmp_path: Path) -> None:
    write(tmp_path, "sun397")
    split = load_split(tmp_path, "sun397", vocabulary("sun397"), "slip")
    assert len(split.images) == 3 * 2
    assert not split.complete
    assert 21_700 < split.official < 21_800


@given(count=st.integers(0, 400), seed=st.integers(0, 5))
def test_held_out_part_of_a_class_is_a_fifth_and_stable(count: int, seed: int) -> None:
    names = [f"{index:04d}" for index in range(count)]
    taken = _held_out(names, random.Random(seed))
    assert taken == _held_out(names, random.Random(seed))
    assert taken == sorted(set(taken))
    assert set(taken) <= set(names)
    assert abs(len(taken) - count / 5) <= 1


# KITTI


@given(count=st.integers(0, 3_000))
def test_random_fifth_is_a_fifth_and_stable(count: int) -> None:
    names = [f"{index:06d}" for index in range(count)]
    taken = _random_fifth(names)
    assert taken == _random_fifth(names) == sorted(set(taken))
    assert set(taken) <= set(names)
    assert len(taken) == count - round(0.8 * count)


def test_seeded_fifth_of_kitti_never_changes() -> None:
    taken = _random_fifth([f"{index:06d}" for index in range(7_481)])
    assert len(taken) == 1_496
    assert hashlib.sha256(" ".join(taken).encode()).hexdigest()[:16] == "0303b5282eaebddb"


def test_a_missing_label_does_not_change_what_is_drawn() -> None:
    names = [f"{index:06d}" for index in range(7_481)]
    whole = _random_fifth(_population(names))
    assert _random_fifth(_population(names[1:])) == whole
    assert _random_fifth(_population(names[:-1])) == whole
    assert _population(names[:100]) == names[:100], "another, smaller set"


def test_split_does_not_depend_on_which_pictures_are_missing(tmp_path: Path) -> None:
    """The labels of all pictures are one small file that everyone has whole."""
    expected = write(tmp_path, "kitti")
    for index in range(10):
        path = f"Kitti/raw/training/image_2/{index:06d}.png"
        if path != expected[1][0]:
            (tmp_path / "kitti" / path).unlink()
    listing = list_split(tmp_path, CLASSIFICATION["kitti"], vocabulary("kitti"), "slip")
    assert (listing.paths, listing.missing) == ((expected[1][0],), 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Car", "Van", "Truck", "Pedestrian", "Cyclist", "Tram", "Misc", "DontCare"]),
            st.sampled_from([-0.5, 0.0, 0.01, 7.99, 8.0, 8.01, 20.0, 20.01, 80.0]) | st.floats(-5, 90),
        ),
        max_size=6,
    )
)
def test_nearest_vehicle_is_that_of_the_two_builders(
    tmp_path_factory: pytest.TempPathFactory, objects: list[tuple[str, float]]
) -> None:
    """Their arithmetic: SLIP's bins begin at 0, VTAB's thresholds at -100, and both count a vehicle at 8 as near."""
    objects = [(kind, round(z, 2)) for kind, z in objects]
    file = write_lines(tmp_path_factory.mktemp("kitti") / "label.txt", [kitti_line(kind, z) for kind, z in objects])
    nearest = [z for kind, z in objects if kind in ("Car", "Van", "Truck")]
    slip = bisect.bisect_left([0.0, 8.0, 20.0], min(nearest, default=-math.inf))
    assert nearest_vehicle(file) == ("no_vehicle", "below_8", "below_20", "above_20")[slip]
    vtab = int(np.max(np.where(np.array([-100.0, 8.0, 20.0, 999.0]) < min([*nearest, 1000.0]))))
    assert nearest_vehicle(file, "below_8") == ("below_8", "below_20", "above_20", "no_vehicle")[vtab]


@pytest.mark.parametrize("content", ["Car 0.00 0", "Car " + "x " * 14])
def test_broken_label_file_of_kitti_is_named(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"000001\.txt: is no label file of KITTI"):
        nearest_vehicle(write_lines(tmp_path / "000001.txt", [content]))


def test_picture_without_any_object_has_no_vehicle(tmp_path: Path) -> None:
    assert nearest_vehicle(write_lines(tmp_path / "000001.txt", [])) == "no_vehicle"


def kitti_videos(data_root: Path, videos: int) -> Path:
    """Pictures of so many videos, in an order that is shuffled as the publishers' is; one line in three is unused."""
    order = np.random.RandomState(7).permutation(3 * videos * 2)[: videos * 4]
    mapping = data_root / "kitti/Kitti/raw/devkit/mapping"
    frames = [f"2011_09_26 2011_09_26_drive_{line % videos:04d}_sync {line:010d}" for line in range(3 * videos * 2)]
    write_lines(mapping / "train_mapping.txt", frames)
    write_lines(mapping / "train_rand.txt", [",".join(str(line + 1) for line in order)])
    return mapping


def test_vtab_split_takes_whole_videos_as_tensorflow_datasets_draws_them(tmp_path: Path) -> None:
    write(tmp_path, "kitti")
    mapping = kitti_videos(tmp_path, 21)
    listing = list_split(tmp_path, CLASSIFICATION["kitti"], vocabulary("kitti"), "vtab")
    places = [int(place) - 1 for place in (mapping / "train_rand.txt").read_text().split(",")]
    videos = [(mapping / "train_mapping.txt").read_text().splitlines()[place].split(" ")[1] for place in places]
    before = np.random.get_state()
    np.random.seed(seed=123)
    drawn = set(np.random.choice(sorted(set(videos)), max(1, 10 * len(set(videos)) // 100), replace=False))
    np.random.set_state(before)
    taken = [f"Kitti/raw/training/image_2/{index:06d}.png" for index, video in enumerate(videos) if video in drawn]
    assert [path for path in taken if (tmp_path / "kitti" / path).is_file()] == list(listing.paths)
    assert listing.missing == len(taken) - len(listing.paths)
    assert 1 <= len(drawn) <= 2


def test_vtab_split_without_the_development_kit_says_what_it_needs(tmp_path: Path) -> None:
    write(tmp_path, "kitti")
    message = failure(tmp_path, "kitti", "vtab")
    assert "train_rand.txt: missing" in message
    assert "devkit_object.zip" in message


def test_files_of_the_development_kit_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "kitti")
    mapping = kitti_videos(tmp_path, 12)
    write_lines(mapping / "train_mapping.txt", ["2011_09_26 2011_09_26_drive_0001_sync 0000000001"])
    assert "do not belong together" in failure(tmp_path, "kitti", "vtab")


def test_picture_of_the_split_without_labels_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "kitti")
    kitti_videos(tmp_path, 1)
    (tmp_path / "kitti/Kitti/raw/training/label_2/000002.txt").unlink()
    assert "label_2/000002.txt: cannot be read" in failure(tmp_path, "kitti", "vtab")


# Formats


def test_pictures_whose_suffix_is_wrong_are_read(tmp_path: Path) -> None:
    """SUN397 and Pets hold PNG, GIF and BMP files named .jpg."""
    expected = write(tmp_path, "pets")
    formats = ("PNG", "GIF", "BMP", "JPEG", "WEBP", "PPM")
    for form, (path, _) in zip(formats, expected, strict=True):
        Image.new("RGB", (5, 4), "red").save(tmp_path / "pets" / path, form)
    split = load_split(tmp_path, "pets", vocabulary("pets"))
    assert [split.images.open(index).size for index in range(6)] == [(5, 4)] * 6


# Real pictures


@pytest.fixture
def raw(real_data: Path) -> Path:
    folder = real_data / "zeroshot"
    if not folder.is_dir():
        pytest.skip(f"{folder}: not there")
    return folder


@pytest.mark.real_data
def test_gtsrb_860_of_12630(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "gtsrb/gtsrb/GTSRB/Final_Test").mkdir(parents=True)
    shutil.copy(raw / "gtsrb/GT-final_test.csv", tmp_path / "gtsrb/gtsrb")
    (tmp_path / "gtsrb/gtsrb/GTSRB/Final_Test/Images").symlink_to(raw / "gtsrb/Final_Test_32px")
    split = load_split(tmp_path, "gtsrb", shipped("gtsrb"))
    assert (len(split.images), split.official, split.complete) == (860, 12_630, False)
    with (raw / "gtsrb/labels_860.csv").open() as stream:
        facts = {row["Filename"][:-4]: int(row["ClassId"]) for row in csv.DictReader(stream, delimiter=";")}
    assert {Path(name).name: label for name, label in zip(split.images.sample_ids, split.labels, strict=True)} == facts
    assert np.bincount(split.labels).tolist() == [20] * 43


@pytest.mark.real_data
def test_imagenet_25_of_50000(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "imagenet").mkdir()
    shutil.copytree(raw / "imagenet_val_25", tmp_path / "imagenet/val", ignore=shutil.ignore_patterns("MANIFEST.md"))
    words = shipped("imagenet")
    split = load_split(tmp_path, "imagenet", words)
    assert (len(split.images), split.classes, split.official) == (25, 1000, 50_000)
    assert keys_of(split, words.keys) == {path.stem: path.parent.name for path in raw.glob("imagenet_val_25/*/*.JPEG")}
    assert {words.keys[label] for label in split.labels} >= {"n01820546", "n02111889"}


@pytest.mark.real_data
def test_clevr_counts(raw: Path, tmp_path: Path) -> None:
    facts: dict[str, int] = json.loads((raw / "clevr_counts/counts.json").read_text())
    base = tmp_path / "clevr/clevr/CLEVR_v1.0"
    shutil.copytree(raw / "clevr_counts/images", base / "images/val")
    scene = json.loads((raw / "clevr_counts/CLEVR_new_000000.json").read_text())
    others = [
        {"image_filename": n, "objects": [{}] * count} for n, count in facts.items() if n != scene["image_filename"]
    ]
    write_lines(base / "scenes/CLEVR_val_scenes.json", [json.dumps({"scenes": [scene, *others]})])
    words = shipped("clevr")
    split = load_split(tmp_path, "clevr", words)
    assert keys_of(split, words.keys) == {Path(name).stem: f"count_{count}" for name, count in facts.items()}
    assert words.names[split.labels[0]] == ("7",)


@pytest.mark.real_data
def test_kitti_labels_equal_those_of_vtab(raw: Path, tmp_path: Path) -> None:
    """``vtab_labels.json`` was made by VTAB's rule: 0 is near, 3 is no vehicle."""
    facts: dict[str, int] = json.loads((raw / "kitti_distance/vtab_labels.json").read_text())
    order = ("below_8", "below_20", "above_20", "no_vehicle")
    for name, label in facts.items():
        for behind in ("no_vehicle", "below_8"):
            assert nearest_vehicle(raw / f"kitti_distance/label_2/{name}.txt", behind) == order[label]
    (tmp_path / "kitti/Kitti/raw").mkdir(parents=True)
    (tmp_path / "kitti/Kitti/raw/training").symlink_to(raw / "kitti_distance")
    words = shipped("kitti")
    split = load_split(tmp_path, "kitti", words)
    assert (len(split.images), split.official) == (len(facts) - round(0.8 * len(facts)), 1_496)
    found = keys_of(split, words.keys)
    assert found == {name: order[facts[name]] for name in found}


@pytest.mark.real_data
def test_dtd_10_of_47_classes(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "dtd/dtd").mkdir(parents=True)
    (tmp_path / "dtd/dtd/images").symlink_to(raw / "dtd_10of47/images")
    names = sorted(f"{path.parent.name}/{path.name}" for path in raw.glob("dtd_10of47/images/*/*.jpg"))
    write_lines(tmp_path / "dtd/dtd/labels/test1.txt", names)
    split = load_split(tmp_path, "dtd", shipped("dtd"))
    assert (len(split.images), split.classes, split.complete) == (len(names), 47, False)
    assert sorted(set(split.labels.tolist())) == list(range(10)), "banded to crystalline come first of the 47"
