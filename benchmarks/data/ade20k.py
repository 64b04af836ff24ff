"""ADE20K as the MIT Scene Parsing challenge of 2016 distributes it: 150 classes, 20,210 + 2,000 images.

Masks are single-channel PNG files: 0 is unlabelled and never scored, 1 to 150 are the classes.
"""

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, NamedTuple

from benchmarks.data.root import is_sample, require_root
from benchmarks.data.verify import Item, Progress, Verified, verify
from benchmarks.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

SplitName = Literal["training", "validation"]

FOLDER = Path("ade20k", "ADEChallengeData2016")
OFFICIAL: dict[SplitName, int] = {"training": 20_210, "validation": 2_000}
"""Pairs in each split as published."""

CLASS_COUNT = 150
_RULES = 1  # raise it when a check below becomes stricter: everything is then read again


@dataclass(frozen=True)
class Pair:
    """An image and its mask. ``sample_id`` is the stem of both file names (``ADE_val_00000001``)."""

    sample_id: str
    image: Path
    annotation: Path


@dataclass(frozen=True)
class Split:
    """A verified split.

    ``fingerprint`` is the sha256 over (sample_id, sha256 of the image, sha256 of the mask) of all pairs in
    order: the same wherever the folder lies. ``official`` is the published number of pairs, of which fewer
    may be present. ``is_sample`` marks generated data.
    """

    name: SplitName
    folder: Path
    pairs: tuple[Pair, ...]
    official: int
    fingerprint: str
    is_sample: bool

    @property
    def count(self) -> int:
        """How many pairs are there."""
        return len(self.pairs)


class Summary(NamedTuple):
    """Pairs in each split, and ``absent``, ``sample``, ``complete`` or ``partial n/N + m/M``."""

    state: str
    counts: dict[SplitName, int]


def image_folder(data_root: Path, name: SplitName) -> Path:
    """Where the ``.jpg`` files of a split lie."""
    return data_root / FOLDER / "images" / name


def annotation_folder(data_root: Path, name: SplitName) -> Path:
    """Where the ``.png`` files of a split lie."""
    return data_root / FOLDER / "annotations" / name


def load_split(data_root: Path, name: SplitName, progress: Progress | None = None) -> Split:
    """Find, verify and fingerprint one split; pairs are sorted by ``sample_id``.

    The first call reads every file; later ones only those that changed.

    Args:
        data_root: the folder that holds ``ade20k/ADEChallengeData2016``.
        name: ``training`` or ``validation``.
        progress: called with (files done, files in all) while files are read.

    Raises:
        DataError: the folder or split is missing or empty, a file lacks its partner or cannot be decoded, a
            mask has colours, values above 150 or another size than its image, or there are more pairs than
            were published.
    """
    require_root(data_root)
    folder = data_root / FOLDER
    if not folder.is_dir():
        raise DataError(
            f"{folder}: ADE20K is not there; beneath {data_root} unpack it as "
            f"{FOLDER}/{{images,annotations}}/{{training,validation}}, "
            "or write a small generated one with `bench data sample`"
        )
    ids = _paired_ids(data_root, name)
    items = [Item(f"images/{name}/{i}.jpg") for i in ids]
    items += [Item(f"annotations/{name}/{i}.png", _mask_defect) for i in ids]
    known = list(verify(folder, items, f"ade20k-{name}-{_RULES}", progress).values())
    images, masks = image_folder(data_root, name), annotation_folder(data_root, name)
    pairs = tuple(Pair(i, images / f"{i}.jpg", masks / f"{i}.png") for i in ids)
    fingerprint = _fingerprint(pairs, known[: len(ids)], known[len(ids) :])
    return Split(name, folder, pairs, OFFICIAL[name], fingerprint, is_sample(data_root))


def summary(data_root: Path) -> Summary:
    """What is there, by listing the folders alone: no file is opened and nothing is verified."""
    counts = {name: len(set.intersection(*_stems(data_root, name))) for name in OFFICIAL}
    if not any(counts.values()):
        state = "absent"
    elif is_sample(data_root):
        state = "sample"
    elif counts == OFFICIAL:
        state = "complete"
    else:
        state = "partial " + " + ".join(f"{counts[name]}/{official}" for name, official in OFFICIAL.items())
    return Summary(state, counts)


def classes() -> tuple[str, ...]:
    """The names of the 150 classes; the mask value of ``classes()[i]`` is ``i + 1`` (of MMSegmentation)."""
    return tuple(name.strip() for name in _mmseg_names().ade_classes())  # theirs says "bed "


def palette() -> tuple[tuple[int, int, int], ...]:
    """The RGB colours (0 to 255) in which the 150 classes are shown, in the order of ``classes()``."""
    return tuple((red, green, blue) for red, green, blue in _mmseg_names().ade_palette())


@cache
def _mmseg_names() -> ModuleType:
    """MMSegmentation's file of class names alone: importing its package costs 8 s and needs operators."""
    package = importlib.util.find_spec("mmseg")
    assert package is not None
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0], "utils", "class_names.py")
    spec = importlib.util.spec_from_file_location("benchmarks.data._mmseg_class_names", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _list(folder: Path, suffix: str) -> set[str]:
    """Stems of the files with this suffix; hidden ones (macOS leaves ``._name.jpg``) do not count."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    return {name.removesuffix(suffix) for name in names if name.endswith(suffix) and name[0] != "."}


def _stems(data_root: Path, name: SplitName) -> tuple[set[str], set[str]]:
    """Stems of the images and of the masks of a split."""
    return _list(image_folder(data_root, name), ".jpg"), _list(annotation_folder(data_root, name), ".png")


def _paired_ids(data_root: Path, name: SplitName) -> list[str]:
    """The sorted stems of a split, each of which has both files."""
    images, masks = _stems(data_root, name)
    for folder, stems, suffix in (
        (image_folder(data_root, name), images, ".jpg"),
        (annotation_folder(data_root, name), masks, ".png"),
    ):
        if not stems:
            raise DataError(f"{folder}: no {suffix} files of ADE20K's {name} split here; unpack it anew")
    _refuse_lonely(image_folder(data_root, name), images - masks, ".jpg", "image", "mask")
    _refuse_lonely(annotation_folder(data_root, name), masks - images, ".png", "mask", "image")
    if len(images) > OFFICIAL[name]:
        raise DataError(
            f"{image_folder(data_root, name)}: holds {len(images)} images, but {OFFICIAL[name]} are "
            "published; remove the ones that do not belong to ADE20K"
        )
    return sorted(images)


def _refuse_lonely(folder: Path, stems: set[str], suffix: str, kind: str, partner: str) -> None:
    """Raise if any file has no partner."""
    if stems:
        first = folder / f"{min(stems)}{suffix}"
        more = f" (and {len(stems) - 1} more like it)" if len(stems) > 1 else ""
        remedy = f"restore the {partner} or remove the {kind}"
        raise DataError(f"{first}: {kind} without {partner}{more}; {remedy}")


def _mask_defect(mask: "Image.Image") -> str | None:
    """What makes an image unfit as a mask: lossy or coloured storage, or a value that is no class."""
    if mask.format != "PNG":
        return f"is a {mask.format} file, but a mask must be a lossless PNG"
    if mask.mode not in ("L", "P"):
        kind = "colour mask" if mask.mode in ("RGB", "RGBA") else "mask"
        return f"is a {kind} (mode {mask.mode}), but each pixel must be one 8-bit class number"
    largest = max(value for value, count in enumerate(mask.histogram()) if count)
    if largest > CLASS_COUNT:
        return f"holds the value {largest}, but classes are 1 to {CLASS_COUNT} and 0 is unlabelled"
    return None


def _fingerprint(pairs: Sequence[Pair], images: Sequence[Verified], masks: Sequence[Verified]) -> str:
    """The sha256 of the contents of all pairs, after asserting that each mask has the size of its image."""
    digest = hashlib.sha256()
    for pair, image, mask in zip(pairs, images, masks, strict=True):
        if (image.width, image.height) != (mask.width, mask.height):
            raise DataError(
                f"{pair.annotation}: is {mask.width}×{mask.height} pixels, but {pair.image.name} "
                f"is {image.width}×{image.height}; put the original files in their place"
            )
        digest.update(f"{pair.sample_id} {image.sha256} {mask.sha256}\n".encode())
    return digest.hexdigest()
