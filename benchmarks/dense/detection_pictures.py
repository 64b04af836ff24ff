"""Pictures of detections: image | truth | detections, with boxes, masks and class names (the paper's Figures 6-7)."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.data import coco
from benchmarks.dense.coco_metric import Found
from benchmarks.dense.pictures import GAP
from benchmarks.files import atomic_path

SHOWN_SCORE = 0.3
"""Detections below it are not shown."""

_OPACITY = 0.45


class Shown(NamedTuple):
    """Something to be drawn: (H, W) mask, box (left, top, width, height), class from 0, and what to write."""

    mask: np.ndarray
    box: Sequence[float]
    label: int
    text: str


def save_pictures(folder: Path, split: coco.Split, truth: coco.Instances, found: Iterable[Found]) -> None:
    """Write one PNG for each picture of ``found`` into ``folder``."""
    objects: dict[int, list[coco.Annotation]] = {}
    for item in truth["annotations"]:
        objects.setdefault(item["image_id"], []).append(item)
    pictures = {picture.image_id: picture for picture in split.pictures}
    for detections in found:
        picture = pictures[detections.image_id]
        with Image.open(split.picture_folder / picture.file_name) as file:
            photograph = np.asarray(file.convert("RGB"))
        there = [_annotated(item, picture) for item in objects.get(picture.image_id, [])]
        panels = [photograph, draw(photograph, there), draw(photograph, detected(detections))]
        _save_row(folder / f"{picture.sample_id}.png", panels)


def _annotated(item: coco.Annotation, picture: coco.Picture) -> Shown:
    """An object of the truth."""
    from pycocotools import mask as codec

    code = item["segmentation"]
    if isinstance(code, list):
        code = codec.merge(codec.frPyObjects(code, picture.height, picture.width))
    elif isinstance(code["counts"], list):
        code = codec.frPyObjects(code, picture.height, picture.width)
    name = coco.CATEGORIES[item["category_id"]]
    text = f"{name} (crowd)" if item.get("iscrowd", 0) else name
    return Shown(codec.decode(code), item["bbox"], list(coco.CATEGORIES).index(item["category_id"]), text)


def detected(found: Found) -> list[Shown]:
    """The detections worth showing, the surest last, so that it is drawn above the others."""
    from pycocotools import mask as codec

    names = list(coco.CATEGORIES.values())
    order = [index for index in np.argsort(found.scores, kind="stable") if found.scores[index] >= SHOWN_SCORE]
    return [
        Shown(
            codec.decode(found.masks[index]),
            found.boxes[index].tolist(),
            int(found.labels[index]),
            f"{names[found.labels[index]]} {found.scores[index]:.2f}",
        )
        for index in order
    ]


def palette() -> Any:
    """(80, 3) uint8: MMDetection's colours of COCO's classes."""
    from mmdet.datasets import CocoDataset

    return np.asarray(CocoDataset.METAINFO["palette"], np.uint8)


def draw(photograph: np.ndarray, things: Iterable[Shown]) -> np.ndarray:
    """The (H, W, 3) photograph with masks laid over it, and boxes and names drawn on top."""
    colours, kept = palette(), list(things)
    canvas = photograph.astype(np.float32)
    for thing in kept:
        inside = thing.mask.astype(bool)
        canvas[inside] += _OPACITY * (colours[thing.label] - canvas[inside])
    image = Image.fromarray(np.rint(canvas).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for thing in kept:
        left, top, width, height = thing.box
        colour = tuple(int(channel) for channel in colours[thing.label])
        pen.rectangle((left, top, left + max(width, 1), top + max(height, 1)), outline=colour, width=2)
        frame = pen.textbbox((left + 2, max(top - 12, 0)), thing.text)
        pen.rectangle(frame, fill=colour)
        pen.text(frame[:2], thing.text, fill="white" if sum(colour) < 380 else "black")
    return np.asarray(image)


def _save_row(path: Path, panels: Sequence[np.ndarray]) -> None:
    """The panels side by side as a PNG."""
    height, width, _ = panels[0].shape
    canvas = Image.new("RGB", (len(panels) * width + (len(panels) - 1) * GAP, height), "white")
    for number, panel in enumerate(panels):
        canvas.paste(Image.fromarray(panel), (number * (width + GAP), 0))
    with atomic_path(path) as temporary:
        canvas.save(temporary)
