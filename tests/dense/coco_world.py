"""Small COCO roots for the tests of detection: hand-made ones, and parts of the real data."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.checkpoints import ensure_tiny
from benchmarks.data import coco
from benchmarks.run import Job
from benchmarks.suite import get

SPLITS: tuple[coco.SplitName, ...] = ("train2017", "val2017")


def job(root: Path, *overrides: str, quick: bool = True) -> Job:
    """Of the tiny random checkpoint."""
    return Job(get("coco-cascade"), ensure_tiny(), root, quick=quick, overrides=overrides)


def picture(number: int, width: int = 64, height: int = 48) -> dict[str, Any]:
    """An entry of ``images``."""
    return {"id": number, "file_name": f"{number:012d}.jpg", "width": width, "height": height}


def annotation(
    number: int, image: int, category: int, box: Sequence[float], crowd: bool = False, size: tuple[int, int] = (48, 64)
) -> dict[str, Any]:
    """An entry of ``annotations``: the mask is the whole box, run-length coded for a crowd."""
    left, top, width, height = box
    right, bottom = left + width, top + height
    mask: Any = [[left, top, right, top, right, bottom, left, bottom]]
    if crowd:
        inside = np.zeros(size, np.uint8)
        inside[int(top) : int(bottom), int(left) : int(right)] = 1
        mask = {"size": list(size), "counts": runs(inside)}
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": list(box),
        "area": width * height,
        "iscrowd": int(crowd),
        "segmentation": mask,
    }


def runs(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths: column by column, beginning with zeros."""
    flat = mask.flatten(order="F").astype(np.int8)
    ends = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    lengths: list[int] = np.diff([0, *ends, flat.size]).tolist()
    return lengths


def instances(images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> coco.Instances:
    """A whole annotation file's content."""
    categories = [{"id": number, "name": name} for number, name in coco.CATEGORIES.items()]
    content: Any = {"images": images, "annotations": annotations, "categories": categories}
    return content  # type: ignore[no-any-return]


def some_instances() -> coco.Instances:
    """Four pictures: two with objects (the first has a crowd), one with a crowd alone, one with nothing."""
    images = [picture(1), picture(2, 48, 64), picture(3), picture(4)]
    annotations = [
        annotation(1, 1, 18, (4, 4, 30, 20)),
        annotation(2, 1, 1, (20, 10, 24, 30)),
        annotation(3, 1, 1, (40, 2, 20, 40), crowd=True),
        annotation(4, 2, 18, (2, 30, 40, 30), size=(64, 48)),
        annotation(5, 3, 18, (10, 10, 30, 20), crowd=True),
    ]
    return instances(images, annotations)


def write_root(root: Path, content: coco.Instances, splits: Sequence[coco.SplitName] = SPLITS) -> Path:
    """The content as both splits, with noisy pictures."""
    for split in splits:
        path = coco.annotation_path(root, split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        folder = root / coco.FOLDER / split
        folder.mkdir(exist_ok=True)
        for image in content["images"]:
            rng = np.random.default_rng(image["id"])
            pixels = rng.integers(0, 256, (image["height"], image["width"], 3), np.uint8)
            Image.fromarray(pixels).save(folder / image["file_name"])
    return root


def real_pictures(real_data: Path, count: int) -> coco.Instances:
    """Those real training pictures whose few objects are largest, without crowds."""
    content = coco.read_instances(coco.annotation_path(real_data, "train2017"))
    sizes = {image["id"]: image["width"] * image["height"] for image in content["images"]}
    shares: dict[int, list[float]] = {}
    for item in content["annotations"]:
        share = -1.0 if item.get("iscrowd", 0) else item["area"] / sizes[item["image_id"]]
        shares.setdefault(item["image_id"], []).append(share)
    few = [number for number, its in shares.items() if len(its) <= 4 and min(its) > 0]
    chosen = set(sorted(few, key=lambda number: -min(shares[number]))[:count])
    return coco.Instances(
        images=[image for image in content["images"] if image["id"] in chosen],
        annotations=[item for item in content["annotations"] if item["image_id"] in chosen],
        categories=content["categories"],
    )


def link_real_root(root: Path, real_data: Path, content: coco.Instances) -> Path:
    """The real training pictures of ``content`` as both splits."""
    for split in SPLITS:
        path = coco.annotation_path(root, split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        (root / coco.FOLDER / split).symlink_to(real_data / coco.FOLDER / "train2017")
    return root
