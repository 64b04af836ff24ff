"""Detections collected, written to a file, and scored by pycocotools itself."""

import contextlib
import copy
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from benchmarks.data import coco
from benchmarks.dense.average_precision import IOUS, Matches
from benchmarks.dense.collect import COLLECT
from benchmarks.files import atomic_path

Kind = Literal["box", "mask"]

AREAS = ("all", "small", "medium", "large")
"""COCO's ranges of an object's area: all, below 32², up to 96², above (pixels)."""

_IOU_TYPES = {"box": "bbox", "mask": "segm"}
_NUMBERS = tuple(coco.CATEGORIES)


@dataclass(frozen=True)
class Found:
    """The detections on one picture.

    ``boxes`` is (n, 4) float64: left, top, width, height in pixels of the original picture; ``labels`` are (n,) class
    numbers from 0, ``scores`` (n,), ``masks`` n run-length codes of pycocotools.
    """

    image_id: int
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: list[dict[str, Any]]

    def entries(self) -> list[dict[str, Any]]:
        """COCO's results format, box and mask together; plain values only."""
        return [
            {
                "image_id": self.image_id,
                "category_id": _NUMBERS[label],
                "bbox": box,
                "score": score,
                "segmentation": {"size": list(mask["size"]), "counts": mask["counts"]},
            }
            for box, score, label, mask in zip(
                self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), self.masks, strict=True
            )
        ]


def found_of(sample: dict[str, Any]) -> Found:
    """The detections of a predicted MMDetection sample (boxes as corners, masks (n, H, W)), as :class:`Found`."""
    predicted = sample["pred_instances"]
    corners = predicted["bboxes"].double().cpu().numpy()
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return Found(
        int(sample["img_id"]),
        boxes,
        predicted["scores"].double().cpu().numpy(),
        predicted["labels"].cpu().numpy(),
        encode(np.asarray(predicted["masks"].cpu())),
    )


def encode(masks: np.ndarray) -> list[dict[str, Any]]:
    """(n, H, W) masks as n run-length codes; their counts are text, so that JSON can hold them."""
    from pycocotools import mask as codec

    if not len(masks):
        return []
    codes = codec.encode(np.asfortranarray(masks.astype(np.uint8).transpose(1, 2, 0)))
    return [{"size": code["size"], "counts": code["counts"].decode("ascii")} for code in codes]


@METRICS.register_module()
class CocoDetections(BaseMetric):  # type: ignore[misc, unused-ignore]
    """Collects the detections on every scored picture; ``found`` holds them, by number, after evaluation.

    MMDetection's ``CocoMetric`` rounds to three decimals and leaves its keys out when nothing is detected.
    """

    default_prefix = "detections"

    def __init__(self) -> None:
        super().__init__(collect_device=COLLECT)
        self.found: list[Found] = []

    def process(self, data_batch: Any, data_samples: list[dict[str, Any]]) -> None:
        """Take the detections of a batch."""
        self.results.extend(found_of(sample) for sample in data_samples)

    def compute_metrics(self, results: list[Found]) -> dict[str, float]:
        """Keep the detections; :func:`score` judges them."""
        self.found = sorted(results, key=lambda found: found.image_id)
        return {"pictures": float(len(results))}


def write_detections(path: Path, found: Sequence[Found]) -> None:
    """Write COCO's results format as gzipped JSON; the same detections give the same bytes."""
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0, compresslevel=6) as packed,
        io.TextIOWrapper(packed, encoding="ascii") as stream,
    ):
        json.dump([entry for picture in found for entry in picture.entries()], stream)


@dataclass(frozen=True)
class Score:
    """What pycocotools says of one kind of detections.

    Attributes:
        precision: (T, 101, C, A) at each overlap, recall, class and range of area; -1 where there is no object.
        matches: of all areas, to be counted again.
    """

    precision: np.ndarray
    matches: Matches

    def average(self, overlap: float | None = None, area: str = "all") -> float | None:
        """AP in percent, of all overlaps or one; None where there is no object."""
        chosen = slice(None) if overlap is None else [int(np.abs(IOUS - overlap).argmin())]
        return _percent(self.precision[chosen, :, :, AREAS.index(area)])

    def per_class(self) -> dict[str, float | None]:
        """AP in percent by the class's name; None for a class without an object."""
        return {name: _percent(self.precision[:, :, i, 0]) for i, name in enumerate(coco.CATEGORIES.values())}


def _percent(precision: np.ndarray) -> float | None:
    """The mean of what exists, as pycocotools takes it."""
    there = precision[precision > -1]
    return 100 * float(np.mean(there)) if there.size else None


def score(truth: coco.Instances, found: Sequence[Found], kind: Kind) -> Score:
    """Judge detections by pycocotools: 100 detections a picture, crowds ignored, classes apart.

    Args:
        truth: the annotations of the pictures that were scored, and of no other.
        found: the detections on them.
        kind: what is compared.
    """
    from pycocotools.cocoeval import COCOeval

    with _silence():
        judged = COCOeval(_index(copy.deepcopy(dict(truth))), None, iouType=_IOU_TYPES[kind])
        judged.cocoDt = _detected(judged.cocoGt, found, kind)
        judged.evaluate()
        judged.accumulate()
    return Score(judged.eval["precision"][:, :, :, :, -1], _matches(judged))


def _index(dataset: dict[str, Any]) -> Any:
    """A data set of pycocotools."""
    from pycocotools.coco import COCO

    indexed = COCO()
    indexed.dataset = dataset
    indexed.createIndex()
    return indexed


def _detected(truth: Any, found: Sequence[Found], kind: Kind) -> Any:
    """The detections as pycocotools reads results of one kind: an area is the box's or the mask's own.

    It cannot read an empty list; nothing detected is a data set without annotations.
    """
    other = {"box": "segmentation", "mask": "bbox"}[kind]
    entries = [entry for picture in found for entry in picture.entries()]
    for entry in entries:
        del entry[other]
    return truth.loadRes(entries) if entries else _index({**truth.dataset, "annotations": []})


def _matches(judged: Any) -> Matches:
    """What ``COCOeval.evaluate`` found for all areas, by picture, class and falling score."""
    pictures, classes, areas = len(judged.params.imgIds), len(judged.params.catIds), len(judged.params.areaRng)
    objects = np.zeros((pictures, classes), np.int64)
    parts: list[tuple[int, int, dict[str, Any]]] = []
    for picture in range(pictures):
        for category in range(classes):
            part = judged.evalImgs[category * areas * pictures + picture]
            if part is not None:
                parts.append((picture, category, part))
                objects[picture, category] = np.count_nonzero(np.asarray(part["gtIgnore"]) == 0)
    lengths = [len(part["dtScores"]) for _, _, part in parts]
    nothing = np.empty((len(IOUS), 0), bool)
    return Matches(
        picture=np.repeat([picture for picture, _, _ in parts], lengths).astype(np.int64),
        category=np.repeat([category for _, category, _ in parts], lengths).astype(np.int64),
        score=np.concatenate([np.empty(0), *(part["dtScores"] for _, _, part in parts)]),
        matched=np.concatenate([nothing, *(part["dtMatches"] != 0 for _, _, part in parts)], axis=1).T,
        ignored=np.concatenate([nothing, *(part["dtIgnore"].astype(bool) for _, _, part in parts)], axis=1).T,
        objects=objects,
    )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Without the lines that pycocotools prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
