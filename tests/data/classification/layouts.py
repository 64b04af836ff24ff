"""Every file-based data set in miniature, laid out as its publishers do, and the pictures that a reader must find."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.data.vocabulary import Vocabulary

Expected = list[tuple[str, str]]
"""(path beneath the data set's folder, key) of each picture, in the order in which they must be found."""

KEYS: Mapping[str, tuple[str, ...]] = {
    "imagenet": ("n01440764", "n01443537", "n02099601"),
    "sun397": ("/a/abbey", "/c/church/indoor", "/c/church/outdoor"),
    "aircraft": ("BAE 146-200", "BAE-125", "F/A-18"),
    "dtd": ("banded", "blotchy", "zigzagged"),
    "pets": ("Abyssinian", "Maine_Coon", "american_bulldog"),
    "flowers": ("1", "2", "10"),
    "gtsrb": ("00000", "00001", "00002"),
    "kitti": ("above_20", "below_20", "below_8", "no_vehicle"),
    "country211": ("AD", "AE", "ZW"),
    "clevr": ("count_10", "count_3", "count_4"),
    "sst2": ("negative", "positive"),
}
"""Miniature vocabularies, in label order."""


def vocabulary(name: str, keys: Sequence[str] | None = None) -> Vocabulary:
    """A vocabulary whose names are its keys."""
    taken = tuple(KEYS[name] if keys is None else keys)
    return Vocabulary(name, taken, tuple((key,) for key in taken), ("a photo of a {}.",), "the test")


def write_picture(path: Path, mode: str = "RGB") -> Path:
    """A noisy picture of 12 × 9 pixels; its content depends on its name alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(path.name.encode())).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def write_lines(path: Path, lines: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def _folders(place: str, suffix: str) -> Callable[[Path, Sequence[str]], Expected]:
    def write(folder: Path, keys: Sequence[str]) -> Expected:
        found = [(f"{place}/{key}/{key}_{index}{suffix}", key) for key in keys for index in (1, 2)]
        for path, _ in found:
            write_picture(folder / path)
        return sorted(found)

    return write


def _listed(folder: Path, found: Expected) -> Expected:
    for path, _ in found:
        write_picture(folder / path)
    return found


def _sun397(folder: Path, keys: Sequence[str]) -> Expected:
    write_lines(folder / "SUN397/ClassName.txt", keys)
    paths = {(key, index): f"{key}/sun_{place}{index}.jpg" for place, key in enumerate(keys) for index in range(10)}
    names = [paths[key, index] for index in (5, 2) for key in keys]
    write_lines(folder / "SUN397/Testing_01.txt", names)
    for path in paths.values():
        write_picture(folder / f"SUN397{path}")
    return [(f"SUN397{name}", name.rpartition("/")[0]) for name in names]


def _aircraft(folder: Path, keys: Sequence[str]) -> Expected:
    data = "fgvc-aircraft-2013b/data"
    write_lines(folder / data / "variants.txt", keys)
    rows = [(f"{1514522 - index}", key) for index, key in enumerate([*keys, *keys])]
    write_lines(folder / data / "images_variant_test.txt", [f"{number} {key}" for number, key in rows])
    return _listed(folder, [(f"{data}/images/{number}.jpg", key) for number, key in rows])


def _dtd(folder: Path, keys: Sequence[str]) -> Expected:
    names = [(f"{key}/{key}_{index:04d}.jpg", key) for key in keys for index in (30, 4)]
    write_lines(folder / "dtd/labels/test1.txt", [name for name, _ in names])
    return _listed(folder, [(f"dtd/images/{name}", key) for name, key in names])


def _pets(folder: Path, keys: Sequence[str]) -> Expected:
    names = [(f"{key}_{index}", key) for key in reversed(keys) for index in (201, 1)]
    lines = [f"{name} {keys.index(key) + 1} 1 1" for name, key in names]
    write_lines(folder / "oxford-iiit-pet/annotations/test.txt", lines)
    return _listed(folder, [(f"oxford-iiit-pet/images/{name}.jpg", key) for name, key in names])


def _flowers(folder: Path, keys: Sequence[str]) -> Expected:
    from scipy.io import savemat

    labels = [int(key) for key in keys for _ in range(3)]
    numbers = [number for number in range(len(labels), 0, -1) if number % 3]
    (folder / "flowers-102").mkdir(parents=True)
    savemat(folder / "flowers-102/imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    others = np.array([[3]], np.uint16)
    sets = {"trnid": others, "valid": others, "tstid": np.array([numbers], np.uint16)}
    savemat(folder / "flowers-102/setid.mat", sets)
    return _listed(folder, [(f"flowers-102/jpg/image_{n:05d}.jpg", str(labels[n - 1])) for n in numbers])


def _gtsrb(folder: Path, keys: Sequence[str]) -> Expected:
    rows = [(f"{index:05d}.ppm", key) for index, key in enumerate([*reversed(keys), *keys])]
    table = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    write_lines(
        folder / "gtsrb/GT-final_test.csv", table + [f"{name};53;54;6;5;48;49;{int(key)}" for name, key in rows]
    )
    return _listed(folder, [(f"gtsrb/GTSRB/Final_Test/Images/{name}", key) for name, key in rows])


def kitti_line(kind: str, z: float) -> str:
    """A line of a label file: kind, truncation, occlusion, angle, 4 of the box, 3 sizes, x, y, z, rotation."""
    return f"{kind} 0.00 0 -1.57 100.00 150.00 300.00 250.00 1.50 1.60 3.70 2.00 1.60 {z:.2f} -1.58"


def _kitti(folder: Path, keys: Sequence[str]) -> Expected:
    """Ten pictures, of which the split takes two."""
    top = folder / "Kitti/raw/training"
    distance = {"above_20": 30.0, "below_20": 15.0, "below_8": 5.0}
    found = []
    for index in range(10):
        key = keys[index % len(keys)]
        lines = [kitti_line("Pedestrian", 1.0)]
        if key in distance:
            lines += [kitti_line("Van", 60.0), kitti_line("Car", distance[key])]
        write_lines(top / f"label_2/{index:06d}.txt", lines)
        write_picture(top / f"image_2/{index:06d}.png")
        found.append((f"Kitti/raw/training/image_2/{index:06d}.png", key))
    taken = sorted(np.random.RandomState(0).permutation(10)[8:])
    return [found[index] for index in taken]


def _clevr(folder: Path, keys: Sequence[str]) -> Expected:
    base = "clevr/CLEVR_v1.0"
    rows = [(f"CLEVR_val_{index:06d}.png", key) for index, key in enumerate([*keys, *keys])]
    scenes = [{"image_filename": name, "objects": [{}] * int(key.rpartition("_")[2])} for name, key in rows]
    (folder / base / "scenes").mkdir(parents=True)
    (folder / base / "scenes/CLEVR_val_scenes.json").write_text(json.dumps({"info": {}, "scenes": scenes}))
    return _listed(folder, [(f"{base}/images/val/{name}", key) for name, key in rows])


_WRITERS: Mapping[str, Callable[[Path, Sequence[str]], Expected]] = {
    "imagenet": _folders("val", ".JPEG"),
    "sun397": _sun397,
    "aircraft": _aircraft,
    "dtd": _dtd,
    "pets": _pets,
    "flowers": _flowers,
    "gtsrb": _gtsrb,
    "kitti": _kitti,
    "country211": _folders("country211/test", ".jpg"),
    "clevr": _clevr,
    "sst2": _folders("rendered-sst2/test", ".png"),
}


def write(data_root: Path, name: str, keys: Sequence[str] | None = None) -> Expected:
    """Write one data set beneath a data root and say what its default split holds."""
    return _WRITERS[name](data_root / name, KEYS[name] if keys is None else keys)
