"""A split is what lies on disk, labelled by the vocabulary; whatever is amiss is one clear line before a run begins."""

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.data.classification import CLASSIFICATION, class_labels, list_split, load, load_split
from benchmarks.data.root import SAMPLE_MARKER
from benchmarks.data.vocabulary import shipped
from benchmarks.errors import DataError, OptionError
from tests.data.classification.layouts import KEYS, vocabulary, write, write_picture

NAMES = sorted(KEYS)


def failure(data_root: Path, name: str, keys: Sequence[str] | None = None, split: str | None = None) -> str:
    """The message of the error, which must be one line."""
    with pytest.raises(DataError) as caught:
        load_split(data_root, name, vocabulary(name, keys), split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_picture_is_found_in_order_with_its_label(tmp_path: Path, name: str) -> None:
    expected = write(tmp_path, name)
    split = load_split(tmp_path, name, vocabulary(name))
    assert list(split.images.sample_ids) == [str(Path(path).with_suffix("")) for path, _ in expected]
    assert split.labels.dtype == np.int64
    assert split.labels.tolist() == [KEYS[name].index(key) for _, key in expected]
    assert split.classes == len(KEYS[name])
    assert (split.dataset, split.split) == (name, CLASSIFICATION[name].default_split)
    for index, (path, _) in enumerate(expected):
        with Image.open(tmp_path / name / path) as stored:
            assert np.array_equal(np.asarray(split.images.open(index)), np.asarray(stored))


@pytest.mark.parametrize("name", NAMES)
def test_real_subset_is_incomplete_and_a_sample_is_whole(tmp_path: Path, name: str) -> None:
    count = len(write(tmp_path, name))
    split = load_split(tmp_path, name, vocabulary(name))
    assert (split.official, split.complete) == (CLASSIFICATION[name].splits[split.split], False)
    assert not split.is_sample
    (tmp_path / SAMPLE_MARKER).write_text("{}")
    split = load_split(tmp_path, name, vocabulary(name))
    assert (split.official, split.complete, split.is_sample) == (count, True, True)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_vocabulary_has_the_keys_that_the_reader_finds(tmp_path: Path, name: str) -> None:
    """A picture of the last class gets the last label."""
    words = shipped(name)
    expected = write(tmp_path, name, words.keys[-8:])
    split = load_split(tmp_path, name, words)
    assert split.classes == len(words.keys)
    assert split.labels.tolist() == [words.keys.index(key) for _, key in expected]


@pytest.mark.parametrize("name", NAMES)
def test_absent_set_names_the_layout_and_the_command(tmp_path: Path, name: str) -> None:
    message = failure(tmp_path, name)
    assert str(tmp_path / name) in message
    assert CLASSIFICATION[name].layout in message
    assert f"bench data prepare {name}" in message


def test_absent_data_root_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "nowhere") in failure(tmp_path / "nowhere", "dtd")


@pytest.mark.parametrize("name", NAMES)
def test_empty_folder_is_an_error_that_says_what_is_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert str(tmp_path / name) in failure(tmp_path, name)


@pytest.mark.parametrize("name", NAMES)
def test_corrupt_picture_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / write(tmp_path, name)[1][0]
    path.write_bytes(path.read_bytes()[:-200])
    message = failure(tmp_path, name)
    assert message.startswith(f"{path}: cannot be decoded")


@pytest.mark.parametrize("name", ["sun397", "aircraft", "dtd", "pets", "flowers", "gtsrb", "clevr"])
def test_listed_picture_that_is_not_there_makes_the_split_incomplete(tmp_path: Path, name: str) -> None:
    expected = write(tmp_path, name)
    (tmp_path / name / expected[1][0]).unlink()
    listing = list_split(tmp_path, CLASSIFICATION[name], vocabulary(name), CLASSIFICATION[name].default_split)
    assert listing.missing == 1
    assert listing.paths == tuple(path for path, _ in [expected[0], *expected[2:]])
    assert not load_split(tmp_path, name, vocabulary(name)).complete


@pytest.mark.parametrize("name", ["sun397", "aircraft", "dtd", "pets", "flowers", "gtsrb"])
def test_list_without_pictures_is_an_error(tmp_path: Path, name: str) -> None:
    for path, _ in write(tmp_path, name):
        (tmp_path / name / path).unlink()
    assert "no picture" in failure(tmp_path, name)


FOLDERS = {
    "imagenet": "val/n01443537",
    "country211": "country211/test/AE",
    "sst2": "rendered-sst2/test/positive",
    "sun397": "SUN397/c/church/indoor",
    "dtd": "dtd/images/blotchy",
}


@pytest.mark.parametrize("name", FOLDERS)
def test_missing_class_folder_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    shutil.rmtree(tmp_path / name / FOLDERS[name])
    message = failure(tmp_path, name)
    assert repr(next(key for key in KEYS[name] if FOLDERS[name].endswith(key))) in message
    assert f"{len(KEYS[name]) - 1} of the {len(KEYS[name])} classes" in message


@pytest.mark.parametrize("name", ["imagenet", "country211", "sst2", "dtd"])
def test_unexpected_class_folder_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    (tmp_path / name / FOLDERS[name]).with_name("stranger").mkdir()
    assert "'stranger'" in failure(tmp_path, name)


def test_hidden_files_and_folders_do_not_count(tmp_path: Path) -> None:
    expected = write(tmp_path, "imagenet")
    (tmp_path / "imagenet/val/.trash").mkdir()
    (tmp_path / "imagenet/val/n01440764/._n01440764_1.JPEG").write_bytes(b"\0\5\26\7")
    assert len(load_split(tmp_path, "imagenet", vocabulary("imagenet")).images) == len(expected)


def test_fewer_than_half_of_the_class_folders_are_a_subset_on_purpose(tmp_path: Path) -> None:
    """Its labels are those of all classes. From half on, a missing folder is damage."""
    keys = ("n1", "n2", "n3", "n4", "n5", "n6")
    write(tmp_path, "imagenet", ["n3", "n6"])
    split = load_split(tmp_path, "imagenet", vocabulary("imagenet", keys))
    assert split.labels.tolist() == [2, 2, 5, 5]
    assert (split.classes, split.complete) == (6, False)
    write_picture(tmp_path / "imagenet/val/n1/a.jpg")
    assert "'n2'" in failure(tmp_path, "imagenet", keys)


def test_empty_class_folder_is_a_class_without_pictures(tmp_path: Path) -> None:
    write(tmp_path, "imagenet", ["n1", "n3"])
    (tmp_path / "imagenet/val/n2").mkdir()
    assert load_split(tmp_path, "imagenet", vocabulary("imagenet", ("n1", "n2", "n3"))).labels.tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize("name", ["sun397", "aircraft", "dtd", "pets", "flowers", "gtsrb"])
def test_wrong_number_of_classes_in_the_official_list_is_an_error(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, KEYS[name][:-1])
    message = failure(tmp_path, name)
    assert repr(KEYS[name][-1]) in message
    assert "2 of the 3 classes" in message


@pytest.mark.parametrize("name", NAMES)
def test_class_that_the_vocabulary_lacks_is_named(tmp_path: Path, name: str) -> None:
    expected = write(tmp_path, name)
    key = expected[0][1]
    message = failure(tmp_path, name, [known for known in KEYS[name] if known != key])
    assert repr(key) in message
    assert f"{len(KEYS[name]) - 1} classes of {name}" in message


def test_more_pictures_than_published_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "dtd")
    fewer = dataclasses.replace(CLASSIFICATION["dtd"], splits={"test": 5})
    monkeypatch.setattr(load, "CLASSIFICATION", {"dtd": fewer})
    assert "has 6 pictures of test, but 5 are published" in failure(tmp_path, "dtd")


def test_unknown_split_is_told_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path, "kitti")
    with pytest.raises(OptionError, match="no split 'train'; it has slip, vtab"):
        load_split(tmp_path, "kitti", vocabulary("kitti"), "train")


def test_second_load_decodes_nothing_and_says_the_same(tmp_path: Path, reads: list[str]) -> None:
    expected = write(tmp_path, "pets")
    first = load_split(tmp_path, "pets", vocabulary("pets"))
    assert sorted(reads) == sorted(path for path, _ in expected)
    second = load_split(tmp_path, "pets", vocabulary("pets"))
    assert len(reads) == len(expected)
    assert second.images.fingerprint == first.images.fingerprint


def test_fingerprint_does_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    write(tmp_path / "a", "clevr")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    one, other = (load_split(tmp_path / place, "clevr", vocabulary("clevr")) for place in "ab")
    assert one.images.fingerprint == other.images.fingerprint


def test_progress_reaches_the_number_of_pictures(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    expected = write(tmp_path, "gtsrb")
    load_split(tmp_path, "gtsrb", vocabulary("gtsrb"), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(expected), len(expected))


# Labels by folder


def test_folders_of_flowers_sort_as_text_and_eleven_keep_their_names() -> None:
    words = shipped("flowers")
    labels = class_labels(CLASSIFICATION["flowers"], words.keys, "folders")
    assert sorted(labels) == list(range(102))
    assert [words.keys[labels.index(place)] for place in range(5)] == ["1", "10", "100", "101", "102"]
    assert sum(label == place for place, label in enumerate(labels)) == 11


def test_folders_of_aircraft_move_one_class_over_two_others() -> None:
    words = shipped("aircraft")
    labels = class_labels(CLASSIFICATION["aircraft"], words.keys, "folders")
    moved = {key: label - place for place, (key, label) in enumerate(zip(words.keys, labels, strict=True))}
    assert {key: by for key, by in moved.items() if by} == {"BAE 146-200": 1, "BAE 146-300": 1, "BAE-125": -2}


def test_lines_of_sun397_swap_two_classes() -> None:
    """The published names are sorted as words, the data set's own list by path."""
    words = shipped("sun397")
    labels = class_labels(CLASSIFICATION["sun397"], words.keys, "folders")
    moved = {key: label - place for place, (key, label) in enumerate(zip(words.keys, labels, strict=True))}
    assert {key: by for key, by in moved.items() if by} == {"/j/jail_cell": 1, "/j/jail/indoor": -1}


@pytest.mark.parametrize("name", ["imagenet", "dtd", "pets", "gtsrb", "kitti", "country211", "clevr", "sst2"])
def test_for_all_other_sets_folders_are_in_the_order_of_the_list(name: str) -> None:
    keys = shipped(name).keys
    assert class_labels(CLASSIFICATION[name], keys, "folders") == list(range(len(keys)))


def test_class_order_reaches_the_labels_and_not_the_pictures(tmp_path: Path) -> None:
    expected = write(tmp_path, "flowers")
    listed, folders = (
        load_split(tmp_path, "flowers", vocabulary("flowers"), class_order=order) for order in ("list", "folders")
    )
    assert folders.images.fingerprint == listed.images.fingerprint
    place = {"1": 0, "10": 1, "2": 2}
    assert folders.labels.tolist() == [place[key] for _, key in expected]


NAMES_OF_VARIANTS = st.text("abcXYZ019 /-", min_size=1, max_size=6)


@given(st.lists(NAMES_OF_VARIANTS, unique_by=lambda key: key.replace("/", "-").replace(" ", "-"), max_size=40))
def test_folder_order_is_a_permutation_that_sorts_the_folders(keys: list[str]) -> None:
    aircraft = CLASSIFICATION["aircraft"]
    labels = class_labels(aircraft, keys, "folders")
    assert sorted(labels) == list(range(len(keys)))
    assert aircraft.folder_of is not None
    by_label = [aircraft.folder_of(key) for _, key in sorted(zip(labels, keys, strict=True))]
    assert by_label == sorted(by_label)
    assert class_labels(aircraft, keys, "list") == list(range(len(keys)))


# The registry


def test_registry_loads_no_heavy_library() -> None:
    code = "import sys, benchmarks.data.classification; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "torchvision", "numpy", "scipy", "PIL", "pydantic", "h5py"} & set(done.stdout.split())


def test_official_sizes() -> None:
    sizes = {name: CLASSIFICATION[name].splits[CLASSIFICATION[name].default_split] for name in NAMES}
    assert sizes == {
        "imagenet": 50_000,
        "sun397": 19_850,
        "aircraft": 3_333,
        "dtd": 1_880,
        "pets": 3_669,
        "flowers": 6_149,
        "gtsrb": 12_630,
        "kitti": 1_496,
        "country211": 21_100,
        "clevr": 15_000,
        "sst2": 1_821,
    }


@pytest.mark.parametrize("name", NAMES)
def test_declaration_says_where_the_set_comes_from_and_how_to_get_it(name: str) -> None:
    declared = CLASSIFICATION[name]
    assert declared.homepage.startswith("http")
    assert declared.licence
    assert declared.downloads or declared.by_hand
    for download in declared.downloads:
        assert download.url.rpartition("/")[2] == download.filename.rpartition("/")[2]
