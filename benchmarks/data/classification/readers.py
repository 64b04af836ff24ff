"""Readers of the data sets whose pictures lie as files: which pictures a split has, and the class of each.

No picture is opened here. torchvision's own classes for these sets are not used where they keep the paths to themselves
(underscored attributes), check md5 sums that a subset cannot have, or have another split.
"""

import bisect
import csv
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data.classification.listing import (
    content,
    entries,
    lines,
    listed,
    listing_of,
    matlab_numbers,
    present,
    require_classes,
)
from benchmarks.data.classification.split import Listing, Reader
from benchmarks.errors import DataError

if TYPE_CHECKING:
    from benchmarks.data.vocabulary import Vocabulary

_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".gif", ".webp")
_SUN397_PICTURES = 108_754  # in the whole set
_SUN397_SEED = 0  # of SLIP's builder
_KITTI = "Kitti/raw/training"
_KITTI_SEED = 0  # SLIP's builder sets none: its own split cannot be had again
_KITTI_SIZE = 7_481
_VEHICLES = frozenset({"Car", "Van", "Truck"})


def class_folders(place: str) -> Reader:
    """A reader of ``<place>/<key>/<picture>``: classes sorted by key, pictures by name.

    Args:
        place: path beneath the data set's folder, in which ``{split}`` stands for the name of the split.
    """

    def read(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
        inside = place.format(split=split)
        there = entries(folder / inside, folders=True)
        require_classes(folder / inside, there, vocabulary)
        names = {key: sorted(entries(folder / inside / key)) for key in sorted(there)}
        pairs = ((f"{inside}/{key}/{name}", key) for key in names for name in names[key])
        return listing_of(pair for pair in pairs if pair[0].lower().endswith(_SUFFIXES))

    return read


def read_sun397(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """``testing_01`` as the publishers' list names it, or ``slip``.

    ``slip`` is the fifth of each class that SLIP's builder holds out: 70 % training, 10 % validation, the rest test,
    by one random generator with seed 0 over the classes in the order of their list. The builder shuffles each class
    folder in the order in which the file system happens to list it; here it is sorted first.
    """
    names, pictures = folder / "SUN397/ClassName.txt", folder / "SUN397/Testing_01.txt"
    classes = lines(names)
    require_classes(names, classes, vocabulary)
    there = [key for key in classes if (folder / f"SUN397{key}").is_dir()]
    require_classes(folder / "SUN397", there, vocabulary)
    if split == "testing_01":
        pairs = [(f"SUN397{path}", path.rpartition("/")[0]) for path in lines(pictures)]
        return listed(pictures, folder, pairs, vocabulary)
    generator = random.Random(_SUN397_SEED)
    files = {key: sorted(entries(folder / f"SUN397{key}")) for key in there}
    absent = max(0, _SUN397_PICTURES - sum(map(len, files.values())))
    taken = ((f"SUN397{key}/{name}", key) for key in there for name in _held_out(files[key], generator))
    return listing_of(taken, missing=math.ceil(absent / 5))


def _held_out(names: Sequence[str], generator: random.Random) -> list[str]:
    """The test part of one class, sorted."""
    shuffled = list(names)
    generator.shuffle(shuffled)
    return sorted(shuffled[round(0.7 * len(names)) + round(0.1 * len(names)) :])


def read_aircraft(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """FGVC-Aircraft's 100 variants, in the order of its list, whose lines are ``<number> <variant>``."""
    data = "fgvc-aircraft-2013b/data"
    names, pictures = folder / data / "variants.txt", folder / data / f"images_variant_{split}.txt"
    require_classes(names, lines(names), vocabulary)
    rows = [line.partition(" ") for line in lines(pictures)]
    return listed(pictures, folder, [(f"{data}/images/{number}.jpg", key) for number, _, key in rows], vocabulary)


def read_dtd(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """The first of DTD's ten partitions, whose lines are ``<class>/<picture>``.

    The archive may be unpacked in the data set's folder or, as torchvision does, in a folder ``dtd`` of that.
    """
    base = "dtd/dtd" if (folder / "dtd/dtd").is_dir() else "dtd"
    top, pictures = folder / base / "images", folder / base / f"labels/{split}1.txt"
    require_classes(top, entries(top, folders=True), vocabulary)
    pairs = [(f"{base}/images/{path}", path.partition("/")[0]) for path in lines(pictures)]
    return listed(pictures, folder, pairs, vocabulary)


def read_pets(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """Oxford-IIIT Pet: the class is what stands before the last ``_`` of a picture's name."""
    pictures = folder / f"oxford-iiit-pet/annotations/{split}.txt"
    names = [line.partition(" ")[0] for line in lines(pictures)]
    pairs = [(f"oxford-iiit-pet/images/{name}.jpg", name.rpartition("_")[0]) for name in names]
    return listed(pictures, folder, pairs, vocabulary)


def read_flowers(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """Oxford Flowers: pictures of the split and classes of all pictures are two MATLAB files."""
    pictures, classes = folder / "flowers-102/setid.mat", folder / "flowers-102/imagelabels.mat"
    numbers, keys = matlab_numbers(pictures, {"test": "tstid"}[split]), matlab_numbers(classes, "labels")
    if not all(1 <= number <= len(keys) for number in numbers):
        raise DataError(f"{pictures}: names pictures that {classes.name} lacks; fetch both files anew")
    pairs = [(f"flowers-102/jpg/image_{number:05d}.jpg", str(keys[number - 1])) for number in numbers]
    return listed(pictures, folder, pairs, vocabulary)


def read_gtsrb(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """GTSRB's final test, in the order of its table."""
    table = folder / "gtsrb/GT-final_test.csv"
    try:
        pairs = [
            (f"gtsrb/GTSRB/Final_Test/Images/{row['Filename']}", f"{int(row['ClassId']):05d}")
            for row in csv.DictReader(lines(table), delimiter=";", skipinitialspace=True)
        ]
    except (KeyError, TypeError, ValueError, csv.Error):
        raise DataError(f"{table}: is not GTSRB's table Filename;...;ClassId, or not whole; fetch it anew") from None
    return listed(table, folder, pairs, vocabulary)


def read_kitti(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """KITTI's distance to the nearest vehicle, in the order of the pictures' numbers.

    ``slip``: a random fifth of the training pictures that have labels, as SLIP's builder takes it, with a seed.
    ``vtab``: the tenth of the videos that TensorFlow Datasets, and so VTAB, holds out.
    """
    top = folder / _KITTI
    labels = sorted(name[:-4] for name in entries(top / "label_2") if name.endswith(".txt"))
    taken = (
        _random_fifth(_population(labels)) if split == "slip" else _videos_held_out(folder / "Kitti/raw/devkit/mapping")
    )
    behind = {"slip": "no_vehicle", "vtab": "below_8"}[split]
    pictures = entries(top / "image_2")
    there = [name for name in taken if f"{name}.png" in pictures]
    keys = [nearest_vehicle(top / f"label_2/{name}.txt", behind) for name in there]
    pairs = zip((f"{_KITTI}/image_2/{name}.png" for name in there), keys, strict=True)
    return listing_of(pairs, missing=len(taken) - len(there))


def nearest_vehicle(labels: Path, behind: str = "no_vehicle") -> str:
    """The class of a picture: how far away its nearest car, van or truck is, in metres along the optical axis.

    Args:
        labels: KITTI's label file; field 1 is the kind of object, field 14 its z.
        behind: the class if that z is not above 0: ``no_vehicle`` in SLIP's builder, ``below_8`` in VTAB.

    Returns:
        ``no_vehicle``, ``below_8`` (up to and with 8), ``below_20`` or ``above_20``.

    Raises:
        DataError: the file is missing or is no label file.
    """
    rows = [line.split() for line in lines(labels)]
    try:
        distances = [float(row[13]) for row in rows if row[0] in _VEHICLES]
    except (IndexError, ValueError) as error:
        raise DataError(f"{labels}: is no label file of KITTI; put the original file in its place") from error
    if not distances:
        return "no_vehicle"
    return (behind, "below_8", "below_20", "above_20")[bisect.bisect_left((0.0, 8.0, 20.0), min(distances))]


def _population(labels: Sequence[str]) -> Sequence[str]:
    """All that the fifth is drawn from: KITTI's 7,481 numbers, so that a missing file does not change the draw.

    Where fewer than half of the labels are there it is another, smaller set, of which a fifth is drawn.
    """
    return [f"{number:06d}" for number in range(_KITTI_SIZE)] if 2 * len(labels) >= _KITTI_SIZE else labels


def _random_fifth(names: Sequence[str]) -> list[str]:
    """What is left of a random permutation after its first 80 %: 1,496 of 7,481."""
    import numpy as np

    order = np.random.RandomState(_KITTI_SEED).permutation(len(names))  # a stream that NumPy promises to keep
    return [names[index] for index in sorted(order[round(0.8 * len(names)) :])]


def _videos_held_out(mapping: Path) -> list[str]:
    """Pictures of a tenth of the videos, as TensorFlow Datasets draws them (seed 123).

    Line ``train_rand[i]`` (from 1) of ``train_mapping`` is the day, the video and the frame of training picture i.
    """
    import numpy as np

    for name in ("train_rand.txt", "train_mapping.txt"):
        if not (mapping / name).is_file():
            raise DataError(
                f"{mapping / name}: missing, and the split vtab needs it; unpack KITTI's object development kit "
                f"(devkit_object.zip) in {mapping.parent}"
            )
    try:
        places = [int(place) - 1 for place in ",".join(lines(mapping / "train_rand.txt")).split(",")]
        frames = lines(mapping / "train_mapping.txt")
        videos = [frames[place].split(" ")[1] for place in places]
    except (IndexError, ValueError) as error:
        raise DataError(f"{mapping}: its two files do not belong together; unpack devkit_object.zip anew") from error
    kinds = sorted(set(videos))
    drawn = set(np.random.RandomState(123).choice(kinds, max(1, len(kinds) // 10), replace=False).tolist())
    return [f"{index:06d}" for index, video in enumerate(videos) if video in drawn]


def read_clevr(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """CLEVR's validation pictures in the order of their scenes; the key is ``count_`` and the number of objects."""
    from pydantic import BaseModel, ValidationError

    class Scene(BaseModel):
        image_filename: str
        objects: list[Any]

    class Scenes(BaseModel):
        scenes: list[Scene]

    base = "clevr/CLEVR_v1.0"
    file = folder / base / f"scenes/CLEVR_{split}_scenes.json"
    try:
        scenes = Scenes.model_validate_json(content(file)).scenes
    except ValidationError:
        raise DataError(f"{file}: is no list of CLEVR's scenes, or not whole; unpack CLEVR_v1.0.zip anew") from None
    place = f"{base}/images/{split}"
    return present(file, folder, [(f"{place}/{s.image_filename}", f"count_{len(s.objects)}") for s in scenes])
