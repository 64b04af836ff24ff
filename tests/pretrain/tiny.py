"""Methods small enough to be trained inside a test."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.checkpoints import IMAGENET, TextArchitecture, VitArchitecture
from pretrain.fields import preset_fields
from pretrain.methods import CLIP, DetailCLIP

IMAGE = VitArchitecture(width=48, depth=2, heads=3, patch_size=8, image_size=48, norm_eps=1e-6, mlp_ratio=2.0)
TEXT = TextArchitecture(width=32, depth=2, heads=2, vocabulary=64, context=12, mlp_ratio=2.0)
JOINT = 16
SMALL = {"head": {"hidden": 24, "bottleneck": 8, "prototypes": 40}, "decoder_heads": 4}


def tiny_detailclip(preset: str = "released", seed: int = 0, **changes: Any) -> DetailCLIP:
    """A DetailCLIP of 36 patches; ``changes`` are laid over the preset's method fields."""
    torch.manual_seed(seed)
    fields = {**preset_fields("detailclip", preset), **SMALL, **changes}
    return DetailCLIP(IMAGE, TEXT, JOINT, fields, IMAGENET)


def tiny_clip(seed: int = 0, **changes: Any) -> CLIP:
    """A CLIP of the same size."""
    torch.manual_seed(seed)
    return CLIP(IMAGE, TEXT, JOINT, {**preset_fields("clip", "default"), **changes}, IMAGENET)


def pair_batch(batch: int = 4, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Two views (B, 3, 48, 48) of pixels and tokens (B, 12): start 62, some words, end 63, padding 0."""
    generator = torch.Generator().manual_seed(seed)
    u, v = torch.randn(2, batch, 3, 48, 48, generator=generator).unbind(0)
    tokens = torch.zeros(batch, 12, dtype=torch.long)
    for row, words in zip(tokens, torch.randint(1, 8, (batch,), generator=generator).tolist(), strict=True):
        row[0], row[words + 1] = 62, 63
        row[1 : words + 1] = torch.randint(1, 62, (words,), generator=generator)
    return u, v, tokens
