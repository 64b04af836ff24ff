"""Semantic segmentation on ADE20K: from a checked job to a trained and scored model.

The named fields of ``SegmentationFields`` become a complete MMEngine config here, and nowhere else. MMSegmentation
supplies data set, transforms, heads and inference; the tower is ``DenseViT``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.checkpoints import ImageTower, load_image_tower
from benchmarks.data import ade20k
from benchmarks.dense import counts, layer_decay  # noqa: F401 (registers them)
from benchmarks.dense.common import (
    backbone_weights,
    division_of,
    image_preprocessor,
    norm_batch,
    optimiser_config,
    run_config,
    run_facts,
    tower_protocol,
    training_loop,
    warmup_config,
)
from benchmarks.dense.plan import DensePlan
from benchmarks.dense.protocol import GROUPS, SegmentationFields
from benchmarks.engine.device import choose_device
from benchmarks.engine.launch import is_main
from benchmarks.engine.protocol import load_protocol
from benchmarks.engine.together import main_first
from benchmarks.errors import OptionError
from benchmarks.files import write_text
from benchmarks.install import check_installation
from benchmarks.records import Metric
from benchmarks.run import Job, Outcome, Report, Working
from benchmarks.statistics import bootstrap_miou, miou, per_class_iou

IGNORE = 255

TRAINS = True
"""All processes of a launch run it together (see ``benchmarks.run``)."""


def plan(job: Job, progress: Report | None = None) -> "SegmentationPlan":
    """Check options, checkpoint and data of ``job``, in this order: the quickest to fail first.

    Raises:
        BenchError: one of them cannot be used.
    """
    check_installation()
    fields = load_protocol(job.benchmark.config, SegmentationFields, job.quick, job.overrides)
    device = choose_device(job.device)
    tower = load_image_tower(job.checkpoint, job.tower, job.image_heads, job.quick_gelu)
    _require_fitting_crop(fields, tower)
    _require_normalisable(fields, tower, device)
    training = ade20k.load_split(job.data_root, fields.train_split, progress)
    validation = ade20k.load_split(job.data_root, fields.test_split, progress)
    if job.limit is not None and not 1 <= job.limit <= len(validation.pairs):
        raise OptionError(f"--limit {job.limit}: choose 1 to {len(validation.pairs)} images")
    return SegmentationPlan(job, fields, training, validation, tower, device)


def _require_fitting_crop(fields: SegmentationFields, tower: ImageTower) -> None:
    """Refuse crops that patches cannot tile, and crops or test images too small for the pyramid's stride of 32.

    Raises:
        OptionError: a size does not fit the tower.
    """
    patch, rows = tower.architecture.patch_size, 2 if fields.pyramid else 1
    if any(side % patch or side < rows * patch for side in fields.crop_size):
        raise OptionError(
            f"crop_size={fields.crop_size}: choose multiples of the tower's patch of {patch} pixels, "
            f"at least {rows * patch}"
        )
    shortest = min(short for _, short in fields.test_sizes)
    if shortest < rows * patch:
        raise OptionError(
            f"test_scales={fields.test_scales} of image_scale={fields.image_scale}: {shortest} pixels for an image's "
            f"short side, of which the tower needs {rows * patch}; choose larger ones, or give test_smallest_side"
        )


def _require_normalisable(fields: SegmentationFields, tower: ImageTower, device: torch.device) -> None:
    """Refuse a batch that does not divide, single values to batch-normalise, and widths that groups do not divide.

    Raises:
        OptionError: the batch or the tower does not fit the norm layer.
    """
    division, width = division_of(fields), tower.architecture.width
    if fields.head == "upernet" and norm_batch(fields.norm_layer, division, device) == 1:
        raise OptionError(
            f"batch_size={fields.batch_size}: by {division.by} one image is batch-normalised at a time, and "
            "UperNet's 1x1 pooling needs two; lower one of them, or choose -o norm_layer=GN, another protocol"
        )
    if fields.norm_layer == "GN" and fields.pyramid and width % GROUPS:
        raise OptionError(f"norm_layer=GN: the tower's width of {width} is no multiple of {GROUPS}")


@dataclass(frozen=True)
class SegmentationPlan(DensePlan[SegmentationFields, ade20k.Split]):
    """A checked segmentation job (see ``benchmarks.run.Plan``)."""

    @property
    def model_protocol(self) -> dict[str, Any]:
        """How this checkpoint's tower is read; ``position_table`` is its grid in the file and as it is trained."""
        patch = self.tower.architecture.patch_size
        rows, columns = (side // patch for side in self.fields.crop_size)
        return tower_protocol(self.tower, (rows, columns), self.pixel_statistics, self.fields.backbone)

    def execute(self, folder: Path, state: Path, working: Working) -> Outcome | None:
        """Train, or take up training, then score (see ``benchmarks.run.Plan``); the engine shows its own progress."""
        from benchmarks.engine.runner import BenchRunner

        runner = BenchRunner.from_config(main_first(lambda: self.config(folder, state)), self.device)
        runner.train_and_test()
        if not is_main():
            return None
        images = runner.test_evaluator.metrics[0].images
        intersection = np.stack([image.intersection for image in images])
        union = np.stack([image.union for image in images])
        return Outcome(
            metrics={"mIoU": miou_metric(intersection, union)},
            per_class={"IoU": _named(per_class_iou(intersection, union))},
            samples=samples_table(images),
            **run_facts(runner, self.fields.precision, self.device, self.division),
        )

    def config(self, folder: Path, state: Path) -> Any:
        """The complete MMEngine config of this run: logs and pictures in ``folder``, resume state in ``state``."""
        if self.fields.many_views:
            from benchmarks.dense import multi_scale  # noqa: F401 (registers it; imports MMSegmentation)

        state.mkdir(parents=True, exist_ok=True)
        fields = self.fields
        weights = backbone_weights(self.tower, state)
        parts = {
            "model": model_config(fields, self.tower, self.pixel_statistics, weights),
            "train_dataloader": train_loader(fields, self.training, self.job.seed, state),
            "test_dataloader": test_loader(fields, self.validation, self.expected, state),
            "train_cfg": training_loop(fields.iterations, fields.execution),
            "test_cfg": {"type": "TestLoop"},
            "test_evaluator": {
                "type": "PixelCounts",
                "classes": fields.num_classes,
                "pictures": self.job.pictures,
                "picture_folder": str(folder / "pictures"),
            },
            **schedule_config(fields, self.tower.architecture.depth, self.device),
        }
        return run_config(self.job, folder, state, fields.execution, "mmseg", parts)


def model_config(
    fields: SegmentationFields,
    tower: ImageTower,
    statistics: tuple[tuple[float, ...], tuple[float, ...]],
    weights: Path,
) -> dict[str, Any]:
    """MMSegmentation's ``EncoderDecoder`` over the tower."""
    channels = tower.architecture.width
    return {
        "type": "ManyViewsSegmentor" if fields.many_views else "EncoderDecoder",
        "data_preprocessor": {
            "type": "SegDataPreProcessor",
            **image_preprocessor(statistics),
            "pad_val": 0,
            "seg_pad_val": IGNORE,
            "size": fields.crop_size,
        },
        "backbone": {
            "type": "DenseViT",
            "weights": str(weights),
            "image_size": fields.crop_size,
            "norm_on_taps": fields.backbone.norm_on_taps,
            "position_offset": fields.backbone.position_offset,
            "pyramid": _norm(fields) if fields.pyramid else None,
            "drop_path_rate": fields.drop_path_rate,
            "checkpoint_blocks": fields.execution.checkpoint_blocks,
            "frozen": fields.frozen_backbone,
        },
        "decode_head": HEADS[fields.head](fields, channels),
        "auxiliary_head": auxiliary_head(fields, channels) if fields.auxiliary_channels else None,
        "test_cfg": {"mode": fields.test_mode, "crop_size": fields.crop_size, "stride": fields.test_stride},
    }


def _norm(fields: SegmentationFields) -> dict[str, Any]:
    """MMEngine's config of the norm layer."""
    groups = {"num_groups": GROUPS} if fields.norm_layer == "GN" else {}
    return {"type": fields.norm_layer, "requires_grad": True, **groups}


def _head_base(fields: SegmentationFields, weight: float) -> dict[str, Any]:
    """What all heads share: classes, norm layer, loss."""
    return {
        "num_classes": fields.num_classes,
        "norm_cfg": _norm(fields),
        "align_corners": False,
        "ignore_index": IGNORE,
        "loss_decode": _loss(fields, weight),
    }


def _loss(fields: SegmentationFields, weight: float) -> dict[str, Any]:
    """Cross-entropy averaged over all pixels, which are as many in every process, or over the labelled ones of all."""
    if fields.loss_counts_ignored_pixels:
        return {"type": "CrossEntropyLoss", "loss_weight": weight, "avg_non_ignore": False}
    from benchmarks.dense import segmentation_losses  # noqa: F401 (registers it; imports MMSegmentation)

    return {"type": "SharedCrossEntropyLoss", "loss_weight": weight, "avg_non_ignore": True}


def upernet_head(fields: SegmentationFields, channels: int) -> dict[str, Any]:
    """UperNet (arXiv 1807.10221) on the four-level pyramid."""
    return {
        "type": "UPerHead",
        "in_channels": [channels] * 4,
        "in_index": [0, 1, 2, 3],
        "pool_scales": fields.pool_scales,
        "channels": fields.head_channels,
        "dropout_ratio": fields.head_dropout,
        **_head_base(fields, 1.0),
    }


def linear_head(fields: SegmentationFields, channels: int) -> dict[str, Any]:
    """A single 1x1 convolution on the four concatenated taps: no norm layer, nothing else."""
    return {
        "type": "FCNHead",
        "num_convs": 0,
        "kernel_size": 1,
        "concat_input": False,
        "in_channels": [channels] * 4,
        "in_index": [0, 1, 2, 3],
        "input_transform": "resize_concat",
        "channels": 4 * channels,
        "dropout_ratio": fields.head_dropout,
        **_head_base(fields, 1.0),
    }


HEADS = {"upernet": upernet_head, "linear": linear_head}


def auxiliary_head(fields: SegmentationFields, channels: int) -> dict[str, Any]:
    """The FCN head on the stride-16 map, for training only."""
    assert fields.auxiliary_weight is not None
    return {
        "type": "FCNHead",
        "num_convs": 1,
        "concat_input": False,
        "in_channels": channels,
        "in_index": 2,
        "channels": fields.auxiliary_channels,
        "dropout_ratio": fields.head_dropout,
        **_head_base(fields, fields.auxiliary_weight),
    }


def _dataset(split: ade20k.Split, count: int, pipeline: list[dict[str, Any]], lists: Path) -> dict[str, Any]:
    """MMSegmentation's reader of the first ``count`` pairs of a verified split, and of nothing else in its folders.

    The names go into a file in the folder ``lists``: left to itself the reader would list the folders again.
    """
    names = lists / f"{split.name}.txt"
    write_text(names, "".join(f"{pair.sample_id}\n" for pair in split.pairs[:count]))
    return {
        "type": "ADE20KDataset",
        "data_root": str(split.folder),
        "data_prefix": {"img_path": f"images/{split.name}", "seg_map_path": f"annotations/{split.name}"},
        "ann_file": str(names.resolve()),
        "pipeline": pipeline,
    }


def train_loader(fields: SegmentationFields, split: ade20k.Split, seed: int, lists: Path) -> dict[str, Any]:
    """The augmented, endlessly shuffled training images."""
    pipeline: list[dict[str, Any]] = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "reduce_zero_label": True},
        {
            "type": "RandomResize",
            "scale": fields.image_scale,
            "ratio_range": fields.scale_ratio,
            "keep_ratio": True,
        },
        {"type": "RandomCrop", "crop_size": fields.crop_size, "cat_max_ratio": fields.crop_max_class_share},
        {"type": "RandomFlip", "prob": fields.flip_probability},
        *([{"type": "PhotoMetricDistortion"}] if fields.photometric_distortion else []),
        {"type": "PackSegInputs"},
    ]
    return {
        "dataset": {
            "type": "SeededDataset",
            "dataset": _dataset(split, len(split.pairs), pipeline, lists),
            "seed": seed,
        },
        "sampler": {"type": "EndlessShuffleSampler"},
        "batch_size": division_of(fields).part,
        "num_workers": fields.execution.workers,
        "persistent_workers": fields.execution.workers > 0,
        "drop_last": True,
    }


def test_pipeline(fields: SegmentationFields) -> list[dict[str, Any]]:
    """Loading and resizing: one view of an image, or a list of all of them; the labels keep their original size."""
    resizes = [{"type": "Resize", "scale": size, "keep_ratio": True} for size in fields.test_sizes]
    labels = {"type": "LoadAnnotations", "reduce_zero_label": True}
    load, pack = {"type": "LoadImageFromFile"}, {"type": "PackSegInputs"}
    if not fields.many_views:
        return [load, *resizes, labels, pack]
    flips = [{"type": "RandomFlip", "prob": float(flip)} for flip in ((0, 1) if fields.test_flip else (0,))]
    return [load, {"type": "TestTimeAug", "transforms": [resizes, flips, [labels], [pack]]}]


def test_loader(fields: SegmentationFields, split: ade20k.Split, count: int, lists: Path) -> dict[str, Any]:
    """The first ``count`` validation images, one by one, at test scale with labels of original size."""
    return {
        "dataset": {**_dataset(split, count, test_pipeline(fields), lists), "test_mode": True},
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "batch_size": 1,
        "num_workers": fields.execution.workers,
        "persistent_workers": False,
    }


def schedule_config(fields: SegmentationFields, depth: int, device: torch.device) -> dict[str, Any]:
    """AdamW with layer decay; the rate at iteration i is lr·(1 − i/N)^p, warmed up linearly.

    Both schedulers run from iteration 0 and multiply, as in MMCV 1, where the published recipes come from; MMEngine's
    usual pair would start the polynomial only after the warm-up. ``end``: see ``warmup_config``.
    """
    return {
        "optim_wrapper": optimiser_config(fields, depth, device),
        "param_scheduler": [
            warmup_config(fields.warmup_iterations, fields.warmup_ratio),
            {
                "type": "PolyLR",
                "power": fields.poly_power,
                "eta_min": 0.0,
                "by_epoch": False,
                "begin": 0,
                "end": fields.iterations + 1,
            },
        ],
    }


def miou_metric(intersection: np.ndarray, union: np.ndarray) -> Metric:
    """mIoU in percent with its 95 % bootstrap interval over images. Both arrays are (images, classes)."""
    interval = bootstrap_miou(intersection, union)
    return Metric(
        value=miou(intersection, union),
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n=len(intersection),
    )


def _named(values: np.ndarray) -> dict[str, float | None]:
    """Per-class values by ADE20K class name; None for a class that occurs nowhere."""
    return {
        name: None if np.isnan(value) else float(value) for name, value in zip(ade20k.classes(), values, strict=True)
    }


def samples_table(images: list[Any]) -> Any:
    """The per-image counts as a sparse frame (docs/results-format.md): only classes that occur in an image."""
    import pandas as pd

    rows = []
    for image in images:
        classes = np.flatnonzero(image.prediction + image.label)
        rows.append(
            {
                "sample_id": image.sample_id,
                "classes": classes.astype(np.int16),
                "intersection": image.intersection[classes],
                "prediction": image.prediction[classes],
                "label": image.label[classes],
            }
        )
    return pd.DataFrame(rows)
