"""The zero-shot views of the sample: official layouts, labels true to the scenes, the same bytes every time."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy.io import loadmat
from torchvision import datasets
from torchvision.datasets.mnist import read_image_file, read_label_file

from benchmarks.data import captions, retrieval, world
from benchmarks.data.classification import load_split
from benchmarks.data.root import SAMPLE_MARKER
from benchmarks.data.sample_views import draw, write
from benchmarks.data.sample_views.draw import group, portrait, traffic
from benchmarks.data.sample_views.sets import VIEWS, View
from benchmarks.data.vocabulary import vocabulary_of

SEED, PICTURES, DESCRIBED = 4, 1, 2
BY_NAME = {view.dataset: view for view in VIEWS}
TABLE_3 = (
    "sun397", "aircraft", "dtd", "pets", "flowers", "gtsrb", "mnist", "stl10", "kitti", "country211", "pcam", "clevr",
    "sst2",
)  # fmt: skip
RETRIEVAL = ("flickr30k", "flickr8k", "coco")

Pixels = npt.NDArray[np.uint8]
Found = list[tuple[Pixels, str]]
"""Pictures with the keys of their classes, each class in the order in which its pictures were drawn."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One picture of each class (KITTI has three), and two to be retrieved from each set."""
    folder = tmp_path_factory.mktemp("views") / "sample"
    write.write_views(folder, SEED, PICTURES, DESCRIBED)
    (folder / SAMPLE_MARKER).write_text("{}")
    return folder


@cache
def scenes_of(dataset: str) -> list[tuple[world.Scene, str]]:
    """What each class of a set shows, in the order in which the pictures are drawn."""
    view, number = BY_NAME[dataset], [view.dataset for view in VIEWS].index(dataset) + 1
    rounds = view.repeats * -(-PICTURES // len(view.classes))
    return [
        (category.draw(SEED, write._first_index(number, label, turn)), category.key)
        for turn in range(rounds)
        for label, category in enumerate(view.classes)
    ]


# Readers of the layouts that share nothing with the project's own: torchvision's, or a few lines


def pixels(path: str | Path) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB"))


def in_order(found: list[tuple[str | Path, str]]) -> Found:
    """Pictures by the number at the end of their names."""
    numbered = sorted(found, key=lambda pair: int(Path(pair[0]).stem.rpartition("_")[2]))
    return [(pixels(path), key) for path, key in numbered]


def read_imagenet(folder: Path) -> Found:
    data = datasets.ImageFolder(str(folder / "val"))
    return in_order([(path, data.classes[label]) for path, label in data.samples])


def read_sun397(folder: Path) -> Found:
    data = datasets.SUN397(folder)
    listed = (folder / "SUN397" / "Testing_01.txt").read_text().split()
    files = [path.relative_to(folder / "SUN397") for path in data._image_files]
    assert sorted(listed) == sorted(f"/{path}" for path in files)
    keys = [f"/{name[0]}/{name}" for name in data.classes]
    assert (folder / "SUN397" / "ClassName.txt").read_text().split() == keys
    return in_order([(path, keys[label]) for path, label in zip(data._image_files, data._labels, strict=True)])


def read_aircraft(folder: Path) -> Found:
    data = datasets.FGVCAircraft(folder, "test", "variant")
    return in_order([(path, data.classes[label]) for path, label in zip(data._image_files, data._labels, strict=True)])


def read_dtd(folder: Path) -> Found:
    data = datasets.DTD(folder, "test")
    return in_order([(path, data.classes[label]) for path, label in zip(data._image_files, data._labels, strict=True)])


def read_pets(folder: Path) -> Found:
    data = datasets.OxfordIIITPet(folder, "test")
    assert data.classes == [view.key.replace("_", " ").title() for view in BY_NAME["pets"].classes]
    keys = [category.key for category in BY_NAME["pets"].classes]
    return in_order([(path, keys[label]) for path, label in zip(data._images, data._labels, strict=True)])


def read_flowers(folder: Path) -> Found:
    inner = folder / "flowers-102"
    labels = loadmat(inner / "imagelabels.mat")["labels"]
    sets = loadmat(inner / "setid.mat")
    assert sets["trnid"].size == sets["valid"].size == 0
    return [
        (pixels(inner / "jpg" / f"image_{number:05d}.jpg"), str(labels[0, number - 1])) for number in sets["tstid"][0]
    ]


def read_gtsrb(folder: Path) -> Found:
    data = datasets.GTSRB(str(folder), "test")
    return in_order([(path, f"{label:05d}") for path, label in data._samples])


def read_mnist(folder: Path) -> Found:
    raw = folder / "MNIST" / "raw"
    images, labels = read_image_file(raw / "t10k-images-idx3-ubyte"), read_label_file(raw / "t10k-labels-idx1-ubyte")
    assert images.shape == (len(labels), 28, 28)
    return [(image, str(int(label))) for image, label in zip(images.numpy(), labels, strict=True)]


def read_stl10(folder: Path) -> Found:
    inner = folder / "stl10_binary"
    planes = np.fromfile(inner / "test_X.bin", np.uint8).reshape(-1, 3, 96, 96)
    names = (inner / "class_names.txt").read_text().split()
    labels = np.fromfile(inner / "test_y.bin", np.uint8) - 1
    return [(plane.transpose(2, 1, 0), names[label]) for plane, label in zip(planes, labels, strict=True)]


def read_kitti(folder: Path) -> Found:
    data = datasets.Kitti(str(folder))
    found: list[tuple[str | Path, str]] = []
    for index, path in enumerate(data.images):
        cars = [thing["location"][2] for thing in data._parse_target(index) if thing["type"] == "Car"]
        nearest = min(cars, default=None)
        found.append((path, "no_vehicle" if nearest is None else distance_class(nearest)))
    return in_order(found)


def distance_class(metres: float) -> str:
    return "below_8" if metres <= 8 else "below_20" if metres <= 20 else "above_20"


def read_country211(folder: Path) -> Found:
    data = datasets.Country211(folder, "test")
    return in_order([(path, data.classes[label]) for path, label in data.samples])


def read_pcam(folder: Path) -> Found:
    data = datasets.PCAM(folder, "val")
    return [(np.asarray(image), ("no_tumor", "tumor")[int(label)]) for image, label in data]


def read_clevr(folder: Path) -> Found:
    data = datasets.CLEVRClassification(folder, "val")
    return in_order([(path, f"count_{count}") for path, count in zip(data._image_files, data._labels, strict=True)])


def read_sst2(folder: Path) -> Found:
    data = datasets.RenderedSST2(folder, "test")
    return in_order([(path, data.classes[label]) for path, label in data._samples])


READERS: dict[str, Callable[[Path], Found]] = {
    name: globals()[f"read_{name}"] for name in ("imagenet", *TABLE_3)
}  # fmt: skip


# Classification


def test_every_set_of_tables_2_and_3_has_a_view(root: Path) -> None:
    assert set(BY_NAME) == {"imagenet", *TABLE_3}
    assert {path.name for path in root.iterdir()} == {*BY_NAME, *RETRIEVAL, SAMPLE_MARKER}


@pytest.mark.parametrize("dataset", READERS)
def test_independent_reader_finds_every_scene_under_its_class(root: Path, dataset: str) -> None:
    found, scenes = READERS[dataset](root / dataset), scenes_of(dataset)
    assert [key for _, key in found] == [key for _, key in scenes]
    assert set(Counter(key for _, key in found).values()) == {len(found) // len(BY_NAME[dataset].classes)}
    for (stored, _), (scene, _) in zip(found, scenes, strict=True):
        drawn = world.paint(scene)
        if dataset == "mnist":
            drawn = np.asarray(Image.fromarray(drawn).convert("L").resize((28, 28)))
        assert np.abs(stored.astype(int) - drawn).mean() < 9  # JPEG; 0 for the others


@pytest.mark.parametrize("dataset", ["gtsrb", "mnist", "stl10", "kitti", "pcam", "clevr", "sst2"])
def test_formats_without_loss_hold_the_very_pixels(root: Path, dataset: str) -> None:
    stored, _ = READERS[dataset](root / dataset)[-1]
    drawn = world.paint(scenes_of(dataset)[-1][0])
    if dataset == "mnist":
        drawn = np.asarray(Image.fromarray(drawn).convert("L").resize((28, 28)))
    np.testing.assert_array_equal(stored, drawn)


@pytest.mark.parametrize("dataset", READERS)
def test_the_readers_of_the_real_sets_read_it_unchanged(root: Path, dataset: str) -> None:
    vocabulary = vocabulary_of(root, dataset)
    split = load_split(root, dataset, vocabulary)
    mine = READERS[dataset](root / dataset)
    assert split.is_sample
    assert split.complete
    assert split.classes == len(vocabulary.keys)
    assert len(split.images) == (round(len(mine) / 5) if dataset == "kitti" else len(mine))  # SLIP's random fifth
    known = {(picture.tobytes(), key) for picture, key in mine}
    for index in range(len(split.images)):
        image = split.images.open(index)
        shown = np.asarray(image if dataset == "mnist" else image.convert("RGB"))
        assert (shown.tobytes(), vocabulary.keys[split.labels[index]]) in known


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.dataset)
def test_vocabulary_names_each_class_once(root: Path, view: View) -> None:
    vocabulary = vocabulary_of(root, view.dataset)
    keys = tuple(category.key for category in view.classes)
    assert vocabulary.keys == keys
    assert len(set(keys)) == len(set(vocabulary.names)) == len(keys)
    assert vocabulary.names == tuple((category.name,) for category in view.classes)
    assert all(template.count("{}") == 1 for template in vocabulary.templates)


@pytest.mark.parametrize("dataset", ["sun397", "dtd", "pets", "stl10", "kitti", "country211", "clevr", "sst2"])
def test_keys_of_folders_are_in_the_order_in_which_they_sort(dataset: str) -> None:
    keys = [category.key for category in BY_NAME[dataset].classes]
    assert keys == sorted(keys)


def test_pets_have_two_species_told_by_the_capital(root: Path) -> None:
    rows = [line.split() for line in (root / "pets/oxford-iiit-pet/annotations/test.txt").read_text().splitlines()]
    assert {name[0].isupper() for name, _, species, _ in rows if species == "1"} == {True}
    assert {name[0].isupper() for name, _, species, _ in rows if species == "2"} == {False}
    assert len({(species, breed) for _, _, species, breed in rows}) == len({label for _, label, _, _ in rows}) == 10


def test_table_of_gtsrb_tells_the_size(root: Path) -> None:
    with (root / "gtsrb/gtsrb/GT-final_test.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    assert {(row["Width"], row["Height"], row["Roi.X1"], row["Roi.Y2"]) for row in rows} == {("48", "48", "0", "47")}


# What classes ask for is what their scenes show


def main_things(view: View, label: int) -> list[world.Instance]:
    """The things of the class's kind in scenes of it."""
    wanted = view.classes[label].name.split()[-1]
    scenes = [scene for scene, key in scenes_of(view.dataset) if key == view.classes[label].key]
    assert scenes
    return [next(thing for thing in scene.instances if thing.category == wanted) for scene in scenes]


@pytest.mark.parametrize("dataset", ["imagenet", "aircraft", "pets", "flowers", "gtsrb", "mnist", "stl10"])
def test_named_thing_is_in_the_picture_in_its_colour(dataset: str) -> None:
    view = BY_NAME[dataset]
    for label, category in enumerate(view.classes):
        colours = {thing.colour for thing in main_things(view, label)}
        if " " in category.name:
            assert colours == {category.name.split()[0]}


def test_portrait_has_the_place_and_background_that_it_is_asked_for() -> None:
    for index in range(0, 5_000, 1_000):
        scene = portrait(32, place="shore", sky="orange")(0, index)
        assert scene.setting == "shore"
        assert scene.background[0].colour == "orange"
        assert portrait(32, ["boat", "chair"], place="room")(0, index).setting == "room"


def test_portrait_of_a_colour_shows_only_things_that_come_in_it() -> None:
    for index in range(0, 12_000, 1_000):
        assert "purple" in {thing.colour for thing in portrait(32, colour="purple")(0, index).instances}


def test_portrait_that_never_comes_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "TRIES", 3)
    with pytest.raises(AssertionError, match="no ball before"):
        portrait(32, ["ball"], sky="plaid")(0, 0)


@pytest.mark.parametrize(("low", "high"), [(3.5, 7.5), (9.0, 19.0), (22.0, 35.0)])
def test_nearest_car_is_as_far_away_as_asked_and_seen(low: float, high: float) -> None:
    for index in range(10):
        scene = traffic((low, high), 80, 52)(1, index)
        away = [world.metres_away(thing, 80) for thing in scene.instances if thing.category == "car"]
        assert low <= min(away) <= high
        nearest = max((thing for thing in scene.instances if thing.category == "car"), key=lambda car: car.box[3])
        assert world.visible_masks(scene)[scene.instances.index(nearest)].any()


def test_street_without_cars_has_none() -> None:
    assert not [
        thing for index in range(20) for thing in traffic(None, 80, 52)(1, index).instances if thing.category == "car"
    ]


@pytest.mark.parametrize("count", range(3, 11))
def test_group_shows_as_many_things_as_asked(count: int) -> None:
    scene = group(count, 96, 64)(2, count)
    assert len(scene.instances) == count
    masks = world.visible_masks(scene)
    assert masks.any(axis=(1, 2)).all()
    for thing, mask in zip(scene.instances, masks, strict=True):
        left, top, right, bottom = thing.box
        assert 0 <= left < right <= 96
        assert 0 <= top < bottom <= 64
        assert mask.sum() > 0.5 * (right - left - 1) * (bottom - top - 1)  # nothing hides it; a ball fills 0.79


def test_no_picture_is_one_of_the_pairs_or_of_the_held_out_folders() -> None:
    """Pairs are of the other split; the held-out ones have the indices below 1,000 a class."""
    largest_held_out = 1_000 * len(world.THINGS)
    firsts = [write._first_index(number, label, 0) for number in (1, 17) for label in (0, 12)]
    assert min(firsts) > largest_held_out
    assert max(firsts) < 2**32


def test_ranges_of_indices_do_not_meet() -> None:
    step = write._first_index(1, 0, 1) - write._first_index(1, 0, 0)
    assert step >= 1_000  # of tries
    assert write._first_index(1, 0, 999) < write._first_index(1, 1, 0)
    assert write._first_index(1, 99, 999) < write._first_index(2, 0, 0)


# Retrieval


@pytest.mark.parametrize("dataset", RETRIEVAL)
def test_retrieval_set_has_five_different_captions_a_picture(root: Path, dataset: str) -> None:
    split = retrieval.load_split(root, dataset)
    assert split.is_sample
    assert split.complete
    assert len(split.images) == DESCRIBED
    assert [len(set(said)) for said in split.captions] == [5] * DESCRIBED


@pytest.mark.parametrize("dataset", RETRIEVAL)
def test_captions_speak_of_the_picture(root: Path, dataset: str) -> None:
    number = len(VIEWS) + 1 + RETRIEVAL.index(dataset)
    split = retrieval.load_split(root, dataset)
    for turn, said in enumerate(split.captions):
        thing = world.THINGS[turn]
        scene, main = world.draw_portrait(SEED, "validation", write._first_index(number, 0, turn), thing, 128)
        stored = np.asarray(split.images.open(turn), int)
        assert np.abs(stored - world.paint(scene)).mean() < 9
        assert all(captions.name_thing(main) in text for text in said)


def test_json_is_karpathys(root: Path) -> None:
    content = json.loads((root / "coco/annotations/dataset_coco.json").read_text())
    assert content["dataset"] == "coco"
    image = content["images"][1]
    assert image["filename"] == "COCO_val2014_000000000002.jpg"
    assert image["filepath"] == "val2014"
    assert (image["split"], image["imgid"], image["sentids"]) == ("test", 1, [5, 6, 7, 8, 9])
    assert [sentence["sentid"] for sentence in image["sentences"]] == image["sentids"]
    assert {sentence["imgid"] for sentence in image["sentences"]} == {1}
    for sentence in image["sentences"]:
        assert " ".join(sentence["tokens"]) == sentence["raw"].replace(",", "").rstrip(".")
    flickr = json.loads((root / "flickr30k/dataset_flickr30k.json").read_text())
    assert "filepath" not in flickr["images"][0]
    assert (root / "flickr30k/images" / flickr["images"][0]["filename"]).is_file()


# The same bytes


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_same_seed_gives_the_same_bytes_in_another_process(root: Path, tmp_path: Path) -> None:
    """Later, too: the formats that like to hold the time (MATLAB's, HDF5) do not."""
    code = (
        "from pathlib import Path; from benchmarks.data.sample_views import write_views; "
        f"write_views(Path({str(tmp_path / 'again')!r}), {SEED}, {PICTURES}, {DESCRIBED})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    again, first = contents(tmp_path / "again"), contents(root)
    assert again == {path: content for path, content in first.items() if path != SAMPLE_MARKER}


def test_picture_does_not_depend_on_how_many_there_are(root: Path, tmp_path: Path) -> None:
    number = [view.dataset for view in VIEWS].index("sst2") + 1
    write._write_classes(tmp_path, BY_NAME["sst2"], SEED, number, 5)
    more, fewer = read_sst2(tmp_path), read_sst2(root / "sst2")
    assert (len(more), len(fewer)) == (6, 2)  # 5, rounded up to whole turns
    for (one, key), (other, its_key) in zip(fewer, more[:2], strict=True):
        assert key == its_key
        np.testing.assert_array_equal(one, other)


def test_none_are_written_where_none_are_asked_for(tmp_path: Path) -> None:
    write.write_views(tmp_path, SEED, 0, 0)
    assert list(tmp_path.iterdir()) == []
    write.write_views(tmp_path, SEED, 0, 1)
    assert {path.name for path in tmp_path.iterdir()} == set(RETRIEVAL)


def test_seed_changes_the_pictures(root: Path, tmp_path: Path) -> None:
    number = [view.dataset for view in VIEWS].index("sst2") + 1
    write._write_classes(tmp_path, BY_NAME["sst2"], SEED + 1, number, 1)
    assert not np.array_equal(read_sst2(tmp_path)[0][0], read_sst2(root / "sst2")[0][0])
