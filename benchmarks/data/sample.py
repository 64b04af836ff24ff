"""The generated world on disk, in the official layouts, so that the loaders of the real data sets read it."""

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.data import ade20k
from benchmarks.data.root import SAMPLE_MARKER
from benchmarks.errors import DataError, OptionError
from benchmarks.files import atomic_path, cache_folder, write_text

VERSION = 1
"""Raise it whenever the same seed draws other pictures, so that results on both are not mixed up."""

_PREFIX: dict[ade20k.SplitName, str] = {"training": "ADE_train", "validation": "ADE_val"}


def generate(folder: Path, seed: int = 0, train: int = 64, validation: int = 24) -> None:
    """Write the sample into ``folder``, which afterwards serves as a data root.

    The folder appears whole or not at all. The same arguments give the same bytes, and scene i of a split is
    the same however many there are. Where this very sample lies already, nothing is done.

    Args:
        folder: does not exist yet, or is empty.
        seed: from 0.
        train: number of training pairs, 1 to 20,210.
        validation: number of validation pairs, 1 to 2,000.

    Raises:
        OptionError: a number is out of range.
        DataError: the folder holds something else, or cannot be written.
    """
    counts: dict[ade20k.SplitName, int] = {"training": train, "validation": validation}
    _require_range("seed", seed, 0, 2**32 - 1)
    for name, count in counts.items():
        _require_range(f"number of {name} images", count, 1, ade20k.OFFICIAL[name])
    marker = {"format": "detailclip-bench sample", "version": VERSION, "seed": seed, "counts": counts}
    folder = folder.resolve()
    if _holds(folder, marker):
        return
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"{folder}: exists and is not this sample; remove it or name an empty folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder.parent) as temporary:
            built = Path(temporary, folder.name)
            _write_ade20k(built, seed, counts)
            write_text(built / SAMPLE_MARKER, json.dumps(marker, indent=2) + "\n")
            built.rename(folder)
    except OSError as error:
        # Another process was faster: what it wrote is the same.
        if not _holds(folder, marker):
            raise DataError(f"{folder}: the sample cannot be written there ({error.strerror})") from error


def ensure() -> Path:
    """The data root of the default sample, generated in the cache folder on first use (a few seconds).

    Two processes may ask at once: both get the same whole folder.

    Raises:
        DataError: the cache folder cannot be written, or something else lies in the sample's place.
    """
    folder = cache_folder() / f"sample-v{VERSION}"
    generate(folder)
    return folder


def _require_range(what: str, value: int, low: int, high: int) -> None:
    """Raise if an option is out of range."""
    if not low <= value <= high:
        raise OptionError(f"sample: the {what} is {value}, but must be {low} to {high}")


def _holds(folder: Path, marker: dict[str, Any]) -> bool:
    """Whether the sample that the marker describes lies in this folder."""
    path = folder / SAMPLE_MARKER
    if not path.is_file():
        return False
    try:
        return bool(json.loads(path.read_bytes()) == marker)
    except ValueError:  # someone else's file
        return False


def _write_ade20k(data_root: Path, seed: int, counts: dict[ade20k.SplitName, int]) -> None:
    """The scenes as ADE20K's pairs: a JPEG and a mask each."""
    from PIL import Image

    from benchmarks.data import world  # numpy only when something is drawn

    for name, count in counts.items():
        for index in range(count):
            image, mask = world.render(world.draw_scene(seed, name, index))
            stem = f"{_PREFIX[name]}_{index + 1:08d}"
            with atomic_path(ade20k.image_folder(data_root, name) / f"{stem}.jpg") as path:
                Image.fromarray(image).save(path, quality=95, subsampling=0)
            with atomic_path(ade20k.annotation_folder(data_root, name) / f"{stem}.png") as path:
                Image.fromarray(mask).save(path)
