"""The fields of the detection benchmarks. Their values are in mm_configs/detection and nowhere else."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from benchmarks.dense.protocol import DenseFields, Share, Size
from benchmarks.engine.protocol import Count, Positive, load_protocol
from benchmarks.suite import Benchmark

STAGES = 3

Stds = tuple[Positive, Positive, Positive, Positive]


class DetectionFields(DenseFields):
    """One detection benchmark (docs/methodology.md, COCO)."""

    dataset: Literal["coco"]
    train_split: Literal["train2017"]
    test_split: Literal["val2017"]
    num_classes: Literal[80]
    smallest_side: Count = Field(description="pictures with a shorter side are not trained on, in pixels")
    group_by_orientation: bool = Field(description="batches of landscape or of portrait pictures only")

    flip_probability: Share
    short_sides: Annotated[tuple[Count, ...], Field(min_length=1)]
    longest_side: Count
    crop_probability: Share = Field(description="of the resize-crop-resize branch")
    crop_short_sides: Annotated[tuple[Count, ...], Field(min_length=1)]
    crop_range: tuple[Count, Count] = Field(description="shortest and longest side of the crop, drawn for each side")
    crops_without_boxes: bool
    pad_multiple: Count
    test_scale: tuple[Count, Count] = Field(description="(longest, shortest) side of a picture at test time")

    position_size: Size
    fpn_channels: Count
    fpn_levels: Annotated[int, Field(ge=4)]

    anchor_scale: Positive
    anchor_ratios: Annotated[tuple[Positive, ...], Field(min_length=1)]
    rpn_channels: Count
    rpn_stds: Stds
    rpn_positive_iou: Share
    rpn_negative_iou: Share
    rpn_best_anchor_iou: Share = Field(description="an object's best anchor is positive from this overlap on")
    rpn_allowed_border: int = Field(description="pixels an anchor may reach beyond the picture; -1: any number")
    rpn_samples: Count
    rpn_positive_share: Share
    rpn_box_beta: Positive = Field(description="where SmoothL1 turns from square to linear")
    rpn_nms_iou: Share
    rpn_before_nms_training: Count
    rpn_after_nms_training: Count
    rpn_before_nms_test: Count
    rpn_after_nms_test: Count

    stage_weights: tuple[Positive, Positive, Positive]
    stage_ious: tuple[Share, Share, Share]
    stage_stds: tuple[Stds, Stds, Stds]
    roi_samples: Count
    roi_positive_share: Share
    roi_add_truth: bool
    box_roi_size: Count
    box_convs: Count
    box_channels: Count
    box_fc_channels: Count
    class_agnostic_boxes: bool
    box_loss: Literal["giou", "smooth_l1"]
    box_loss_weight: Positive
    mask_roi_size: Count
    mask_convs: Count
    mask_channels: Count

    score_threshold: Share
    nms_iou: Share
    max_per_image: Annotated[int, Field(ge=1, le=100, description="COCO scores 100 at most")]
    mask_threshold: Share

    epochs: Count
    drop_epochs: tuple[Count, ...]
    drop_factor: Annotated[float, Field(gt=0, le=1)]
    iterations: Count | None = Field(description="cut the training short to so many; None: all that the epochs take")

    @model_validator(mode="after")
    def _possible_ranges(self) -> "DetectionFields":
        """Ranges are in order."""
        if self.crop_range[0] > self.crop_range[1]:
            raise ValueError(f"crop_range={self.crop_range}: the smaller value comes first")
        if max(self.short_sides) > self.longest_side:
            raise ValueError(f"longest_side={self.longest_side} is below the longest of short_sides")
        if list(self.drop_epochs) != sorted(set(self.drop_epochs)) or max(self.drop_epochs, default=0) > self.epochs:
            raise ValueError(f"drop_epochs={self.drop_epochs}: ascending numbers up to epochs={self.epochs}")
        if self.rpn_negative_iou > self.rpn_positive_iou:
            raise ValueError("rpn_negative_iou must not be above rpn_positive_iou")
        return self

    @model_validator(mode="after")
    def _groups_fit(self) -> "DetectionFields":
        """Group normalisation has 32 groups."""
        if self.norm_layer == "GN" and self.box_channels % 32:
            raise ValueError(f"norm_layer=GN needs box_channels that are a multiple of 32, not {self.box_channels}")
        return self


def default_detection(benchmark: Benchmark) -> dict[str, Any]:
    """The shipped protocol of a detection benchmark."""
    return load_protocol(benchmark.config, DetectionFields).protocol()
