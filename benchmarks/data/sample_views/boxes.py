"""The generated world as COCO's object instances: scenes whose things have boxes and masks."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data import coco
from benchmarks.data.sample_views.layouts import save
from benchmarks.files import write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.data.world import Scene

CATEGORY = {"person": 1, "car": 3, "boat": 9, "ball": 37, "chair": 62, "table": 67, "clock": 85}
"""COCO's number of those things of the world that COCO knows."""

_SPLITS: dict[coco.SplitName, str] = {"train2017": "training", "val2017": "validation"}
_FIRST = 100_000  # scene of either split: far beyond ADE20K's
_SEEN = 24  # pixels of a thing below which it is not annotated


def write_boxes(data_root: Path, seed: int, pictures: int) -> None:
    """Write ``coco/{train2017,val2017}`` and their annotations; picture i is the same however many there are.

    Args:
        data_root: of the sample.
        seed: of the sample.
        pictures: in train2017; val2017 has two for three of them, at least one. 0: no such set.
    """
    if pictures:
        _write_split(data_root, "train2017", seed, pictures)
        _write_split(data_root, "val2017", seed, max(2 * pictures // 3, 1))


def _write_split(data_root: Path, split: coco.SplitName, seed: int, count: int) -> None:
    """One split; scenes in which nothing is known to COCO belong to it too."""
    from benchmarks.data import world

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        scene = world.draw_scene(seed, _SPLITS[split], _FIRST + number)
        name = f"{number:012d}.jpg"
        save(data_root / coco.FOLDER / split / name, world.paint(scene))
        images.append({"id": number, "file_name": name, "width": scene.width, "height": scene.height})
        for item in _annotated(scene):
            annotations.append({"id": len(annotations) + 1, "image_id": number, **item})
    categories = [{"id": number, "name": name} for number, name in coco.CATEGORIES.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_text(coco.annotation_path(data_root, split), json.dumps(content) + "\n")


def _annotated(scene: "Scene") -> list[dict[str, Any]]:
    """What can be seen of each thing that COCO knows: its box and its mask, covered parts left out."""
    from benchmarks.data import world

    items = []
    for thing, mask in zip(scene.instances, world.visible_masks(scene), strict=True):
        if thing.category in CATEGORY and mask.sum() >= _SEEN:
            rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
            left, top = int(columns[0]), int(rows[0])
            items.append(
                {
                    "category_id": CATEGORY[thing.category],
                    "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": [scene.height, scene.width], "counts": _run_lengths(mask)},
                }
            )
    return items


def _run_lengths(mask: "NDArray[np.bool_]") -> list[int]:
    """COCO's uncompressed run lengths: column by column, zeros first."""
    import numpy as np

    flat = mask.flatten(order="F").astype(np.int8)
    turns = np.flatnonzero(np.diff(flat, prepend=0))
    lengths: list[int] = np.diff([0, *turns.tolist(), flat.size]).tolist()
    return lengths
