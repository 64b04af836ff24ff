"""What the dense benchmarks cost: a training step and a scored picture of the real models, counted at full size."""

from dataclasses import dataclass
from functools import partial
from math import ceil, prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

from benchmarks.checkpoints import VitArchitecture
from benchmarks.dense.detection_protocol import STAGES, DetectionFields
from benchmarks.dense.protocol import SegmentationFields
from benchmarks.estimate.counting import Step, count_inference, count_training, weightless, without_content
from benchmarks.estimate.models import detector, segmentor

ASPECT = 4 / 3
"""Long over short side of a typical picture: the median of ADE20K's; most pictures of COCO are 640x480."""

_DRAWS = 4000
_SIDE = 480  # of a picture of COCO, the short one, in pixels

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Counts:
    """What a dense benchmark costs.

    Attributes:
        training: floating-point operations of a training step, per picture.
        scoring: the same of scoring one.
        step: a training step on ``batch`` of the largest pictures, for its memory.
        batch: pictures of these steps.
        weights: parameters of the model ...
        trained: ... of which so many are trained.
        tower: parameters of the tower.
        copies: bytes of the trained ones' copies in half precision, which a step holds throughout.
    """

    training: float
    scoring: int
    step: Step
    batch: int
    weights: int
    trained: int
    tower: int
    copies: int


# ---- segmentation


def count_segmentation(fields: SegmentationFields, architecture: VitArchitecture, batch: int) -> Counts:
    """Count a step on ``batch`` crops, or on 2 where 1 is asked for (batch norm needs them), and a scored picture."""
    batch = max(batch, 2)
    model = segmentor(fields, architecture)
    with weightless():
        without_content(model).train()
        images = torch.empty(batch, 3, *fields.crop_size)
        labels = torch.empty(batch, *fields.crop_size, dtype=torch.long)
        heads = [model.decode_head, *([model.auxiliary_head] if model.with_auxiliary_head else [])]

        def loss() -> Tensor:
            features = model.backbone(images)
            return torch.stack([_pixel_loss(head(features), labels) for head in heads]).sum()

        step = count_training(model, loss, fields.precision)
        model.eval()
        scoring = sum(
            count * count_inference(model, partial(_score_crop, model, size)).forward
            for size, count in test_windows(fields).items()
        )
    return _counts(model, fields, step.whole / batch, scoring, step, batch)


def _pixel_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy on logits at the size of the labels, as MMSegmentation's heads compute it."""
    logits = F.interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=False)
    return F.cross_entropy(logits, labels, ignore_index=255, reduction="none").mean()


def _score_crop(model: Any, size: Size) -> Tensor:
    logits: Tensor = model.decode_head(model.backbone(torch.empty(1, 3, *size)))
    return logits


def test_windows(fields: SegmentationFields) -> dict[Size, int]:
    """The windows that a lying picture of aspect `ASPECT` is scored in: how many of each (height, width)."""
    windows: dict[Size, int] = {}
    for longest, shortest in fields.test_sizes:
        short = min(shortest, longest / ASPECT)
        sides = round(short), round(short * ASPECT)
        size, count = sides, 1
        if fields.test_mode == "slide":
            axes = list(zip(sides, fields.crop_size, fields.test_stride, strict=True))
            size = min(sides[0], fields.crop_size[0]), min(sides[1], fields.crop_size[1])
            count = prod(1 + ceil(max(side - window, 0) / stride) for side, window, stride in axes)
        windows[size] = windows.get(size, 0) + count * (2 if fields.test_flip else 1)
    return windows


# ---- detection


def count_detection(fields: DetectionFields, architecture: VitArchitecture, batch: int) -> Counts:
    """Count a step on ``batch`` pictures of the largest size, one on a picture of the mean size, and a scored one."""
    model = detector(fields, architecture)
    mean = mean_size(fields, batch)
    with weightless():
        without_content(model).train()
        loss = partial(_detection_loss, model, fields, batch, largest_size(fields))
        step = count_training(model, loss, fields.precision)
        usual = count_training(model, partial(_detection_loss, model, fields, 1, mean), fields.precision)
        model.eval()
        scoring = count_inference(model, partial(_detect, model, fields)).forward
    return _counts(model, fields, usual.whole, scoring, step, batch)


def _detection_loss(model: Any, fields: DetectionFields, batch: int, size: Size) -> Tensor:
    """The forward pass of training on pictures padded to ``size``.

    Every picture has as many regions as are drawn at most, of which ``roi_positive_share`` have masks.
    """
    levels = model.neck(model.backbone(torch.empty(batch, 3, *size)))
    masks = int(fields.roi_samples * fields.roi_positive_share)
    parts = _sums(model.rpn_head(levels))
    for stage in range(STAGES):
        boxes = _regions(levels, batch * fields.roi_samples, fields.box_roi_size)
        parts += _sums(model.roi_head.bbox_head[stage](boxes))
        parts += _sums(model.roi_head.mask_head[stage](_regions(levels, batch * masks, fields.mask_roi_size)))
    return torch.stack(parts).sum()


def _detect(model: Any, fields: DetectionFields) -> None:
    """The forward pass of scoring a picture of aspect `ASPECT`: all proposals kept, all detections made."""
    size = _resized(_SIDE * ASPECT, _SIDE, min(fields.test_scale), max(fields.test_scale))
    levels = model.neck(model.backbone(torch.empty(1, 3, *_padded(size, fields.pad_multiple))))
    model.rpn_head(levels)
    for stage in range(STAGES):
        model.roi_head.bbox_head[stage](_regions(levels, fields.rpn_after_nms_test, fields.box_roi_size))
        model.roi_head.mask_head[stage](_regions(levels, fields.max_per_image, fields.mask_roi_size))


def largest_size(fields: DetectionFields) -> Size:
    """The largest picture of training, padded: the longest side with the longest short side."""
    return _padded((max(fields.short_sides), fields.longest_side), fields.pad_multiple)


def mean_size(fields: DetectionFields, batch: int) -> Size:
    """The size whose area is that of a padded training picture on average, in batches of ``batch``.

    The augmentation is drawn for pictures of 640x480, all lying or all upright (``group_by_orientation``), and each
    batch is padded to its largest height and width.
    """
    generator = np.random.default_rng(0)
    drawn = np.array([_draw_size(fields, generator) for _ in range(max(_DRAWS // batch, 1) * batch)])
    largest = drawn.reshape(-1, batch, 2).max(axis=1)
    padded = -(-largest // fields.pad_multiple) * fields.pad_multiple
    area, aspect = padded.prod(axis=1).mean(), padded[:, 1].mean() / padded[:, 0].mean()
    height = max(round((area / aspect) ** 0.5 / fields.pad_multiple), 1) * fields.pad_multiple
    return height, max(round(area / height / fields.pad_multiple), 1) * fields.pad_multiple


def _draw_size(fields: DetectionFields, generator: Any) -> Size:
    """The (height, width) of one training picture before padding."""
    height, width = float(_SIDE), _SIDE * ASPECT
    if generator.random() < fields.crop_probability:
        height, width = _resized(width, height, int(generator.choice(fields.crop_short_sides)), fields.longest_side)
        low, high = fields.crop_range
        height, width = (int(generator.integers(min(side, low), min(side, high) + 1)) for side in (height, width))
    return _resized(width, height, int(generator.choice(fields.short_sides)), fields.longest_side)


def _resized(width: float, height: float, short: int, longest: int) -> Size:
    """(height, width) with the short side ``short``, or less where the long one would exceed ``longest``."""
    scale = min(short / min(width, height), longest / max(width, height))
    return round(height * scale), round(width * scale)


def _padded(size: Size, multiple: int) -> Size:
    height, width = size
    return ceil(height / multiple) * multiple, ceil(width / multiple) * multiple


def _regions(levels: Any, count: int, side: int) -> Tensor:
    """``count`` regions cut out of the finest level; the types are those of ``ExactRoIExtractor``."""
    regions = torch.empty(count, 5)
    cut: Tensor = roi_align(levels[0].float(), regions, side, spatial_scale=0.25, sampling_ratio=0, aligned=True)
    return cut


def _sums(outputs: Any) -> list[Tensor]:
    """The sum of each tensor among a head's outputs: a stand-in for losses, which cost next to nothing."""
    if isinstance(outputs, Tensor):
        return [outputs.float().sum()]
    return [total for output in outputs for total in _sums(output)]


# ---- both


def _counts(model: Any, fields: Any, training: float, scoring: int, step: Step, batch: int) -> Counts:
    parameters = list(model.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return Counts(
        training=training,
        scoring=scoring,
        step=step,
        batch=batch,
        weights=sum(parameter.numel() for parameter in parameters),
        trained=trained,
        tower=sum(parameter.numel() for parameter in model.backbone.trunk.parameters()),
        copies=0 if fields.precision == "fp32" else 2 * trained,
    )
