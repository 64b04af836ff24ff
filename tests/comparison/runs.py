"""Small runs for the tests of comparisons: samples of every kind, and records that fit them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.comparison.scores import KINDS
from benchmarks.records import Record, Store, fingerprint, make_run_id
from tests.example_record import make_record

Ints = npt.NDArray[np.int64]


def names(count: int) -> list[str]:
    return [f"image_{index:05d}" for index in range(count)]


def classified(labels: npt.ArrayLike, predictions: npt.ArrayLike) -> pd.DataFrame:
    """Samples of a classification; a wrong one has its true class on the second place."""
    label, prediction = np.asarray(labels, np.int32), np.asarray(predictions, np.int32)
    correct = label == prediction
    ranks = np.where(correct, 1, 2).astype(np.int32)
    frame = {"sample_id": names(len(label)), "label": label, "prediction": prediction, "correct": correct}
    return pd.DataFrame({**frame, "rank": ranks, "margin": np.zeros(len(label), np.float32)})


def hits(right: npt.ArrayLike) -> pd.DataFrame:
    """Samples of a classification of two classes, told by which of them are right."""
    truth = np.zeros(len(np.asarray(right)), int)
    return classified(truth, np.where(np.asarray(right, bool), truth, 1))


def random_classified(count: int, classes: int, share: float, seed: int) -> pd.DataFrame:
    """The labels are the same for every seed."""
    labels = np.random.default_rng(7).integers(0, classes, count)
    right = np.random.default_rng(seed).random(count) < share
    return classified(labels, np.where(right, labels, (labels + 1) % classes))


def retrieved(by_image: npt.ArrayLike, by_text: list[list[int]]) -> pd.DataFrame:
    ranks = [np.asarray(row, np.int64) for row in by_text]
    return pd.DataFrame(
        {"sample_id": names(len(ranks)), "i2t_rank": np.asarray(by_image, np.int64), "t2i_ranks": ranks}
    )


def segmented(intersection: Ints, prediction: Ints, label: Ints) -> pd.DataFrame:
    """(N, C) counts as the sparse samples of a segmentation."""
    rows = []
    for name, *counts in zip(names(len(label)), intersection, prediction, label, strict=True):
        classes = np.flatnonzero(counts[1] + counts[2])
        columns = dict(zip(("intersection", "prediction", "label"), (part[classes] for part in counts), strict=True))
        rows.append({"sample_id": name, "classes": classes.astype(np.int16), **columns})
    return pd.DataFrame(rows)


def random_segmented(count: int, classes: int, quality: float, seed: int) -> pd.DataFrame:
    """The label counts are the same for every seed."""
    truth, own = np.random.default_rng(7), np.random.default_rng(seed)
    label = truth.integers(1, 100, (count, classes)) * (truth.random((count, classes)) < 0.7)
    label[:, 0] += 1
    intersection = own.binomial(label, quality)
    return segmented(intersection, intersection + own.integers(0, 30, label.shape), label)


def detected(count: int, quality: float, seed: int, classes: int = 3) -> pd.DataFrame:
    """Pictures of up to three objects; each is found with some probability, and there are false finds.

    The objects are the same for every seed.
    """
    truth, own = np.random.default_rng(7), np.random.default_rng(seed)
    rows = []
    for name in names(count):
        objects = np.sort(truth.integers(0, classes, truth.integers(0, 4)))
        found = objects[own.random(len(objects)) < quality]
        false = own.integers(0, classes, own.integers(0, 3))
        scores = np.concatenate([own.beta(3, 2, len(found)), own.beta(2, 3, len(false))])
        overlaps = np.concatenate([own.integers(1, 11, len(found)), np.zeros(len(false), int)])
        order = np.lexsort((-scores, np.concatenate([found, false])))
        matched = ((1 << overlaps) - 1).astype(np.uint16)[order]
        none = np.zeros(len(order), np.uint16)
        lists = {"box_matched": matched, "box_ignored": none, "mask_matched": matched >> 1, "mask_ignored": none}
        category = np.concatenate([found, false])[order].astype(np.int16)
        own_row = {"sample_id": name, "classes": category, "scores": scores[order], **lists}
        rows.append(own_row | {"objects": objects.astype(np.int16)})
    return pd.DataFrame(rows)


METRICS = {
    "zeroshot": ("top1", "top5", "mean_per_class"),
    "retrieval": ("i2t_r1", "i2t_r5", "t2i_r1", "t2i_r5"),
    "ade20k": ("mIoU",),
    "coco-cascade": ("AP_box", "AP_mask", "AP50_mask"),
}


def fitting(benchmark: str, samples: pd.DataFrame, **changes: Any) -> Record:
    """A record of these samples with a run id of its own; the checkpoint's sha256 follows from its name."""
    kind = next(kind for kind in METRICS if kind in benchmark)
    count = len(samples)
    values = {name: float(KINDS[name].read(samples).values()[0]) for name in METRICS[kind]}
    name = changes.get("checkpoint", {}).get("name", "slip")
    defaults: dict[str, Any] = {
        "benchmark": benchmark,
        "metrics": {key: {"value": value, "low": None, "high": None, "n": count} for key, value in values.items()},
        "per_class": {},
        "counts": {"official": count, "expected": count, "scored": count},
        "protocol": {"data": benchmark, "split": "test"},
        "data": {"name": benchmark, "split": "test", "fingerprint": "d" * 64},
    }
    own = {"name": name, "row": None, "sha256": (fingerprint({"name": name}) * 4), "path": f"/weights/{name}.pt"}
    fields = defaults | changes | {"checkpoint": own | changes.get("checkpoint", {})}
    return with_own_id(make_record(**fields))


def with_own_id(record: Record) -> Record:
    """The record under the run id of its content."""
    tower = record.model_protocol.get("tower")
    run_id = make_run_id(
        benchmark=record.benchmark,
        checkpoint_name=record.checkpoint.name,
        checkpoint_sha256=record.checkpoint.sha256,
        tower=tower if isinstance(tower, str) else None,
        protocol_fingerprint=record.protocol_fingerprint,
        data_fingerprint=record.data.fingerprint,
        seed=record.seed,
        status=record.status,
        expected=record.counts.expected,
        model_protocol=record.model_protocol,
    )
    return record.model_copy(update={"run_id": run_id})


def put(out: Path, benchmark: str, samples: pd.DataFrame, name: str = "slip", **changes: Any) -> Record:
    """Store a run of the checkpoint called ``name``."""
    checkpoint = {"name": name, **changes.pop("checkpoint", {})}
    record = fitting(benchmark, samples, checkpoint=checkpoint, **changes)
    Store(out).write(record, samples)
    return record
