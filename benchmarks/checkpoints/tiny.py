"""The embedded checkpoint: a tiny dual encoder with random weights, so that every command runs without a
download.

It has learnt nothing and says so: its name is ``tiny-random``, its method ``random``.
"""

import math
from pathlib import Path

import torch
from torch import nn

from benchmarks.checkpoints.architecture import TextArchitecture, VitArchitecture
from benchmarks.checkpoints.dual_encoder import layout_dual_encoder
from benchmarks.checkpoints.export import save_dual_encoder
from benchmarks.checkpoints.families import DUAL_ENCODER
from benchmarks.checkpoints.metadata import Embedded
from benchmarks.checkpoints.settings import IMAGENET
from benchmarks.files import cache_folder

FILE_NAME = "tiny-random-v1.safetensors"

_VISION = VitArchitecture(width=128, depth=2, heads=2, patch_size=16, image_size=224, norm_eps=1e-6, mlp_ratio=4.0)
_TEXT = TextArchitecture(width=64, depth=2, heads=1, vocabulary=49408, context=77, mlp_ratio=4.0)
_JOINT = 32
_SEED = 20240927


def ensure_tiny() -> Path:
    """The path of the tiny checkpoint in the cache folder, written at the first call; always the same
    weights.

    ViT of width 128, depth 2, 2 heads, patch 16, image 224; text of width 64, depth 2, 1 head, CLIP's
    vocabulary; joint space of 32.
    """
    path = cache_folder() / FILE_NAME
    if not path.is_file():
        embedded = Embedded(
            name="tiny-random",
            family=DUAL_ENCODER.name,
            towers=("online",),
            architecture=_VISION,
            text=_TEXT,
            preprocessing=IMAGENET,
            training={"method": "random", "seed": _SEED},
        )
        save_dual_encoder(_random_dual_encoder(), path, embedded)
    return path


def _random_dual_encoder() -> nn.Module:
    """The tiny model: gains 1, biases 0, other weights normal with the deviation that keeps the signal's
    size.
    """
    model = layout_dual_encoder(_VISION, _TEXT, _JOINT)
    generator = torch.Generator().manual_seed(_SEED)
    weights = {
        key: _random_weight(key, tuple(value.shape), generator) for key, value in sorted(model.state_dict().items())
    }
    model.load_state_dict(weights, strict=True, assign=True)
    model.eval()
    return model


def _random_weight(key: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """One weight by its name and shape."""
    if key == "logit_scale":
        return torch.tensor(math.log(1 / 0.07))
    if key.endswith("bias"):
        return torch.zeros(shape)
    if len(shape) == 1:  # gains of the norms
        return torch.ones(shape)
    if "embedding" in key or "embed" in key.rpartition(".")[2] or "token" in key:
        return torch.randn(shape, generator=generator) * 0.02
    fan_in = shape[0] if key == "text_projection" else math.prod(shape[1:])
    return torch.randn(shape, generator=generator) / math.sqrt(fan_in)
