"""Draws the views and writes them; no captioned pair of the sample shows the same pictures."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data.sample_views.draw import TRIES
from benchmarks.data.sample_views.layouts import Picture, save
from benchmarks.data.sample_views.sets import VIEWS, View
from benchmarks.data.vocabulary import FILE_NAME, Vocabulary, write_vocabulary
from benchmarks.files import write_text

_MOST = 1_000  # pictures of a class

_CAPTIONS = 5  # of each picture that is to be retrieved
_RETRIEVAL_SIDE = 128  # pixels


@dataclass(frozen=True)
class _Described:
    """Where a retrieval set keeps its pictures and their captions."""

    dataset: str
    pictures: str
    picture_name: str
    captions: str


_RETRIEVAL = (
    _Described("flickr30k", "images", "{:010d}.jpg", "dataset_flickr30k.json"),
    _Described("flickr8k", "images", "{:010d}.jpg", "dataset_flickr8k.json"),
    _Described("coco", "val2014", "COCO_val2014_{:012d}.jpg", "annotations/dataset_coco.json"),
)


def write_views(data_root: Path, seed: int, pictures: int, described: int) -> None:
    """Write all views below a data root.

    Picture i of a class is the same however many there are. The classes of a set take turns and have the same number
    of pictures.

    Args:
        data_root: of the sample.
        seed: of the sample.
        pictures: at least so many in each classification set, up to 1,000; 0: no such sets.
        described: pictures with five captions in each retrieval set, up to 1,000; 0: no such sets.
    """
    for number, view in enumerate(VIEWS if pictures else (), 1):
        _write_classes(data_root / view.dataset, view, seed, number, pictures)
    for number, layout in enumerate(_RETRIEVAL if described else (), len(VIEWS) + 1):
        _write_described(data_root / layout.dataset, layout, seed, number, described)


def _write_classes(folder: Path, view: View, seed: int, number: int, pictures: int) -> None:
    """One classification set and its vocabulary."""
    from benchmarks.data import world

    rounds = view.repeats * math.ceil(pictures / len(view.classes))
    drawn = []
    for turn in range(rounds):
        for label, category in enumerate(view.classes):
            scene = category.draw(seed, _first_index(number, label, turn))
            drawn.append(Picture(category.key, scene, world.paint(scene)))
    keys = tuple(category.key for category in view.classes)
    view.write(folder, keys, drawn)
    names = tuple((category.name,) for category in view.classes)
    vocabulary = Vocabulary(view.dataset, keys, names, view.templates, "the generated sample's own")
    write_vocabulary(folder / FILE_NAME, vocabulary)


def _write_described(folder: Path, layout: _Described, seed: int, number: int, described: int) -> None:
    """One retrieval set: scenes around one thing, and Karpathy's JSON with what five people say of each."""
    import numpy as np

    from benchmarks.data import captions, world

    images: list[dict[str, Any]] = []
    for turn in range(described):
        index, thing = _first_index(number, 0, turn), world.THINGS[turn % len(world.THINGS)]
        scene, main = world.draw_portrait(seed, "validation", index, thing, _RETRIEVAL_SIDE)
        said = captions.write_sentences(scene, main, _CAPTIONS, np.random.default_rng([seed, index]))
        name = layout.picture_name.format(turn + 1)
        save(folder / layout.pictures / name, world.paint(scene))
        images.append(_entry(name, turn, said) | ({"filepath": "val2014"} if layout.dataset == "coco" else {}))
    write_text(folder / layout.captions, json.dumps({"images": images, "dataset": layout.dataset}) + "\n")


def _entry(name: str, number: int, said: Sequence[str]) -> dict[str, Any]:
    """A picture in Karpathy's form."""
    identifiers = list(range(number * len(said), (number + 1) * len(said)))
    sentences = [
        {"tokens": text.strip(".").replace(",", "").split(), "raw": text, "imgid": number, "sentid": identifier}
        for identifier, text in zip(identifiers, said, strict=True)
    ]
    return {"filename": name, "imgid": number, "split": "test", "sentids": identifiers, "sentences": sentences}


def _first_index(number: int, label: int, turn: int) -> int:
    """The first index of the world that a picture may use: far beyond the held-out class folders' and its own alone.

    ``number`` counts the data sets from 1, ``label`` the classes and ``turn`` the pictures of a class from 0.
    """
    return ((number * 100 + label) * _MOST + turn) * TRIES
