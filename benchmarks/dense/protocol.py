"""The fields of the dense benchmarks. Their values are in mm_configs/ and nowhere else."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from benchmarks.engine.protocol import Count, Fields, Momentum, Positive, load_protocol
from benchmarks.suite import Benchmark

Size = Annotated[tuple[Count, Count], Field(description="(height, width) in pixels")]
Share = Annotated[float, Field(ge=0, le=1)]


class BackboneFields(Fields):
    """How the tower is read. Recorded as ``model_protocol``: shown, not fingerprinted."""

    norm_on_taps: bool = Field(description="the tower's final LayerNorm on each of the four taps")
    force_imagenet_norm: bool = Field(description="ImageNet pixel statistics instead of the checkpoint's own")
    position_offset: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="added to the wanted grid when the scale factor of the position table is computed"
    )


class ExecutionFields(Fields):
    """What decides time and memory, not the result. Neither recorded as protocol nor fingerprinted."""

    workers: Annotated[int, Field(ge=0)] = Field(description="data-loader processes")
    checkpoint_blocks: bool = Field(description="recompute activations in the backward pass")
    state_interval: Count = Field(description="iterations between two resume states")


class SegmentationFields(Fields):
    """One semantic-segmentation benchmark (docs/methodology.md, ADE20K)."""

    dataset: Literal["ade20k"]
    train_split: Literal["training"]
    test_split: Literal["validation"]
    num_classes: Literal[150]

    image_scale: tuple[Count, Count] = Field(description="(longest, shortest) side an image is resized to fit in")
    scale_ratio: tuple[Positive, Positive] = Field(description="range of the random factor on image_scale")
    crop_size: Size
    crop_max_class_share: Share = Field(description="redraw the crop while one class covers more than this")
    flip_probability: Share
    photometric_distortion: bool

    test_mode: Literal["slide", "whole"]
    test_stride: Size

    head: Literal["upernet", "linear"]
    head_channels: Count | None = Field(description="channels inside UperNet; None for the linear head")
    head_dropout: Share
    pool_scales: tuple[Count, ...] | None = Field(description="sides of the pyramid pooling grids")
    auxiliary_channels: Count | None = Field(description="channels of the auxiliary FCN head; None: no such head")
    auxiliary_weight: Positive | None
    norm_layer: Literal["SyncBN", "BN"]
    loss_counts_ignored_pixels: bool

    frozen_backbone: bool
    pyramid: bool
    drop_path_rate: Share

    lr: Positive
    betas: tuple[Momentum, Momentum]
    weight_decay: Annotated[float, Field(ge=0)]
    decay_biases_and_norms: bool
    exempt_pos_cls: bool = Field(description="no weight decay for position table and class token")
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    batch_size: Count = Field(description="images an iteration, over all processes")
    iterations: Count
    warmup_iterations: Count
    warmup_ratio: Annotated[float, Field(gt=0, le=1)]
    poly_power: Positive
    precision: Literal["fp32", "fp16", "bf16"]

    backbone: BackboneFields
    execution: ExecutionFields

    @model_validator(mode="after")
    def _complete_heads(self) -> "SegmentationFields":
        """Each head has the fields it needs."""
        if self.head == "upernet" and not (self.head_channels and self.pool_scales and self.pyramid):
            raise ValueError("head=upernet needs head_channels, pool_scales and pyramid=True")
        if self.head == "upernet" and self.batch_size < 2:
            raise ValueError("head=upernet needs batch_size of 2 or more: its 1x1 pooling is batch-normalised")
        if self.auxiliary_channels is not None and self.auxiliary_weight is None:
            raise ValueError("auxiliary_channels needs auxiliary_weight")
        return self

    @model_validator(mode="after")
    def _possible_ranges(self) -> "SegmentationFields":
        """Windows overlap or touch, and ranges are in order."""
        gaps = any(stride > side for stride, side in zip(self.test_stride, self.crop_size, strict=True))
        if self.test_mode == "slide" and gaps:
            raise ValueError(f"test_stride={self.test_stride} leaves gaps between windows of {self.crop_size}")
        if self.scale_ratio[0] > self.scale_ratio[1]:
            raise ValueError(f"scale_ratio={self.scale_ratio}: the smaller value comes first")
        return self

    def protocol(self) -> dict[str, Any]:
        """The fields that decide the result: what is fingerprinted."""
        return self.model_dump(mode="json", exclude={"backbone", "execution"})


def default_segmentation(benchmark: Benchmark) -> dict[str, Any]:
    """The shipped protocol of a segmentation benchmark."""
    assert benchmark.config is not None
    return load_protocol(benchmark.config, SegmentationFields).protocol()
