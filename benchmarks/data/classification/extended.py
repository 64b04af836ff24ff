"""The group ``extended``: further sets of SLIP's and A-CLIP's evaluation, of which the paper prints no cell.

Keys of Stanford Cars are its labels, ``1`` to ``196``. FER-2013 numbers its emotions in another order than the
vocabulary, which has them alphabetically as SLIP does; the reader translates.
"""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data.classification.cifar import cifar
from benchmarks.data.classification.listing import entries, lines, listed, listing_of, require_classes
from benchmarks.data.classification.split import ClassificationDataSet, Listing
from benchmarks.data.presence import Presence
from benchmarks.download import Download
from benchmarks.errors import DataError

if TYPE_CHECKING:
    from benchmarks.data.vocabulary import Vocabulary

_CALTECH = ("caltech101/101_ObjectCategories", "caltech101/caltech-101/101_ObjectCategories")
_CALTECH_TRAINING = 30  # pictures of each class that are not tested on
_CALTECH_SEED = 0  # of SLIP's converter
_EUROSAT = "eurosat/2750"
_EUROSAT_COUNTS = {
    "AnnualCrop": 3_000,
    "Forest": 3_000,
    "HerbaceousVegetation": 3_000,
    "Highway": 2_500,
    "Industrial": 2_500,
    "Pasture": 2_000,
    "PermanentCrop": 2_500,
    "Residential": 3_000,
    "River": 2_500,
    "SeaLake": 3_000,
}
_EUROSAT_VAL = slice(1_000, 1_500)
_FER_EMOTIONS = dict(zip("0123456", ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"), strict=True))
_FER_USAGES = {"test": ("PublicTest", "PrivateTest"), "private": ("PrivateTest",)}
_FER_SIDE = 48


def read_food101(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """Food-101's test pictures in the order of ``meta/test.txt``, whose lines are ``<class>/<number>``."""
    file = folder / f"food-101/meta/{split}.txt"
    pairs = [(f"food-101/images/{name}.jpg", name.partition("/")[0]) for name in lines(file)]
    return listed(file, folder, pairs, vocabulary)


def read_cars(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """Stanford Cars' test pictures in the order of its labelled list."""
    file = folder / "stanford_cars/cars_test_annos_withlabels.mat"
    pairs = [(f"stanford_cars/cars_{split}/{name}", str(label)) for name, label in _car_labels(file)]
    return listed(file, folder, pairs, vocabulary)


def _car_labels(file: Path) -> list[tuple[str, int]]:
    """File name and label of each picture."""
    import struct
    import zlib

    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not file.is_file():
        raise DataError(f"{file}: missing, and the test pictures have no other labels; {_CARS_BY_HAND}")
    try:
        rows = np.atleast_1d(loadmat(str(file), squeeze_me=True)["annotations"])
        return [(str(row["fname"]), int(row["class"])) for row in rows]
    except (KeyError, ValueError, TypeError, IndexError, NotImplementedError, MatReadError, OSError, zlib.error,
            struct.error) as error:  # fmt: skip
        raise DataError(f"{file}: is no list of Stanford Cars' labels, or is damaged; get the original") from error


def read_caltech101(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """Caltech-101 with its background class: ``slip``, or ``all`` pictures; classes sorted, pictures by name.

    No partition is published. The usual protocol, VTAB's and SLIP's, draws 30 training pictures a class and tests on
    the others. ``slip`` is drawn as SLIP's converter draws it, by one generator with seed 0; the converter takes the
    classes in the order in which the file system happens to list them, here they are sorted. A copy that lacks
    pictures draws others.
    """
    import numpy as np

    place = next((place for place in _CALTECH if (folder / place).is_dir()), _CALTECH[0])
    if not (folder / place).is_dir():
        raise DataError(f"{folder / place}: no such folder; {_CALTECH_BY_HAND}")
    classes = sorted(entries(folder / place, folders=True))
    require_classes(folder / place, classes, vocabulary)
    generator = np.random.RandomState(_CALTECH_SEED)  # a stream that NumPy promises to keep
    pairs: list[tuple[str, str]] = []
    for key in classes:
        # The background's folder also holds a file "tmp", which is not one of the pictures.
        names = sorted(name for name in entries(folder / place / key) if name.endswith(".jpg"))
        held_out = set(range(len(names)))
        if split == "slip":
            if len(names) <= _CALTECH_TRAINING:
                raise DataError(
                    f"{folder / place / key}: holds {len(names)} pictures, but {_CALTECH_TRAINING} are set aside for "
                    "training and the rest is tested on; restore the class"
                )
            held_out -= set(generator.choice(len(names), size=_CALTECH_TRAINING, replace=False).tolist())
        pairs += [(f"{place}/{key}/{names[index]}", key) for index in sorted(held_out)]
    return listing_of(pairs)


def read_eurosat(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """EuroSAT's RGB pictures: ``val``, or ``all`` of them; classes sorted, pictures by name as text.

    No partition is published. ``val`` is SLIP's: the 1,001st to 1,500th picture of each class. The pictures are
    numbered, so that what belongs to it is known even where some are missing.
    """
    require_classes(folder / _EUROSAT, entries(folder / _EUROSAT, folders=True), vocabulary)
    part = _EUROSAT_VAL if split == "val" else slice(None)
    pairs = [
        (f"{_EUROSAT}/{key}/{name}", key)
        for key, count in _EUROSAT_COUNTS.items()
        for name in sorted(f"{key}_{number}.jpg" for number in range(1, count + 1))[part]
    ]
    return listed(folder / _EUROSAT, folder, pairs, vocabulary)


def read_fer2013(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """FER-2013's ``test`` (public and private together, 7,178) or ``private`` test pictures (3,589).

    Read from ``fer2013.csv``, else ``icml_face_data.csv``, else from the class folders of ``test/`` in which the set
    is also handed on.

    Raises:
        DataError: none of them is there, or a row is no picture with a label.
    """
    base = folder / "fer2013"
    for name in ("fer2013.csv", "icml_face_data.csv"):
        if (base / name).is_file():
            return _fer_table(base / name, split)
    if (base / "test").is_dir():
        return _fer_folders(base / "test", split, vocabulary)
    unlabelled = "test.csv has no labels; " if (base / "test.csv").is_file() else ""
    raise DataError(f"{base}: neither fer2013.csv nor icml_face_data.csv is there; {unlabelled}{_FER_BY_HAND}")


def _fer_table(file: Path, split: str) -> Listing:
    """The rows of a split in their order, each called by its usage and its place among those of that usage."""
    import numpy as np

    paths, keys, content = [], [], bytearray()
    places = dict.fromkeys(_FER_USAGES[split], 0)
    for number, row in enumerate(_rows(file), 2):
        usage = row.get("Usage")
        if usage not in places:
            continue
        try:
            pixels, key = bytes(map(int, row["pixels"].split())), _FER_EMOTIONS[row["emotion"]]
        except (KeyError, ValueError, AttributeError):
            pixels, key = b"", ""
        if len(pixels) != _FER_SIDE**2:
            raise DataError(f"{file}: line {number} is no face of 48 × 48 bytes with an emotion; get the original")
        paths.append(f"{usage}-{places[usage]:04d}")
        keys.append(key)
        content += pixels
        places[usage] += 1
    faces = np.frombuffer(content, np.uint8).reshape(-1, _FER_SIDE, _FER_SIDE)
    return Listing(tuple(paths), tuple(keys), faces)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table by the names in its first line; one of the files has spaces before them."""
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        table = csv.DictReader(stream, skipinitialspace=True)
        missing = {"emotion", "pixels", "Usage"}.difference(table.fieldnames or ())
        if missing:
            raise DataError(f"{file}: has no column {min(missing)!r}; get the original")
        try:
            yield from table
        except csv.Error as error:
            raise DataError(f"{file}: line {table.line_num} cannot be read ({error}); get the original") from error


def _fer_folders(top: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """The class folders; a picture's name begins with its usage."""
    classes = sorted(entries(top, folders=True))
    require_classes(top, classes, vocabulary)
    return listing_of(
        (f"fer2013/test/{key}/{name}", key) for key in classes for name in _of_usages(entries(top / key), split)
    )


def _of_usages(names: Iterable[str], split: str) -> list[str]:
    return sorted(name for name in names if name.startswith(_FER_USAGES[split]))


_CARS_BY_HAND = (
    "its publishers no longer hand it out: put a copy of cars_test/ and of cars_test_annos_withlabels.mat in "
    "stanford_cars/"
)
_CALTECH_BY_HAND = (
    "unpack caltech-101.zip, and the 101_ObjectCategories.tar.gz that it holds, so that the class folders lie in "
    "caltech101/101_ObjectCategories"
)
_FER_BY_HAND = (
    "accept the rules at "
    "https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge and put "
    "icml_face_data.csv (or fer2013.csv) in fer2013/"
)

EXTENDED = (
    ClassificationDataSet(
        name="food101",
        title="Food-101, 101 dishes",
        splits={"test": 25_250},
        read=read_food101,
        layout="food-101/{images/<class>/<number>.jpg,meta/test.txt}",
        presence=Presence(("food-101/meta/test.txt",), {"food-101/images": 101_000}),
        homepage="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        licence="pictures from foodspotting.com: scientific fair use",
        downloads=(
            Download(
                "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
                "food-101.tar.gz",
                md5="85eeb15f3717b99a5da872d97d918f87",
            ),
        ),
    ),
    ClassificationDataSet(
        name="cifar10",
        title="CIFAR-10, 10 classes",
        splits={"test": 10_000},
        read=cifar("cifar-10-batches-py/test_batch", "cifar-10-batches-py/batches.meta", "labels", "label_names"),
        layout="cifar-10-batches-py/{test_batch,batches.meta}",
        presence=Presence(("cifar-10-batches-py/test_batch", "cifar-10-batches-py/batches.meta")),
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated; cite Krizhevsky 2009",
        downloads=(
            Download(
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                "cifar-10-python.tar.gz",
                md5="c58f30108f718f92721af3b95e74349a",
            ),
        ),
        folder_of=None,
    ),
    ClassificationDataSet(
        name="cifar100",
        title="CIFAR-100, 100 classes",
        splits={"test": 10_000},
        read=cifar("cifar-100-python/test", "cifar-100-python/meta", "fine_labels", "fine_label_names"),
        layout="cifar-100-python/{test,meta}",
        presence=Presence(("cifar-100-python/test", "cifar-100-python/meta")),
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated; cite Krizhevsky 2009",
        downloads=(
            Download(
                "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
                "cifar-100-python.tar.gz",
                md5="eb9058c3a382ffc7106e4002c42a8d85",
            ),
        ),
        folder_of=None,
    ),
    ClassificationDataSet(
        name="cars",
        title="Stanford Cars, 196 models",
        splits={"test": 8_041},
        read=read_cars,
        layout="stanford_cars/{cars_test/<number>.jpg,cars_test_annos_withlabels.mat}",
        presence=Presence(("stanford_cars/cars_test_annos_withlabels.mat",), {"stanford_cars/cars_test": 8_041}),
        homepage="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
        licence="non-commercial research",
        by_hand=_CARS_BY_HAND,
        folder_of=lambda key: f"{int(key) - 1:03d}",
    ),
    ClassificationDataSet(
        name="caltech101",
        title="Caltech-101, 101 classes and background",
        splits={"slip": 6_084, "all": 9_144},
        read=read_caltech101,
        layout="caltech101/101_ObjectCategories/<class>/image_<number>.jpg",
        presence=Presence((), {"caltech101/101_ObjectCategories|caltech101/caltech-101/101_ObjectCategories": 9_144}),
        homepage="https://data.caltech.edu/records/mzrjq-6wc02",
        licence="CC BY 4.0",
        downloads=(
            Download(
                "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
                "caltech101/caltech-101.zip",
                md5="3138e1922a9193bfa496528edbbc45d0",
            ),
        ),
        by_hand=_CALTECH_BY_HAND,
        note=(
            "no partition is published: slip draws 30 training pictures a class as SLIP's converter does, with sorted "
            "classes, and tests on the rest; all is the whole set"
        ),
    ),
    ClassificationDataSet(
        name="eurosat",
        title="EuroSAT, 10 kinds of land use",
        splits={"val": 5_000, "all": 27_000},
        read=read_eurosat,
        layout="eurosat/2750/<class>/<class>_<number>.jpg",
        presence=Presence((), {"eurosat/2750": 27_000}),
        homepage="https://github.com/phelber/eurosat",
        licence="MIT; Copernicus Sentinel data",
        downloads=(
            Download(
                "https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
                "c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
                "eurosat/EuroSAT.zip",
                md5="c8fa014336c82ac7804f0398fcb19387",
            ),
        ),
        note="no partition is published: val is SLIP's, the 1,001st to 1,500th picture of each class; all is the whole",
    ),
    ClassificationDataSet(
        name="fer2013",
        title="FER-2013, 7 emotions",
        splits={"test": 7_178, "private": 3_589},
        read=read_fer2013,
        layout="fer2013/icml_face_data.csv, fer2013/fer2013.csv or fer2013/test/<class>/",
        presence=Presence(("fer2013/*.csv|fer2013/test",)),
        homepage="https://www.kaggle.com/c/challenges-in-representation-learning-facial-expression-recognition-challenge",
        licence="the competition's rules: research",
        by_hand=_FER_BY_HAND,
        note="test is the public and the private test together, as the set's folders have them; private is the latter",
    ),
)
"""The declarations, in the order of SLIP's catalogue."""
