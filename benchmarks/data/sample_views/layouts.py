"""How the classification data sets lie on disk: one writer each, the reverse of the readers of the real sets.

Every writer is called with the data set's own folder, its class keys in label order, and the pictures, in which the
classes take turns. What it writes depends on these alone: no file holds a time.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.files import atomic_path, write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.data.world import Scene


@dataclass(frozen=True)
class Picture:
    """One picture: its class, what it shows, and its pixels, uint8 RGB (H, W, 3)."""

    key: str
    scene: "Scene"
    pixels: "NDArray[np.uint8]"


Keys = Sequence[str]
Pictures = Sequence[Picture]

QUALITY = 90  # of JPEG


def write_imagenet(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """``val/<key>/ILSVRC2012_val_<number>.JPEG``."""
    for number, picture in enumerate(pictures, 1):
        save(folder / "val" / picture.key / f"ILSVRC2012_val_{number:08d}.JPEG", picture.pixels)


def write_sun397(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """``ClassName.txt`` and the official partition's ``Testing_01.txt`` beside the pictures."""
    inner = folder / "SUN397"
    names = [f"{picture.key}/sun_{number:06d}.jpg" for number, picture in enumerate(pictures, 1)]
    for name, picture in zip(names, pictures, strict=True):
        save(inner / name[1:], picture.pixels)
    for file, lines in (("ClassName.txt", keys), ("Testing_01.txt", names)):
        _write_lines(inner / file, lines)


def write_aircraft(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """``data/variants.txt``, and number and variant of each picture in ``data/images_variant_test.txt``."""
    inner = folder / "fgvc-aircraft-2013b" / "data"
    for number, picture in enumerate(pictures, 1):
        save(inner / "images" / f"{number:07d}.jpg", picture.pixels)
    _write_lines(inner / "variants.txt", keys)
    lines = [f"{number:07d} {picture.key}" for number, picture in enumerate(pictures, 1)]
    _write_lines(inner / "images_variant_test.txt", lines)


def write_dtd(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """``labels/test1.txt`` names the pictures of the first partition, by class folder."""
    inner = folder / "dtd" / "dtd"
    names = [f"{picture.key}/{picture.key}_{number:04d}.jpg" for number, picture in enumerate(pictures, 1)]
    for name, picture in zip(names, pictures, strict=True):
        save(inner / "images" / name, picture.pixels)
    _write_lines(inner / "labels" / "test1.txt", sorted(names))


def write_pets(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """``annotations/test.txt``: name, class from 1, species (1 where the name has a capital), number in the species."""
    inner = folder / "oxford-iiit-pet"
    lines = []
    for number, picture in enumerate(pictures, 1):
        name, species = f"{picture.key}_{number}", 1 if picture.key[0].isupper() else 2
        save(inner / "images" / f"{name}.jpg", picture.pixels)
        kin = [key for key in keys if key[0].isupper() == (species == 1)]
        lines.append(f"{name} {keys.index(picture.key) + 1} {species} {kin.index(picture.key) + 1}")
    _write_lines(inner / "annotations" / "test.txt", sorted(lines))


def write_flowers(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """``setid.mat`` names the pictures of the test split by number, ``imagelabels.mat`` holds the labels of all."""
    import numpy as np

    inner = folder / "flowers-102"
    for number, picture in enumerate(pictures, 1):
        save(inner / "jpg" / f"image_{number:05d}.jpg", picture.pixels)
    numbers, none = np.arange(1, len(pictures) + 1, dtype=np.uint16)[None], np.zeros((1, 0), np.uint16)
    _write_mat(inner / "setid.mat", {"trnid": none, "valid": none, "tstid": numbers})
    labels = np.array([[int(picture.key) for picture in pictures]], np.uint8)
    _write_mat(inner / "imagelabels.mat", {"labels": labels})


def write_gtsrb(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """PPM files, and their classes in ``GT-final_test.csv``."""
    inner = folder / "gtsrb"
    rows: list[Sequence[Any]] = [("Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId")]
    for number, picture in enumerate(pictures):
        height, width, _ = picture.pixels.shape
        save(inner / "GTSRB" / "Final_Test" / "Images" / f"{number:05d}.ppm", picture.pixels)
        rows.append((f"{number:05d}.ppm", width, height, 0, 0, width - 1, height - 1, int(picture.key)))
    table = io.StringIO()
    csv.writer(table, delimiter=";", lineterminator="\n").writerows(rows)
    write_text(inner / "GT-final_test.csv", table.getvalue())


def write_mnist(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """The two idx files of the test split: 28 × 28 grey pictures, and their digits."""
    import numpy as np
    from PIL import Image

    grey = [Image.fromarray(picture.pixels).convert("L").resize((28, 28)) for picture in pictures]
    images = np.stack([np.asarray(image) for image in grey])
    labels = np.array([int(picture.key) for picture in pictures], np.uint8)
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        header = np.array([0x0800 + array.ndim, *array.shape], ">u4").tobytes()  # 0x08: unsigned bytes
        _write_bytes(folder / "MNIST" / "raw" / f"t10k-{name}-ubyte", header + array.tobytes())


def write_stl10(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """Pixels channel by channel and column by column, classes from 1."""
    import numpy as np

    inner = folder / "stl10_binary"
    pixels = np.stack([picture.pixels for picture in pictures])
    _write_bytes(inner / "test_X.bin", pixels.transpose(0, 3, 2, 1).tobytes())
    _write_bytes(inner / "test_y.bin", bytes(keys.index(picture.key) + 1 for picture in pictures))
    _write_lines(inner / "class_names.txt", keys)


def write_kitti(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """A picture and the list of its cars and pedestrians, each with its box and its place in metres."""
    inner = folder / "Kitti" / "raw" / "training"
    for number, picture in enumerate(pictures):
        save(inner / "image_2" / f"{number:06d}.png", picture.pixels)
        _write_lines(inner / "label_2" / f"{number:06d}.txt", _kitti_lines(picture.scene))


def _kitti_lines(scene: "Scene") -> list[str]:
    """Type, truncated, occluded, alpha, box, height, width and length, x, y and z, turn; -1 or so: not known."""
    from benchmarks.data import world

    lines = []
    for thing in scene.instances:
        if thing.category in ("car", "person"):
            kind, size = ("Car", "1.50 1.70 3.20") if thing.category == "car" else ("Pedestrian", "1.70 0.60 0.60")
            away = world.metres_away(thing, scene.width)
            left, top, right, bottom = thing.box
            sideways = ((left + right) / scene.width - 1) / 2 * away / world.FOCAL
            box = f"{left:.2f} {top:.2f} {right:.2f} {bottom:.2f}"
            lines.append(f"{kind} 0.00 0 -10 {box} {size} {sideways:.2f} {world.EYE:.2f} {away:.2f} -10")
    lines.append("DontCare -1 -1 -10 0.00 0.00 1.00 1.00 -1 -1 -1 -1000 -1000 -1000 -10")
    return lines


def write_country211(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """``test/<key>/<number>.jpg``."""
    for number, picture in enumerate(pictures, 1):
        save(folder / "country211" / "test" / picture.key / f"{number:06d}.jpg", picture.pixels)


def write_pcam(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """The two HDF5 files of the validation split: ``x`` (N, H, W, 3) and ``y`` (N, 1, 1, 1)."""
    import h5py
    import numpy as np

    pixels = np.stack([picture.pixels for picture in pictures])
    labels = np.array([keys.index(picture.key) for picture in pictures], np.uint8).reshape(-1, 1, 1, 1)
    for name, array in (("x", pixels), ("y", labels)):
        with (
            atomic_path(folder / "pcam" / f"camelyonpatch_level_2_split_valid_{name}.h5") as path,
            h5py.File(path, "w") as file,
        ):
            file.create_dataset(name, data=array, chunks=(1, *array.shape[1:]), compression="gzip", track_times=False)


def write_clevr(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """``CLEVR_val_scenes.json`` lists the objects of each picture."""
    inner, scenes = folder / "clevr" / "CLEVR_v1.0", []
    for number, picture in enumerate(pictures):
        name = f"CLEVR_val_{number:06d}.png"
        save(inner / "images" / "val" / name, picture.pixels)
        objects = [
            {"shape": thing.category, "color": thing.colour, "pixel_coords": [round(edge) for edge in thing.box]}
            for thing in picture.scene.instances
        ]
        scenes.append({"image_index": number, "image_filename": name, "split": "val", "objects": objects})
    content = {"info": {"split": "val"}, "scenes": scenes}
    write_text(inner / "scenes" / "CLEVR_val_scenes.json", json.dumps(content) + "\n")


def write_sst2(folder: Path, keys: Keys, pictures: Pictures) -> None:
    """``test/<key>/<number>.png``."""
    for number, picture in enumerate(pictures):
        save(folder / "rendered-sst2" / "test" / picture.key / f"{number:04d}.png", picture.pixels)


def save(path: Path, pixels: "NDArray[np.uint8]", **options: Any) -> None:
    """Write pixels, (H, W, 3) or the values of a mask (H, W), in the format that the suffix tells.

    Straight to its place: the folder of the whole sample appears when everything in it is on the disk.

    Args:
        path: of the file; its folder is made.
        pixels: what it holds.
        options: of the format, instead of a JPEG's usual quality.
    """
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **{"quality": QUALITY, **options})


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    _write_bytes(path, "".join(f"{line}\n" for line in lines).encode())


def _write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _write_mat(path: Path, arrays: "dict[str, NDArray[Any]]") -> None:
    """A MATLAB 5 file; its 116 bytes of free text, into which SciPy writes the time, say the same every time."""
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, arrays)
    _write_bytes(path, b"MATLAB 5.0 MAT-file, generated sample".ljust(116) + file.getvalue()[116:])
