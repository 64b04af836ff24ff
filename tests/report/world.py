"""A results folder with invented runs of every kind, for the tests of the report and for `tests.report.profile`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.dense.pictures import GAP
from benchmarks.records import Record, Store, fingerprint
from benchmarks.run import default_protocol
from benchmarks.suite import BENCHMARKS, Benchmark, get
from benchmarks.zeroshot.pictures import LARGEST, file_name, needed
from tests.example_record import make_record

CHECKPOINTS: Mapping[str, Mapping[str, Any]] = {
    "detailclip_base_25ep": {"row": "DetailCLIP@25", "family": "detailclip", "sha256": "a1" * 32, "skill": 0.72},
    "slip_base_25ep": {"row": "SLIP@25", "family": "slip", "sha256": "b2" * 32, "skill": 0.6},
    "mine": {"row": None, "family": "pretrained", "sha256": "c3" * 32, "skill": 0.4},
}

SOME: tuple[str, ...] = (
    "ade20k-upernet",
    "ade20k-linear",
    "coco-cascade",
    "imagenet-zeroshot",
    "zeroshot/mnist",
    "zeroshot/dtd",
)
SOME += ("flickr30k-retrieval", "coco-retrieval")


def write_world(
    out: Path,
    benchmarks: Sequence[str] = SOME,
    seeds: int = 1,
    images: int = 40,
    pictures: int = 3,
    side: int = 48,
    checkpoints: Mapping[str, Mapping[str, Any]] = CHECKPOINTS,
) -> list[Record]:
    """Runs of each benchmark, checkpoint and seed; full but for the last checkpoint, whose runs are ``partial``.

    Args:
        out: the results folder.
        benchmarks: ids.
        seeds: runs of each benchmark that trains.
        images: scored in each run.
        pictures: saved by each run of a benchmark that saves any.
        side: their height in pixels.
        checkpoints: name to row, family, sha256 and skill in [0, 1].
    """
    records: list[Record] = []
    for benchmark in map(get, benchmarks):
        for name, told in checkpoints.items():
            for seed in range(seeds if "--seed" in benchmark.takes else 1):
                rng = np.random.default_rng([len(records), seed])
                record, samples = invented(benchmark, name, told, seed, images, rng)
                Store(out).write(record, samples)
                records.append(record)
                if "--pictures" in benchmark.takes and seed == 0:  # only those of the first seed are shown
                    folder = Store(out).folder(record.run_id) / "pictures"
                    if benchmark.runner == "benchmarks.zeroshot.retrieval":
                        write_thumbnails(folder, needed(samples, pictures), side)
                    else:
                        write_pictures(folder, samples["sample_id"][:pictures].tolist(), side, rng)
    return records


def invented(
    benchmark: Benchmark, name: str, told: Mapping[str, Any], seed: int, images: int, rng: np.random.Generator
) -> tuple[Record, pd.DataFrame]:
    """A run of a benchmark and its samples."""
    protocol = default_protocol(benchmark)
    full = told["row"] is not None
    metrics, per_class, samples = FORMS[benchmark.runner](told["skill"], images, rng)
    wanted = dict.fromkeys([benchmark.metric, *(cell.metric for cell in benchmark.tables), *metrics])
    value = 100 * told["skill"] * (0.6 + 0.05 * float(rng.normal()))
    invented_metrics = {}
    for metric in wanted:
        here = min(max(metrics.get(metric, value), 2.0), 98.0)
        invented_metrics[metric] = {"value": here, "low": here - 1.3, "high": here + 1.4, "n": images}
    changes = {
        "run_id": f"{benchmark.id.replace('/', '-')}--{name}--seed{seed}",
        "benchmark": benchmark.id,
        "status": "full" if full else "partial",
        "checkpoint": {"name": name, "row": told["row"], "family": told["family"], "sha256": told["sha256"]},
        "protocol": protocol,
        "metrics": invented_metrics,
        "per_class": per_class,
        "counts": {"official": images if full else 2 * images, "expected": images, "scored": images},
        "data": {"name": benchmark.dataset, "split": benchmark.split, "fingerprint": fingerprint({"of": benchmark.id})},
        "seed": seed,
    }
    # The example's protocol is another benchmark's: replaced as a whole.
    return Record.model_validate(
        make_record().model_dump(mode="json")
        | make_record(**{key: changes[key] for key in ("checkpoint", "counts", "data", "status")}).model_dump(
            mode="json"
        )
        | {key: changes[key] for key in ("run_id", "benchmark", "protocol", "metrics", "per_class", "seed")}
        | {"protocol_fingerprint": fingerprint(protocol)}
    ), samples


Form = tuple[dict[str, float], dict[str, dict[str, float | None]], pd.DataFrame]


def _segmentation(skill: float, images: int, rng: np.random.Generator) -> Form:
    rows = []
    for at in range(images):
        classes = np.sort(rng.choice(20, rng.integers(2, 7), replace=False))
        label = rng.integers(100, 5000, len(classes))
        hit = (label * np.clip(rng.normal(skill, 0.2, len(classes)), 0, 1)).astype(np.int64)
        said = hit + rng.integers(0, 1500, len(classes))
        rows.append([f"ADE_val_{at:08d}", classes.astype(np.int16), hit, said, label])
    iou = {f"class {number}": float(100 * np.clip(rng.normal(skill, 0.2), 0, 1)) for number in range(20)}
    columns = ["sample_id", "classes", "intersection", "prediction", "label"]
    return {}, {"IoU": {**iou, "never there": None}}, pd.DataFrame(rows, columns=columns)


def _detection(skill: float, images: int, rng: np.random.Generator) -> Form:
    rows = []
    for at in range(images):
        objects = rng.integers(0, 8, rng.integers(0, 6)).astype(np.int16)
        count = int(rng.integers(0, 9))
        found = np.arange(count) < skill * len(objects)
        matched = np.where(found, 1023, 0).astype(np.uint16)
        none = np.zeros(count, np.uint16)
        scores = np.where(found, rng.uniform(0.4, 1, count), rng.uniform(0.05, 0.6, count))
        classes = rng.integers(0, 8, count).astype(np.int16)
        rows.append([f"{at:012d}", classes, scores, matched, none, matched, none, objects])
    columns = [
        "sample_id",
        "classes",
        "scores",
        "box_matched",
        "box_ignored",
        "mask_matched",
        "mask_ignored",
        "objects",
    ]
    names = ["person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck"]
    ap: dict[str, float | None] = {name: float(100 * np.clip(rng.normal(skill, 0.2), 0, 1)) for name in names}
    return {}, {"AP_box": ap}, pd.DataFrame(rows, columns=columns)


def _classification(skill: float, images: int, rng: np.random.Generator, classes: int = 8) -> Form:
    label = np.random.default_rng(7).integers(0, classes, images)  # the same for all checkpoints
    right = rng.random(images) < skill
    said = np.where(right, label, (label + 1 + rng.integers(0, 2, images)) % classes)
    correct = said == label
    samples = pd.DataFrame(
        {
            "sample_id": [f"test/{at:05d}" for at in range(images)],
            "label": label.astype(np.int32),
            "prediction": said.astype(np.int32),
            "correct": correct,
            "rank": np.where(correct, 1, rng.integers(2, classes + 1, images)).astype(np.int32),
            "margin": np.where(correct, rng.gamma(2, 0.03, images), rng.gamma(1, 0.02, images)).astype(np.float32),
        }
    )
    accuracy: dict[str, float | None] = {}
    for number in range(classes):
        own = correct[label == number]
        accuracy[f"kind {number}"] = 100 * float(own.mean()) if len(own) else None
    return {"top1": 100 * float(correct.mean())}, {"accuracy": accuracy}, samples


def _retrieval(skill: float, images: int, rng: np.random.Generator) -> Form:
    by_image = np.minimum(rng.geometric(0.1 + 0.5 * skill, images), 5 * (images - 1))
    by_text = np.minimum(rng.geometric(0.1 + 0.4 * skill, (images, 5)), images)
    names = [f"{at:09d}" for at in range(images)]
    recalls = {"i2t_r1": 100 * float((by_image == 1).mean()), "t2i_r1": 100 * float((by_text == 1).mean())}

    def first(own: int, rank: int) -> list[int]:
        """Five pictures, of which the own one is where its rank says."""
        others = [place for place in rng.choice(images, min(6, images), replace=False).tolist() if place != own]
        return [*others[: rank - 1], own, *others[rank - 1 :]][:5] if rank <= 5 else others[:5]

    tops = [[first(at, int(rank)) for rank in by_text[at]] for at in range(images)]
    captions = [
        [f"{thing} number {number} of picture {at}" for number, thing in enumerate(THINGS)] for at in range(images)
    ]
    by_picture = [[f"{names[place]}#{place % 5}" for place in first(at, int(by_image[at]))] for at in range(images)]
    by_caption = [[[names[place] for place in top] for top in own] for own in tops]
    samples = {
        "sample_id": names,
        "i2t_rank": by_image,
        "t2i_ranks": list(by_text),
        "captions": captions,
        "i2t_top": by_picture,
        "i2t_top_scores": [list(np.linspace(0.31, 0.27, len(top), dtype=np.float32)) for top in by_picture],
        "t2i_top": by_caption,
        "t2i_top_scores": [
            [list(np.linspace(0.33, 0.26, len(top), dtype=np.float32)) for top in own] for own in by_caption
        ],
    }
    return recalls, {}, pd.DataFrame(samples)


THINGS = ("a dog runs on a beach", "two people on a tandem", "a long table", "something red", "the sea in the morning")
"""What the invented captions are about."""


FORMS = {
    "benchmarks.dense.segmentation": _segmentation,
    "benchmarks.dense.detection": _detection,
    "benchmarks.zeroshot.classification": _classification,
    "benchmarks.zeroshot.retrieval": _retrieval,
}


def write_pictures(folder: Path, samples: Sequence[str], side: int, rng: np.random.Generator) -> None:
    """Image | truth | prediction as runs save them: a noisy photograph and two maps of flat colours."""
    folder.mkdir(parents=True, exist_ok=True)
    width = side * 4 // 3
    colours = rng.integers(0, 255, (8, 3), dtype=np.uint8)
    for number, sample in enumerate(samples):
        scene = np.random.default_rng(number)
        low = Image.fromarray(scene.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((width, side))
        noise = scene.normal(0, 6, (side, width, 1))
        photograph = Image.fromarray((np.asarray(low) + noise).clip(0, 255).astype(np.uint8))
        canvas = Image.new("RGB", (3 * width + 2 * GAP, side), "white")
        canvas.paste(photograph, (0, 0))
        for place in (1, 2):
            labels = (scene if place == 1 else rng).integers(0, 8, (4, 6))
            flat = Image.fromarray(
                colours[labels]
                if place == 2
                else np.full((4, 6, 3), 90, np.uint8) + 20 * labels[..., None].astype(np.uint8)
            )
            canvas.paste(flat.resize((width, side), Image.Resampling.NEAREST), (place * (width + GAP), 0))
        canvas.save(folder / f"{sample}.png", compress_level=1)


def write_thumbnails(folder: Path, samples: Sequence[str], side: int) -> None:
    """Pictures as retrieval runs save them: small, the same in each run, lying and standing."""
    folder.mkdir(parents=True, exist_ok=True)
    side = min(side, LARGEST * 3 // 4)
    for sample in samples:
        scene = np.random.default_rng(list(sample.encode()))
        size = (side * 4 // 3, side) if scene.random() < 0.8 else (side, side * 4 // 3)
        Image.fromarray(scene.integers(0, 255, (5, 7, 3), dtype=np.uint8)).resize(size).save(folder / file_name(sample))


def write_pretraining(folder: Path, steps: int = 300, masks: int = 2, seed: int = 0) -> None:
    """What a pretraining leaves: two parts of a log, the settings, and pictures of masks."""
    rng = np.random.default_rng(seed)
    for part, start in (("20260101_000000", 10), ("20260101_010000", steps // 2)):
        log = folder / "logs" / part / "vis_data" / "scalars.json"
        log.parent.mkdir(parents=True)
        lines = []
        for step in range(start, steps, 10):
            decay = float(np.exp(-step / steps * 2))
            values = {"loss": 9 + 9 * decay + rng.normal() / 9, "clip": 3 * decay + 0.5, "cls": 6.0, "lr": 1e-3 * decay}
            lines.append(json.dumps({**values, "step": step, "iter": step, "time": 0.1}))
        log.write_text("\n".join([*lines, '{"loss": 1.2, "st']), encoding="utf-8")  # killed while it wrote
    (folder / "training.json").write_text(json.dumps({"method": "detailclip", "epochs": 25, "seed": seed}))
    drawn = folder / "masks"
    drawn.mkdir()
    rows = ["file,pair,caption,patches,removed,attention_min,attention_max"]
    for number in range(masks):
        Image.fromarray(rng.integers(0, 255, (60, 300, 3), dtype=np.uint8)).save(drawn / f"{number:04d}.png")
        rows.append(f"{number:04d}.png,pair {number},a photo of <b>two</b> dogs,196,98,0.1,0.9")
    (drawn / "masks.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


ALL = tuple(benchmark.id for benchmark in BENCHMARKS)
