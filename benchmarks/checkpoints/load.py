"""Loading and inspecting checkpoints: the one way in which a checkpoint enters the house."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.checkpoints.architecture import Preprocessing, TextArchitecture, VitArchitecture
from benchmarks.checkpoints.convert import TRUNK, Converted, check_complete, joint_width
from benchmarks.checkpoints.dual_encoder import layout_dual_encoder, layout_image_encoder, take_weights
from benchmarks.checkpoints.opened import CheckpointInfo, Opened, open_checkpoint
from benchmarks.checkpoints.report import LoadReport

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint as dual encoder: in evaluation mode, float32, on the CPU.

    Attributes:
        model: ``open_clip.CLIP``, or :class:`ImageEncoder` where there is no text side. ``encode_image`` maps
            normalised pixels (B, 3, H, W) and ``encode_text`` tokens (B, 77) to (B, D), neither
            L2-normalised.
        report: what became of every key.
        info: what is known beside the weights.
    """

    model: Any
    report: LoadReport
    info: CheckpointInfo


@dataclass(frozen=True)
class ImageTower:
    """The image tower of a checkpoint alone: in evaluation mode, float32, on the CPU.

    Attributes:
        trunk: timm ``VisionTransformer`` without a classifier.
        architecture: its sizes and settings.
        preprocessing: of the pictures.
        report: what became of every key.
        info: what is known beside the weights.
    """

    trunk: "VisionTransformer"
    architecture: VitArchitecture
    preprocessing: Preprocessing
    report: LoadReport
    info: CheckpointInfo


@dataclass(frozen=True)
class Inspection(CheckpointInfo):
    """What can be told of a checkpoint without being told the heads.

    Attributes:
        heads: None for a tower whose heads must be told (``--image-heads``, ``--text-heads``), or that does
            not exist;
            ``architecture.heads`` and ``text.heads`` are then 0.
        joint: width of the joint space of images and texts; None where there is no text side.
        reference: where the layout comes from.
        report: what became of every key.
    """

    joint: int | None
    reference: str
    report: LoadReport

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-able values."""
        return super().to_dict() | {"report": self.report.to_dict()}


def load_checkpoint(
    path: str | Path,
    tower: str | None = None,
    image_heads: int | None = None,
    text_heads: int | None = None,
    quick_gelu: bool | None = None,
) -> LoadedCheckpoint:
    """Load a checkpoint of any known family as dual encoder.

    Args:
        path: the file, or a folder written by :func:`benchmarks.checkpoints.export_checkpoint` or in open_clip's form
            (``open_clip_config.json`` beside the weights).
        tower: ``ema`` or ``online``; None takes ``ema`` where the file has one.
        image_heads: heads of the image tower; None takes the published number of this width.
        text_heads: the same of the text tower.
        quick_gelu: whether the MLPs have QuickGELU, for files of open_clip, whose weights do not show it; None takes
            what an ``open_clip_config.json`` beside the file says, else GELU, and ``info.notes`` say so.

    Raises:
        CheckpointError: the file cannot be read safely, its layout is unknown, a key is missing or
        unexplained, it lacks
            the tower, the heads must be told or do not fit, or ``quick_gelu`` contradicts the family.
    """
    opened = open_checkpoint(path, tower, quick_gelu)
    converted = opened.convert()
    vision, text = opened.vision(converted, image_heads), opened.text(converted, text_heads)
    opened.require_heads("image", vision)
    if text:
        opened.require_heads("text", text)
    model, _ = _layout(opened, converted, vision, text)
    take_weights(model, converted.tensors)
    return LoadedCheckpoint(model, converted.report, opened.info(vision, text))


def load_image_tower(
    path: str | Path, tower: str | None = None, image_heads: int | None = None, quick_gelu: bool | None = None
) -> ImageTower:
    """Load the image tower alone; the text side is not looked at, and its heads need not be told.

    Args:
        path: as for :func:`load_checkpoint`.
        tower: as for :func:`load_checkpoint`.
        image_heads: as for :func:`load_checkpoint`.
        quick_gelu: as for :func:`load_checkpoint`.

    Raises:
        CheckpointError: as :func:`load_checkpoint`.
    """
    opened = open_checkpoint(path, tower, quick_gelu)
    converted = opened.convert(image_only=True)
    vision = opened.vision(converted, image_heads)
    opened.require_heads("image", vision)
    with torch.device("meta"):
        trunk = vision.build(weight_init="skip")
    check_complete(converted, {TRUNK + key: tensor for key, tensor in trunk.state_dict().items()}, opened.label)
    take_weights(trunk, {key.removeprefix(TRUNK): tensor for key, tensor in converted.tensors.items()})
    info = opened.info(vision, None)
    return ImageTower(trunk, vision, info.preprocessing, converted.report, info)


def inspect_checkpoint(
    path: str | Path,
    tower: str | None = None,
    image_heads: int | None = None,
    text_heads: int | None = None,
    quick_gelu: bool | None = None,
) -> Inspection:
    """Tell what a checkpoint is; the heads need not be told, for the shapes of weights do not depend on them.

    Args:
        path: as for :func:`load_checkpoint`.
        tower: as for :func:`load_checkpoint`.
        image_heads: as for :func:`load_checkpoint`.
        text_heads: as for :func:`load_checkpoint`.
        quick_gelu: as for :func:`load_checkpoint`.

    Raises:
        CheckpointError: as :func:`load_checkpoint`, save for heads that must be told.
    """
    opened = open_checkpoint(path, tower, quick_gelu)
    converted = opened.convert()
    vision, text = opened.vision(converted, image_heads), opened.text(converted, text_heads)
    one_head = replace(vision, heads=1), replace(text, heads=1) if text else None
    _, joint = _layout(opened, converted, *one_head)
    return Inspection(
        **vars(opened.info(vision, text)),
        joint=joint,
        reference=opened.family.reference,
        report=converted.report,
    )


def _layout(
    opened: Opened, converted: Converted, vision: VitArchitecture, text: TextArchitecture | None
) -> tuple[nn.Module, int | None]:
    """The model without weights, and its joint width; the report is completed, and refused if it is not
    clean.
    """
    if text is None:
        model: nn.Module = layout_image_encoder(vision, f"{opened.file.path.name} ({opened.title}, image tower only)")
        joint = None
    else:
        joint = joint_width(converted, opened.label)
        model = layout_dual_encoder(vision, text, joint)
    check_complete(converted, model.state_dict(), opened.label)
    return model, joint
