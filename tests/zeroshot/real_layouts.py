"""Small real subsets of the data sets, put into the official layouts, and what a reader must find in each.

Labels, class names and prompts come from the raw material (``BENCH_REAL_DATA``), never through the project's readers.
"""

import gzip
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from timm.data import ImageNetInfo

from tests.data.classification.array_files import write_stl10
from tests.data.test_karpathy import entry, write

CLEVR_COUNTS = sorted(f"count_{number}" for number in range(3, 11))
VTAB_TO_SLIP = {0: 2, 1: 1, 2: 0, 3: 3}
"""VTAB counts distances upwards (below 8 m, below 20 m, farther, no vehicle); SLIP's folders sort as above_20,
below_20, below_8, no_vehicle."""


@dataclass(frozen=True)
class Classes:
    """A classification set: pictures are opened anew at every walk; names and templates are those SLIP publishes."""

    opened: Callable[[], Iterator[Image.Image]]
    labels: list[int]
    names: list[str]
    templates: list[str]


@dataclass(frozen=True)
class Captioned:
    """A retrieval set."""

    files: list[Path]
    captions: list[list[str]]

    def opened(self) -> Iterator[Image.Image]:
        return _opened(self.files)


def write_classes(data_root: Path, real: Path, name: str) -> Classes:
    """Lay ``name`` out below ``data_root``."""
    published = _PUBLISHED.get(name, name)
    names = json.loads((real / "prompts/labels.json").read_text())[published]
    templates = json.loads((real / "prompts/templates.json").read_text())[published]
    opened, labels = _WRITERS[name](data_root / name, real / "zeroshot", names)
    return Classes(opened, labels, names, templates)


def flickr8k_of(data_root: Path, real: Path) -> Captioned:
    """As it is: 100 pictures of the test split."""
    data_root.mkdir(parents=True)
    (data_root / "flickr8k").symlink_to(real / "flickr8k")
    content = json.loads((real / "flickr8k/dataset_flickr8k.json").read_text())["images"]
    chosen = [image for image in content if image["split"] == "test"]
    files = [real / "flickr8k/images" / image["filename"] for image in chosen]
    return Captioned(files, [[sentence["raw"] for sentence in image["sentences"]] for image in chosen])


def coco_of(data_root: Path, real: Path) -> Captioned:
    """The 102 pictures of val2017 as if they were Karpathy's test split, every tenth with two captions more."""
    content = json.loads((real / "coco/annotations/captions_val2017.json").read_text())
    own: dict[int, list[str]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        own[annotation["image_id"]].append(annotation["caption"])
    for number, texts in enumerate(own.values()):
        if number % 10 == 0:
            texts += [f"There is {texts[0].lower()}", f"{texts[1].rstrip('. ')}, seen from here."]
    (data_root / "coco/annotations").mkdir(parents=True)
    (data_root / "coco/val2017").symlink_to(real / "coco/val2017")
    images = [
        entry(f"COCO_val2014_{number:012d}.jpg", "test", *texts, filepath="val2014") for number, texts in own.items()
    ]
    write(data_root / "coco/annotations/dataset_coco.json", *images)
    return Captioned([real / f"coco/val2017/{number:012d}.jpg" for number in own], list(own.values()))


Written = tuple[Callable[[], Iterator[Image.Image]], list[int]]


def _opened(files: Sequence[Path]) -> Iterator[Image.Image]:
    for file in files:
        with Image.open(file) as picture:
            yield picture


def _mnist(folder: Path, raw: Path, names: Sequence[str]) -> Written:
    (folder / "MNIST/raw").mkdir(parents=True)
    for file in (raw / "mnist").glob("*.gz"):
        (folder / "MNIST/raw" / file.name).symlink_to(file)
    with gzip.open(raw / "mnist/t10k-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(raw / "mnist/t10k-labels-idx1-ubyte.gz") as stream:
        labels = np.frombuffer(stream.read(), np.uint8, offset=8).tolist()
    return lambda: (Image.fromarray(picture) for picture in pixels), labels


def _gtsrb(folder: Path, raw: Path, names: Sequence[str]) -> Written:
    pictures = folder / "gtsrb/GTSRB/Final_Test"
    pictures.mkdir(parents=True)
    (pictures / "Images").symlink_to(raw / "gtsrb/Final_Test_32px")
    shutil.copy(raw / "gtsrb/GT-final_test.csv", folder / "gtsrb")
    rows = [line.split(";") for line in (raw / "gtsrb/labels_860.csv").read_text().splitlines()[1:]]
    rows.sort()
    files = [raw / "gtsrb/Final_Test_32px" / name for name, _ in rows]
    return lambda: _opened(files), [int(label) for _, label in rows]


def _stl10(folder: Path, raw: Path, names: Sequence[str]) -> Written:
    files = [next((raw / "stl10" / name).glob("*.png")) for name in reversed(names)]
    labels = list(reversed(range(len(names))))
    pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in _opened(files)])
    write_stl10(folder, pixels, [label + 1 for label in labels], names)
    return lambda: _opened(files), labels


def _kitti(folder: Path, raw: Path, names: Sequence[str]) -> Written:
    """65 labels, of whose pictures a random fifth is taken: those 13 are the real ones, the others are not there."""
    top = folder / "Kitti/raw/training"
    for kind in ("image_2", "label_2"):
        (top / kind).mkdir(parents=True)
    labels = json.loads((raw / "kitti_distance/vtab_labels.json").read_text())
    taken = dict(zip(sorted(np.random.RandomState(0).permutation(65)[52:].tolist()), sorted(labels), strict=True))
    for number in range(65):
        name = taken.get(number, "000000")
        shutil.copy(raw / f"kitti_distance/label_2/{name}.txt", top / f"label_2/{number:06d}.txt")
        if number in taken:
            (top / f"image_2/{number:06d}.png").symlink_to(raw / f"kitti_distance/image_2/{name}.png")
    files = [raw / f"kitti_distance/image_2/{name}.png" for name in taken.values()]
    return lambda: _opened(files), [VTAB_TO_SLIP[labels[name]] for name in taken.values()]


def _clevr(folder: Path, raw: Path, names: Sequence[str]) -> Written:
    base = folder / "clevr/CLEVR_v1.0"
    for place in ("images", "scenes"):
        (base / place).mkdir(parents=True)
    (base / "images/val").symlink_to(raw / "clevr_counts/images")
    counts: dict[str, int] = json.loads((raw / "clevr_counts/counts.json").read_text())
    scenes = [{"image_filename": name, "objects": [{}] * count} for name, count in counts.items()]
    (base / "scenes/CLEVR_val_scenes.json").write_text(json.dumps({"info": {}, "scenes": scenes}))
    files = [raw / "clevr_counts/images" / name for name in counts]
    return lambda: _opened(files), [CLEVR_COUNTS.index(f"count_{count}") for count in counts.values()]


def _imagenet(folder: Path, raw: Path, names: Sequence[str]) -> Written:

    (folder / "val").mkdir(parents=True)
    wnids: list[str] = ImageNetInfo("imagenet-1k").label_names()
    files = []
    for place in sorted(path for path in (raw / "imagenet_val_25").iterdir() if path.is_dir()):
        (folder / "val" / place.name).symlink_to(place)
        files += sorted(place.glob("*.JPEG"))
    return lambda: _opened(files), [wnids.index(file.parent.name) for file in files]


_WRITERS: Mapping[str, Callable[[Path, Path, Any], Written]] = {
    "mnist": _mnist,
    "gtsrb": _gtsrb,
    "stl10": _stl10,
    "kitti": _kitti,
    "clevr": _clevr,
    "imagenet": _imagenet,
}
_PUBLISHED = {"kitti": "kitti_distance", "clevr": "clevr_counts"}
