"""The generated world on disk, in the official layouts, so that the loaders of the real data sets read it.

Besides the scenes as ADE20K's pairs it holds small pictures with captions, to pretrain on, class folders of held out
ones, to classify, scenes with boxes and masks in COCO's layout, and a small view for each zero-shot benchmark
(:mod:`benchmarks.data.sample_views`).
"""

import csv
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.data import ade20k
from benchmarks.data.root import SAMPLE_MARKER
from benchmarks.errors import DataError, OptionError
from benchmarks.files import cache_folder, write_text

VERSION = 4
"""Raise it whenever the same seed draws other pictures, so that results on both are not mixed up."""

PAIRS = Path("pairs")
"""Beneath the sample: ``train.csv`` (columns image, title, description), ``train/*.jpg``, ``test/<class>/*.jpg``."""

_SIDE = 128  # pixels: what a tiny model sees

_PREFIX: dict[ade20k.SplitName, str] = {"training": "ADE_train", "validation": "ADE_val"}


def generate(
    folder: Path,
    seed: int = 0,
    train: int = 64,
    validation: int = 24,
    pairs: int = 1560,
    held_out: int = 16,
    views: int = 70,
    described: int = 48,
    boxed: int = 24,
) -> None:
    """Write the sample into ``folder``, which afterwards serves as a data root.

    The folder appears whole or not at all. The same arguments give the same bytes, and scene i of a split is
    the same however many there are. Where this very sample lies already, nothing is done.

    Args:
        folder: does not exist yet, or is empty.
        seed: from 0.
        train: number of ADE20K's training pairs, 1 to 20,210.
        validation: number of ADE20K's validation pairs, 1 to 2,000.
        pairs: number of captioned pictures, 1 to 100,000; the classes take turns.
        held_out: pictures to classify in each class, 1 to 1,000.
        views: pictures in each zero-shot classification set, up to 1,000, rounded up so that all its classes have the
            same number; 0: no such sets.
        described: pictures in each retrieval set, up to 1,000, with five captions each; 0: no such sets.
        boxed: pictures with boxes and masks to train on, up to 1,000; two to score for three of them; 0: no such set.

    Raises:
        OptionError: a number is out of range.
        DataError: the folder holds something else, or cannot be written.
    """
    counts: dict[ade20k.SplitName, int] = {"training": train, "validation": validation}
    _require_range("seed", seed, 0, 2**32 - 1)
    for name, count in counts.items():
        _require_range(f"number of {name} images", count, 1, ade20k.OFFICIAL[name])
    _require_range("number of captioned pictures", pairs, 1, 100_000)
    _require_range("number of held-out pictures of a class", held_out, 1, 1_000)
    _require_range("number of pictures of a classification set", views, 0, 1_000)
    _require_range("number of pictures of a retrieval set", described, 0, 1_000)
    _require_range("number of pictures with boxes", boxed, 0, 1_000)
    others = {"pairs": pairs, "held_out": held_out, "views": views, "described": described, "boxed": boxed}
    all_counts: dict[str, int] = {"training": train, "validation": validation, **others}
    marker = {"format": "detailclip-bench sample", "version": VERSION, "seed": seed, "counts": all_counts}
    folder = folder.resolve()
    if _holds(folder, marker):
        return
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"{folder}: exists and is not this sample; remove it or name an empty folder")
    from benchmarks.data.sample_views import write_boxes, write_views  # numpy only when something is drawn

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder.parent) as temporary:
            built = Path(temporary, folder.name)
            _write_ade20k(built, seed, counts)
            _write_pairs(built / PAIRS, seed, pairs, held_out)
            write_views(built, seed, views, described)
            write_boxes(built, seed, boxed)
            write_text(built / SAMPLE_MARKER, json.dumps(marker, indent=2) + "\n")
            os.sync()  # once, for all the pictures: flushing each takes longer than drawing it
            built.rename(folder)
    except OSError as error:
        # Another process was faster: what it wrote is the same.
        if not _holds(folder, marker):
            raise DataError(f"{folder}: the sample cannot be written there ({error.strerror})") from error


def held_out_folder(data_root: Path) -> Path:
    """The class folders of pictures that no captioned pair shows, for zero-shot classification."""
    return data_root / PAIRS / "test"


def ensure() -> Path:
    """The data root of the default sample, generated in the cache folder on first use (some 20 seconds).

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
    from benchmarks.data import world  # numpy only when something is drawn
    from benchmarks.data.sample_views.layouts import save

    for name, count in counts.items():
        for index in range(count):
            image, mask = world.render(world.draw_scene(seed, name, index))
            stem = f"{_PREFIX[name]}_{index + 1:08d}"
            save(ade20k.image_folder(data_root, name) / f"{stem}.jpg", image, quality=95, subsampling=0)
            save(ade20k.annotation_folder(data_root, name) / f"{stem}.png", mask)


def _write_pairs(folder: Path, seed: int, pairs: int, held_out: int) -> None:
    """Captioned pictures and their table, and class folders of other pictures; the classes take turns."""
    import numpy as np

    from benchmarks.data import captions, world
    from benchmarks.data.sample_views.layouts import save

    rows = []
    for index in range(pairs):
        scene, main = world.draw_portrait(seed, "training", index, world.THINGS[index % len(world.THINGS)], _SIDE)
        name = f"train/{index + 1:06d}.jpg"
        save(folder / name, world.paint(scene))
        rows.append((name, *captions.write_caption(scene, main, np.random.default_rng([seed, index]))))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([("image", "title", "description"), *rows])
    write_text(folder / "train.csv", table.getvalue())
    for index in range(held_out * len(world.THINGS)):
        category = world.THINGS[index % len(world.THINGS)]
        scene, _ = world.draw_portrait(seed, "validation", index, category, _SIDE)
        save(folder / "test" / category / f"{index + 1:06d}.jpg", world.paint(scene))
