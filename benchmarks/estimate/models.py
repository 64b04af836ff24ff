"""The benchmarks' own models without weights: the real modules, laid out from architectures and protocols."""

import json
import struct
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from mmengine.config import ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from benchmarks.checkpoints import ImageTower, TextArchitecture, VitArchitecture
from benchmarks.dense.detection_model import model_config as detector_config
from benchmarks.dense.detection_protocol import DetectionFields
from benchmarks.dense.protocol import SegmentationFields
from benchmarks.dense.segmentation import model_config as segmentor_config

_ANY_STATISTICS = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class _Shape:
    """All that the configs of the dense models ask of a tower."""

    architecture: VitArchitecture


def segmentor(fields: SegmentationFields, architecture: VitArchitecture) -> Any:
    """MMSegmentation's ``EncoderDecoder`` of a segmentation benchmark, on the ``meta`` device, for one view."""
    fields = fields.model_copy(update={"test_scales": (1.0,), "test_flip": False})
    with tempfile.TemporaryDirectory() as folder:
        weights = write_hollow_backbone(architecture, Path(folder))
        config = segmentor_config(fields, _as_tower(architecture), _ANY_STATISTICS, weights)
        return _laid_out("mmseg", config)


def detector(fields: DetectionFields, architecture: VitArchitecture) -> Any:
    """MMDetection's ``CascadeRCNN`` of a detection benchmark, on the ``meta`` device."""
    from benchmarks.dense import detection_heads  # noqa: F401 (registers them)

    with tempfile.TemporaryDirectory() as folder:
        weights = write_hollow_backbone(architecture, Path(folder))
        config = detector_config(fields, _as_tower(architecture), _ANY_STATISTICS, weights)
        return _laid_out("mmdet", config)


def dual_encoder(vision: VitArchitecture, text: TextArchitecture, joint: int) -> Any:
    """The open_clip model that a checkpoint becomes, without its weights."""
    from benchmarks.checkpoints.dual_encoder import layout_dual_encoder

    return layout_dual_encoder(vision, text, joint)


def write_hollow_backbone(architecture: VitArchitecture, folder: Path) -> Path:
    """A file that ``DenseViT`` reads as weights of this architecture: all zeros, which take no place on the disk.

    A safetensors file is the length of its header, the header, and the tensors' bytes; these are left out as a hole.
    """
    with torch.device("meta"):
        tensors = architecture.build(weight_init="skip").state_dict()
    header: dict[str, Any] = {"__metadata__": {"architecture": json.dumps(architecture.to_dict())}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    path = folder / "hollow.safetensors"
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(encoded)) + encoded)
        stream.truncate(8 + len(encoded) + end)
    return path


def _as_tower(architecture: VitArchitecture) -> ImageTower:
    return cast(ImageTower, _Shape(architecture))


def _laid_out(scope: str, config: dict[str, Any]) -> nn.Module:
    """The model on the ``meta`` device, with BN for SyncBN: it costs the same and runs on one process."""
    with warnings.catch_warnings(), torch.device("meta"), DefaultScope.overwrite_default_scope(scope):
        warnings.filterwarnings("ignore", message=".*is a no-op.*")  # weights are not copied, as is wanted
        model: nn.Module = revert_sync_batchnorm(MODELS.build(ConfigDict(config)))
    return model
