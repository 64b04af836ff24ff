"""The extended group: which pictures make up each split, under which keys, and that CIFAR's pickles run nothing."""

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.data.classification import load_split
from benchmarks.data.classification.cifar import pixels_of, read_batch
from benchmarks.data.classification.extended import (
    EXTENDED,
    read_caltech101,
    read_cars,
    read_eurosat,
    read_fer2013,
    read_food101,
)
from benchmarks.data.classification.registry import CLASSIFICATION
from benchmarks.data.vocabulary import shipped
from benchmarks.errors import DataError
from tests.data.classification.array_files import Bytes, noise, python2_pickle


def touch(folder: Path, *paths: str) -> None:
    """Empty files: listing a split opens none of them."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def write_jpeg(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(10, 12, 3, seed=seed)).save(path)


# Food-101


def write_food(folder: Path, names: Sequence[str]) -> None:
    touch(folder, *(f"food-101/images/{name}.jpg" for name in names))
    (folder / "food-101/meta").mkdir(exist_ok=True)
    (folder / "food-101/meta/test.txt").write_text("\n".join(names) + "\n")


def test_food101_follows_its_list(tmp_path: Path) -> None:
    write_food(tmp_path, ["waffles/9", "apple_pie/11", "apple_pie/2"])
    touch(tmp_path, "food-101/images/apple_pie/3.jpg")
    found = read_food101(tmp_path, "test", shipped("food101"))
    assert found.paths == tuple(f"food-101/images/{name}.jpg" for name in ("waffles/9", "apple_pie/11", "apple_pie/2"))
    assert found.keys == ("waffles", "apple_pie", "apple_pie")
    (tmp_path / "food-101/images/apple_pie/11.jpg").unlink()
    found = read_food101(tmp_path, "test", shipped("food101"))
    assert (len(found.paths), found.missing) == (2, 1)


def test_food101_unknown_class_is_named(tmp_path: Path) -> None:
    write_food(tmp_path, ["waffles/9", "gruel/1"])
    with pytest.raises(DataError, match=r"test\.txt: has the class 'gruel'"):
        read_food101(tmp_path, "test", shipped("food101"))
    (tmp_path / "food-101/meta/test.txt").unlink()
    with pytest.raises(DataError, match=r"test\.txt: cannot be read"):
        read_food101(tmp_path, "test", shipped("food101"))


# CIFAR


def write_cifar10(folder: Path, pixels: Bytes, labels: Any) -> Path:
    """``pixels`` are (N, 32, 32, 3)."""
    base = folder / "cifar-10-batches-py"
    base.mkdir(parents=True, exist_ok=True)
    flat = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    content = {"batch_label": "testing batch 1 of 1", "labels": labels, "data": flat, "filenames": ["a.png"]}
    (base / "test_batch").write_bytes(python2_pickle(content))
    (base / "batches.meta").write_bytes(python2_pickle({"label_names": list(shipped("cifar10").keys)}))
    return base


def test_cifar10_as_it_is_published(tmp_path: Path) -> None:
    pixels = noise(3, 32, 32, 3)
    write_cifar10(tmp_path / "cifar10", pixels, [3, 9, 0])
    split = load_split(tmp_path, "cifar10", shipped("cifar10"))
    assert split.labels.tolist() == [3, 9, 0]
    assert (split.official, split.complete) == (10_000, False)
    assert split.images.open(0).mode == "RGB"
    for index in range(3):
        assert np.array_equal(np.asarray(split.images.open(index)), pixels[index])


def test_cifar100_takes_the_fine_labels(tmp_path: Path) -> None:
    base = tmp_path / "cifar100/cifar-100-python"
    base.mkdir(parents=True)
    content = {"fine_labels": [99, 1], "coarse_labels": [0, 2], "data": noise(2, 3_072)}
    (base / "test").write_bytes(python2_pickle(content))
    names = {"coarse_label_names": ["fish"], "fine_label_names": list(shipped("cifar100").keys)}
    (base / "meta").write_bytes(python2_pickle(names))
    split = load_split(tmp_path, "cifar100", shipped("cifar100"))
    assert split.labels.tolist() == [99, 1]
    assert shipped("cifar100").keys[1] == "aquarium_fish"


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickle_of_todays_numpy_is_read_too(tmp_path: Path, protocol: int) -> None:
    """People store these files anew; protocol 2 then writes bytes through a codec's name, which is refused."""
    data = noise(2, 3_072)
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": data}, protocol))
    if protocol == 2:
        with pytest.raises(DataError, match=r"wants to call _codecs\.encode"):
            read_batch(path)
    else:
        pixels = pixels_of(path, read_batch(path))
        assert np.array_equal(pixels.transpose(0, 3, 1, 2).reshape(2, -1), data)


@given(st.integers(0, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_written_pickle_is_what_pickle_reads(tmp_path_factory: pytest.TempPathFactory, count: int, seed: int) -> None:
    """The restricted reader finds the array that Python's own finds in the same bytes."""
    data = noise(count, 3_072, seed=seed)
    written = python2_pickle({"data": data, "labels": list(range(count))})
    expected = pickle.loads(written, encoding="latin1")
    assert np.array_equal(expected["data"], data)
    path = tmp_path_factory.mktemp("cifar") / "batch"
    path.write_bytes(written)
    found = read_batch(path)
    assert found["labels"] == expected["labels"]
    assert np.array_equal(pixels_of(path, found).transpose(0, 3, 1, 2).reshape(count, 3_072), data)


class _Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("place", ["test_batch", "batches.meta"])
@pytest.mark.parametrize("call", [os.mkdir, exec, eval, getattr, np.load, pickle.loads])
def test_cifar_pickle_runs_nothing(tmp_path: Path, place: str, call: Any) -> None:
    base = write_cifar10(tmp_path / "cifar10", noise(1, 32, 32, 3), [1])
    target = tmp_path / "trapped"
    argument = str(target) if call is os.mkdir else f"__import__('os').mkdir({str(target)!r})"
    (base / place).write_bytes(pickle.dumps({"data": _Trap(call, argument), "label_names": [], "labels": []}, 4))
    with pytest.raises(DataError, match=rf"{place}: is no batch of CIFAR \(it wants to call .*nothing was executed"):
        load_split(tmp_path, "cifar10", shipped("cifar10"))
    assert not target.exists()


def test_cifar_objects_in_an_array_are_refused(tmp_path: Path) -> None:
    """NumPy's own reconstruction would take them."""
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": np.array([[print, 1]], object)}, 4))
    with pytest.raises(DataError, match=r"wants to call builtins\.print"):
        read_batch(path)
    path.write_bytes(pickle.dumps({"data": np.array([["a", 1]], object)}, 4))
    with pytest.raises(DataError, match="is no array of N × 3,072 bytes"):
        pixels_of(path, read_batch(path))


@pytest.mark.parametrize(
    "data",
    [
        None,
        [1, 2],
        np.zeros((2, 3_071), np.uint8),
        np.zeros((2, 3_072), np.float32),
        np.zeros((2, 3, 1_024), np.uint8),
        np.zeros((3_072, 2), np.uint8).T,
    ],
    ids=["none", "list", "short", "floats", "planes", "columns"],
)
def test_cifar_data_of_another_form_is_named(tmp_path: Path, data: Any) -> None:
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": data}, 4))
    with pytest.raises(DataError, match=r"batch: its 'data' is no array"):
        pixels_of(path, read_batch(path))


@pytest.mark.parametrize("kept", [0, 1, 30, 200, 3_000])
def test_truncated_cifar_is_named(tmp_path: Path, kept: int) -> None:
    base = write_cifar10(tmp_path, noise(1, 32, 32, 3), [1])
    (base / "test_batch").write_bytes((base / "test_batch").read_bytes()[:kept])
    with pytest.raises(DataError, match=r"test_batch: is no batch of CIFAR .*get the original") as caught:
        read_batch(base / "test_batch")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2], "has 2 labels for 1 pictures"),
        ([10], "holds the label 10, but there are 10 classes"),
        ("1", "has no list of numbers 'labels'"),
        (["1"], "has no list of numbers 'labels'"),
    ],
)
def test_cifar_labels_must_fit(tmp_path: Path, labels: Any, message: str) -> None:
    write_cifar10(tmp_path / "cifar10", noise(1, 32, 32, 3), labels)
    with pytest.raises(DataError, match=rf"test_batch: {message}"):
        load_split(tmp_path, "cifar10", shipped("cifar10"))


def test_cifar_names_must_be_there(tmp_path: Path) -> None:
    base = write_cifar10(tmp_path / "cifar10", noise(1, 32, 32, 3), [1])
    (base / "batches.meta").write_bytes(python2_pickle({"names": ["a"]}))
    with pytest.raises(DataError, match=r"batches\.meta: has no list of texts 'label_names'"):
        load_split(tmp_path, "cifar10", shipped("cifar10"))
    (base / "batches.meta").write_bytes(pickle.dumps([1], 2))
    with pytest.raises(DataError, match=r"batches\.meta: .*holds no dict"):
        load_split(tmp_path, "cifar10", shipped("cifar10"))
    (base / "batches.meta").unlink()
    with pytest.raises(DataError, match=r"batches\.meta: missing; run `bench data prepare cifar10`"):
        load_split(tmp_path, "cifar10", shipped("cifar10"))


# Stanford Cars


def write_cars(folder: Path, rows: Sequence[tuple[str, int]]) -> Path:
    """The labelled list as MATLAB has it: a structure for each picture."""
    from scipy.io import savemat

    names = ["bbox_x1", "class", "fname"]
    annotations = np.array([[(1, label, name) for name, label in rows]], [(name, object) for name in names])
    path = folder / "stanford_cars/cars_test_annos_withlabels.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"annotations": annotations})
    touch(folder, *(f"stanford_cars/cars_test/{name}" for name, _ in rows))
    return path


@pytest.mark.parametrize("count", [1, 3])
def test_cars_follow_the_labelled_list(tmp_path: Path, count: int) -> None:
    rows = [("00001.jpg", 181), ("00003.jpg", 1), ("00002.jpg", 196)][:count]
    write_cars(tmp_path, rows)
    found = read_cars(tmp_path, "test", shipped("cars"))
    assert found.paths == tuple(f"stanford_cars/cars_test/{name}" for name, _ in rows)
    assert found.keys == tuple(str(label) for _, label in rows)


def test_cars_keys_are_places_in_the_list() -> None:
    vocabulary = shipped("cars")
    assert vocabulary.names[vocabulary.keys.index("1")] == ("AM General Hummer SUV 2000",)
    assert vocabulary.names[vocabulary.keys.index("196")] == ("smart fortwo Convertible 2012",)


def test_cars_without_labels_say_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"withlabels\.mat: missing, .*no longer hand it out"):
        read_cars(tmp_path, "test", shipped("cars"))
    path = write_cars(tmp_path, [("00001.jpg", 197)])
    with pytest.raises(DataError, match=r"has the class '197'"):
        read_cars(tmp_path, "test", shipped("cars"))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"not found", b""):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"withlabels\.mat: is no list of Stanford Cars' labels"):
            read_cars(tmp_path, "test", shipped("cars"))


# Caltech-101


def write_caltech(folder: Path, counts: dict[str, int], place: str = "caltech101/101_ObjectCategories") -> None:
    for key, count in counts.items():
        touch(folder, *(f"{place}/{key}/image_{number:04d}.jpg" for number in range(1, count + 1)))


def test_caltech_tests_on_what_training_leaves(tmp_path: Path) -> None:
    write_caltech(tmp_path, {"accordion": 55, "BACKGROUND_Google": 40, "Faces": 31})
    touch(tmp_path, "caltech101/101_ObjectCategories/BACKGROUND_Google/tmp")
    found = read_caltech101(tmp_path, "slip", shipped("caltech101"))
    counts = {key: found.keys.count(key) for key in dict.fromkeys(found.keys)}
    assert list(counts.items()) == [("BACKGROUND_Google", 10), ("Faces", 1), ("accordion", 25)]
    assert len(set(found.paths)) == 36
    everything = read_caltech101(tmp_path, "all", shipped("caltech101"))
    assert len(everything.paths) == 126
    assert set(found.paths) < set(everything.paths)
    assert not any(path.endswith("tmp") for path in everything.paths)


def test_caltech_draw_is_pinned(tmp_path: Path) -> None:
    """NumPy's legacy generator with seed 0, one class after the other: the pictures that every user gets."""
    write_caltech(tmp_path, {"accordion": 33, "airplanes": 34})
    found = read_caltech101(tmp_path, "slip", shipped("caltech101"))
    generator = np.random.RandomState(0)
    training = [set(generator.choice(count, 30, replace=False).tolist()) for count in (33, 34)]
    left = [sorted(set(range(count)) - taken) for count, taken in zip((33, 34), training, strict=True)]
    assert [int(path[-8:-4]) - 1 for path in found.paths] == [*left[0], *left[1]]
    assert read_caltech101(tmp_path, "slip", shipped("caltech101")) == found


def test_caltech_lies_where_its_archive_puts_it(tmp_path: Path) -> None:
    write_caltech(tmp_path, {"ant": 42}, "caltech101/caltech-101/101_ObjectCategories")
    found = read_caltech101(tmp_path, "slip", shipped("caltech101"))
    assert found.paths[0].startswith("caltech101/caltech-101/101_ObjectCategories/ant/image_")


def test_caltech_refuses_what_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"101_ObjectCategories: no such folder; unpack caltech-101\.zip"):
        read_caltech101(tmp_path, "slip", shipped("caltech101"))
    write_caltech(tmp_path, {"ant": 42, "bass": 30})
    with pytest.raises(DataError, match=r"bass: holds 30 pictures, but 30 are set aside"):
        read_caltech101(tmp_path, "slip", shipped("caltech101"))
    assert len(read_caltech101(tmp_path, "all", shipped("caltech101")).paths) == 72
    write_caltech(tmp_path, {"unicorn": 40})
    with pytest.raises(DataError, match="'unicorn'"):
        read_caltech101(tmp_path, "slip", shipped("caltech101"))


# EuroSAT


def test_eurosat_val_is_slips(tmp_path: Path) -> None:
    """Their converter sorts each class's names as text and takes the 1,001st to the 1,500th."""
    keys = shipped("eurosat").keys
    for key in keys:
        (tmp_path / "eurosat/2750" / key).mkdir(parents=True)
    names = [f"Pasture_{number}.jpg" for number in range(1, 2_001)]
    touch(tmp_path, *(f"eurosat/2750/Pasture/{name}" for name in names))
    found = read_eurosat(tmp_path, "val", shipped("eurosat"))
    assert found.paths == tuple(f"eurosat/2750/Pasture/{name}" for name in sorted(names)[1_000:1_500])
    assert set(found.keys) == {"Pasture"}
    assert found.missing == 4_500
    touch(tmp_path, "eurosat/2750/SeaLake/SeaLake_1.jpg", "eurosat/2750/SeaLake/SeaLake_3000.jpg")
    everything = read_eurosat(tmp_path, "all", shipped("eurosat"))
    assert (len(everything.paths), everything.missing) == (2_002, 27_000 - 2_002)


def test_eurosat_part_does_not_depend_on_what_is_missing(tmp_path: Path) -> None:
    for key in shipped("eurosat").keys:
        touch(tmp_path, f"eurosat/2750/{key}/{key}_1900.jpg", f"eurosat/2750/{key}/{key}_1.jpg")
    found = read_eurosat(tmp_path, "val", shipped("eurosat"))
    names = {key: sorted(f"{key}_{number}.jpg" for number in range(1, 3_001)) for key in ("Forest", "River")}
    assert names["Forest"].index("Forest_1900.jpg") in range(1_000, 1_500)
    assert "eurosat/2750/Forest/Forest_1900.jpg" in found.paths
    assert not any(path.endswith("_1.jpg") for path in found.paths)


def test_eurosat_class_that_is_missing_is_named(tmp_path: Path) -> None:
    for key in shipped("eurosat").keys[:-1]:
        (tmp_path / "eurosat/2750" / key).mkdir(parents=True)
    with pytest.raises(DataError, match=r"2750: lacks the class 'SeaLake'"):
        read_eurosat(tmp_path, "val", shipped("eurosat"))


# FER-2013

FACES = noise(5, 48, 48)
EMOTIONS = (6, 0, 3, 4, 5)
USAGES = ("Training", "PublicTest", "PrivateTest", "PublicTest", "PrivateTest")


def write_fer(folder: Path, name: str, faces: Bytes = FACES, emotions: Sequence[Any] = EMOTIONS) -> Path:
    """One of the two tables, whose columns are in another order."""
    rows = [
        {"emotion": str(emotion), "pixels": " ".join(map(str, face.reshape(-1))), "Usage": usage}
        for face, emotion, usage in zip(faces, emotions, USAGES, strict=True)
    ]
    columns, separator = (["emotion", "pixels", "Usage"], ",")
    if name == "icml_face_data.csv":
        columns, separator = (["emotion", "Usage", "pixels"], ", ")
    lines = [separator.join(columns)] + [",".join(row[column] for column in columns) for row in rows]
    path = folder / "fer2013" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", ["fer2013.csv", "icml_face_data.csv"])
def test_fer2013_translates_its_numbers(tmp_path: Path, name: str) -> None:
    write_fer(tmp_path / "fer2013", name)
    split = load_split(tmp_path, "fer2013", shipped("fer2013"))
    keys = [shipped("fer2013").keys[label] for label in split.labels]
    assert keys == ["angry", "happy", "sad", "surprise"]
    assert split.labels.tolist() == [0, 3, 5, 6], "neutral comes before sad in the vocabulary"
    assert list(split.images.sample_ids) == [
        "PublicTest-0000",
        "PrivateTest-0000",
        "PublicTest-0001",
        "PrivateTest-0001",
    ]
    assert split.images.open(0).mode == "L"
    assert np.array_equal(np.asarray(split.images.open(1)), FACES[2])
    assert split.official == 7_178


def test_fer2013_private_is_a_part(tmp_path: Path) -> None:
    write_fer(tmp_path, "fer2013.csv")
    found = read_fer2013(tmp_path, "private", shipped("fer2013"))
    assert found.paths == ("PrivateTest-0000", "PrivateTest-0001")
    assert found.keys == ("happy", "surprise")


def test_fer2013_neutral_is_its_last_number(tmp_path: Path) -> None:
    write_fer(tmp_path, "fer2013.csv", emotions=(0, 6, 1, 2, 6))
    assert read_fer2013(tmp_path, "test", shipped("fer2013")).keys == ("neutral", "disgust", "fear", "neutral")


def test_fer2013_folders(tmp_path: Path) -> None:
    for seed, key in enumerate(shipped("fer2013").keys):
        write_jpeg(tmp_path / f"fer2013/fer2013/test/{key}/PublicTest_{seed}.jpg", seed)
        write_jpeg(tmp_path / f"fer2013/fer2013/test/{key}/PrivateTest_{seed}.jpg", seed)
    split = load_split(tmp_path, "fer2013", shipped("fer2013"))
    assert split.labels.tolist() == [label for label in range(7) for _ in range(2)]
    assert load_split(tmp_path, "fer2013", shipped("fer2013"), "private").labels.tolist() == list(range(7))


def test_fer2013_without_labels_says_so(tmp_path: Path) -> None:
    touch(tmp_path, "fer2013/test.csv")
    with pytest.raises(DataError, match=r"test\.csv has no labels; accept the rules"):
        read_fer2013(tmp_path, "test", shipped("fer2013"))
    (tmp_path / "fer2013/fer2013.csv").write_text("emotion,pixels\n1,2 3\n")
    with pytest.raises(DataError, match=r"fer2013\.csv: has no column 'Usage'"):
        read_fer2013(tmp_path, "test", shipped("fer2013"))
    (tmp_path / "fer2013/fer2013.csv").write_text("")
    with pytest.raises(DataError, match=r"fer2013\.csv: has no column"):
        read_fer2013(tmp_path, "test", shipped("fer2013"))


@pytest.mark.parametrize(
    "line", ["1,2 3,PublicTest", "7,{},PublicTest", "x,{},PublicTest", "1,{} 300,PublicTest", "-1,{},PublicTest"]
)
def test_fer2013_row_that_is_no_face_is_named(tmp_path: Path, line: str) -> None:
    path = write_fer(tmp_path, "fer2013.csv")
    pixels = " ".join(["9"] * (48 * 48 - line.count("300")))
    path.write_text(path.read_text() + line.format(pixels) + "\n")
    with pytest.raises(DataError, match=r"fer2013\.csv: line 7 is no face"):
        read_fer2013(tmp_path, "test", shipped("fer2013"))


def test_truncated_fer2013_is_named(tmp_path: Path) -> None:
    path = write_fer(tmp_path, "icml_face_data.csv")
    path.write_text(path.read_text()[:-50])
    with pytest.raises(DataError, match=r"icml_face_data\.csv: line 6 is no face"):
        read_fer2013(tmp_path, "test", shipped("fer2013"))


# The declarations


def test_extended_sets_are_registered_and_whole() -> None:
    names = ["food101", "cifar10", "cifar100", "cars", "caltech101", "eurosat", "fer2013"]
    assert [declared.name for declared in EXTENDED] == names
    for declared in EXTENDED:
        assert CLASSIFICATION[declared.name] is declared
        assert shipped(declared.name).keys
        assert declared.downloads or declared.by_hand
        assert all(download.md5 for download in declared.downloads)


@pytest.mark.parametrize("declared", EXTENDED, ids=lambda declared: declared.name)
def test_folder_order_is_list_order(declared: Any) -> None:
    """Of these sets, unlike Flowers and Aircraft, SLIP's folders sort as its lists do."""
    if declared.folder_of is not None:
        folders = [declared.folder_of(key) for key in shipped(declared.name).keys]
        assert folders == sorted(folders)


def test_food101_end_to_end(tmp_path: Path) -> None:
    """Real files through the same door as every set."""
    for seed, name in enumerate(["waffles/9", "apple_pie/11"]):
        write_jpeg(tmp_path / f"food101/food-101/images/{name}.jpg", seed)
    (tmp_path / "food101/food-101/meta").mkdir()
    (tmp_path / "food101/food-101/meta/test.txt").write_text("waffles/9\napple_pie/11\napple_pie/12\n")
    split = load_split(tmp_path, "food101", shipped("food101"))
    assert split.labels.tolist() == [100, 0]
    assert not split.complete
    assert split.images.open(0).size == (12, 10)
