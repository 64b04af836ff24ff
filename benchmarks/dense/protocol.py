"""The fields of the dense benchmarks. Their values are in mm_configs/ and nowhere else."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from benchmarks.engine.division import ScaleLr, scaled_rate
from benchmarks.engine.protocol import Count, Fields, Momentum, Positive, load_protocol
from benchmarks.suite import Benchmark

Size = Annotated[tuple[Count, Count], Field(description="(height, width) in pixels")]
NormLayer = Literal["SyncBN", "BN", "GN"]
Share = Annotated[float, Field(ge=0, le=1)]

GROUPS = 32
"""Of group normalisation, wherever it stands in place of batch norm."""
UNBOUNDED = 2**20
"""Longer than the long side of any picture, in pixels."""


class BackboneFields(Fields):
    """How the tower is read. Recorded as ``model_protocol``: shown, not fingerprinted."""

    norm_on_taps: bool = Field(description="the tower's final LayerNorm on each of the four taps")
    force_imagenet_norm: bool = Field(description="ImageNet pixel statistics instead of the checkpoint's own")
    position_offset: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="added to the wanted grid when the scale factor of the position table is computed"
    )


class ExecutionFields(Fields):
    """What decides time and memory, not the result. Neither recorded as protocol nor fingerprinted.

    One of them can change the result, and is then seen in the protocol: see ``accumulate``.
    """

    workers: Annotated[int, Field(ge=0)] = Field(description="data-loader processes")
    checkpoint_blocks: bool = Field(description="recompute activations in the backward pass")
    state_interval: Count = Field(description="iterations between two resume states")
    accumulate: Count = Field(
        description="parts into which each process divides its share of the batch, to need less memory; batch norm "
        "then takes its statistics over a part, and the protocol tells so as norm_batch"
    )


class DenseFields(Fields):
    """What all dense benchmarks have: data, batch, optimiser, norm layer, how the tower is read and run."""

    dataset: str
    test_split: str
    batch_size: Count = Field(description="images an iteration, over all processes and parts")
    base_batch_size: Count = Field(description="the batch_size that lr is meant for")
    scale_lr: ScaleLr = Field(description="how lr follows batch_size / base_batch_size: none, linear or sqrt")
    lr: Positive
    betas: tuple[Momentum, Momentum]
    weight_decay: Annotated[float, Field(ge=0)]
    decay_biases_and_norms: bool
    exempt_pos_cls: bool = Field(description="no weight decay for position table and class token")
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    warmup_iterations: Count
    warmup_ratio: Annotated[float, Field(gt=0, le=1)]
    precision: Literal["fp32", "fp16", "bf16"]
    norm_layer: NormLayer
    drop_path_rate: Share
    backbone: BackboneFields
    execution: ExecutionFields

    @property
    def peak_lr(self) -> float:
        """The learning rate that runs."""
        return scaled_rate(self.lr, self.batch_size, self.base_batch_size, self.scale_lr)

    @property
    def normalised(self) -> bool:
        """Whether there is any norm layer besides the tower's own."""
        return True

    def protocol(self) -> dict[str, Any]:
        """The fields that decide the result: what is fingerprinted."""
        return self.model_dump(mode="json", exclude={"backbone", "execution"})


class SegmentationFields(DenseFields):
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
    test_scales: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        description="factors on image_scale; the class probabilities found at all of them are averaged"
    )
    test_flip: bool = Field(description="average over the mirrored picture too")
    test_smallest_side: Count | None = Field(
        description="a test picture's short side is no shorter, whatever becomes of the long one; None: as it falls"
    )

    head: Literal["upernet", "linear"]
    head_channels: Count | None = Field(description="channels inside UperNet; None for the linear head")
    head_dropout: Share
    pool_scales: tuple[Count, ...] | None = Field(description="sides of the pyramid pooling grids")
    auxiliary_channels: Count | None = Field(description="channels of the auxiliary FCN head; None: no such head")
    auxiliary_weight: Positive | None
    loss_counts_ignored_pixels: bool

    frozen_backbone: bool
    pyramid: bool

    iterations: Count
    poly_power: Positive

    @model_validator(mode="after")
    def _complete_heads(self) -> "SegmentationFields":
        """Each head has the fields it needs."""
        if self.head == "upernet" and not (self.head_channels and self.pool_scales and self.pyramid):
            raise ValueError("head=upernet needs head_channels, pool_scales and pyramid=True")
        if self.head == "upernet" and self.batch_size < 2 and self.norm_layer != "GN":
            raise ValueError(
                "head=upernet needs batch_size of 2 or more: its 1x1 pooling is batch-normalised (or norm_layer=GN)"
            )
        if self.auxiliary_channels is not None and self.auxiliary_weight is None:
            raise ValueError("auxiliary_channels needs auxiliary_weight")
        return self

    @model_validator(mode="after")
    def _groups_fit(self) -> "SegmentationFields":
        """Group normalisation has GROUPS groups, and what is pooled to 1x1 needs two values in each."""
        odd = any((channels or 0) % GROUPS for channels in (self.head_channels, self.auxiliary_channels))
        if self.norm_layer == "GN" and (odd or self.head_channels == GROUPS):
            raise ValueError(
                f"norm_layer=GN needs head_channels and auxiliary_channels that are multiples of {GROUPS}, "
                f"and head_channels above {GROUPS}"
            )
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

    @property
    def many_views(self) -> bool:
        """Whether a picture is predicted more than once at test time, in several sizes or mirrored."""
        return self.test_flip or len(self.test_scales) > 1

    @property
    def test_sizes(self) -> tuple[tuple[int, int], ...]:
        """(longest, shortest) side that a test picture is resized to fit in, for each of ``test_scales``."""
        longest, shortest = self.image_scale
        sizes = tuple((int(longest * factor), int(shortest * factor)) for factor in self.test_scales)
        floor = self.test_smallest_side
        return sizes if floor is None else tuple((UNBOUNDED, max(short, floor)) for _, short in sizes)

    @property
    def normalised(self) -> bool:
        """Whether there is any norm layer besides the tower's own."""
        return self.pyramid or bool(self.head_channels or self.auxiliary_channels)


def default_segmentation(benchmark: Benchmark) -> dict[str, Any]:
    """The shipped protocol of a segmentation benchmark."""
    return load_protocol(benchmark.config, SegmentationFields).protocol()
