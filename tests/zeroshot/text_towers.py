"""Small random text towers for tests."""

from typing import Any

import torch

from benchmarks.checkpoints.architecture import TextArchitecture, VitArchitecture
from benchmarks.checkpoints.dual_encoder import assemble_dual_encoder

_VISION = VitArchitecture(width=16, depth=1, heads=1, patch_size=16, image_size=32, norm_eps=1e-6, mlp_ratio=2.0)


def tiny_text_tower(context: int = 77, vocabulary: int = 49408, seed: int = 0) -> Any:
    """A dual encoder whose text side (width 32, depth 3, 4 heads, joint width 24) has weights large enough that texts
    differ and that what a token sees matters.
    """
    torch.manual_seed(seed)
    text = TextArchitecture(width=32, depth=3, heads=4, vocabulary=vocabulary, context=context, mlp_ratio=4.0)
    model = assemble_dual_encoder(_VISION, text, 24)
    with torch.no_grad():
        for weight in (model.token_embedding.weight, model.positional_embedding):
            weight.normal_()
        for name, weight in model.transformer.named_parameters():
            if name.endswith("bias"):
                weight.normal_(std=0.2)
            elif weight.ndim > 1:
                weight.normal_(std=weight.shape[1] ** -0.5)
    return model.eval()
