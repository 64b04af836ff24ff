"""What every checkpoint becomes: an open_clip model whose image tower is a timm ViT.

Models are laid out on torch's ``meta`` device, where nothing is allocated or initialised, and then take over
the weights of the file: a ViT-B with its text tower is ready in the time that reading it takes.
"""

from collections.abc import Mapping
from typing import Any, NoReturn, cast

import torch
from torch import nn

from benchmarks.checkpoints.architecture import TextArchitecture, VitArchitecture
from benchmarks.errors import CheckpointError

# open_clip's TimmModel can only be made by a registered name: a small one is laid out, and replaced.
_PLACEHOLDER = "vit_tiny_patch16_224"


class ImageEncoder(nn.Module):
    """A dual encoder's image half, for families without a text side.

    Attributes:
        visual: open_clip's ``TimmModel`` without a projection.
    """

    def __init__(self, visual: nn.Module, title: str) -> None:
        super().__init__()
        self.visual = visual
        self.title = title

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised pixels (B, 3, H, W) to the class token after the last norm (B, width)."""
        return cast(torch.Tensor, self.visual(images))

    def encode_text(self, tokens: torch.Tensor) -> NoReturn:
        """Raise :class:`CheckpointError`: there is no text side."""
        raise CheckpointError(f"{self.title} has no text side: only benchmarks of the image tower can use it")


def assemble_dual_encoder(vision: VitArchitecture, text: TextArchitecture, joint: int, **kwargs: Any) -> Any:
    """An ``open_clip.CLIP`` around a timm ViT, both as their libraries initialise them.

    Args:
        vision: of the image tower.
        text: of the text tower.
        joint: width of the space that both towers are projected to.
        **kwargs: for :meth:`VitArchitecture.build`.
    """
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    model = CLIP(
        embed_dim=joint,
        vision_cfg=CLIPVisionCfg(timm_model_name=_PLACEHOLDER, timm_pool="token", image_size=vision.image_size),
        text_cfg=CLIPTextCfg(**text.open_clip_config()),
        quick_gelu=text.quick_gelu,
    )
    model.visual.trunk = vision.build(**kwargs)
    model.visual.head.proj = nn.Linear(vision.width, joint, bias=False)
    return model


def layout_dual_encoder(vision: VitArchitecture, text: TextArchitecture, joint: int) -> nn.Module:
    """An ``open_clip.CLIP`` without weights (on the ``meta`` device); arguments as of
    :func:`assemble_dual_encoder`.
    """
    with torch.device("meta"):
        model = assemble_dual_encoder(vision, text, joint, weight_init="skip")
    # The causal mask is not part of the weights, so it has to be made for real.
    model.attn_mask = torch.full((text.context, text.context), float("-inf")).triu_(1)
    return cast(nn.Module, model)


def layout_image_encoder(vision: VitArchitecture, title: str) -> ImageEncoder:
    """An :class:`ImageEncoder` without weights (on the ``meta`` device); ``title`` names it in messages."""
    from open_clip.timm_model import TimmModel

    with torch.device("meta"):
        visual = TimmModel(_PLACEHOLDER, embed_dim=0, image_size=vision.image_size, pool="token", proj="none")
        visual.trunk = vision.build(weight_init="skip")
        return ImageEncoder(visual, title)


def take_weights(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give a laid-out model its weights as float32 copies, and switch it to evaluation.

    Copies, because what was read may be a mapping of the file, which can change or vanish under a living
    model.

    Args:
        model: on the ``meta`` device.
        tensors: exactly the entries of its state dict.
    """
    weights = {
        key: tensor.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        for key, tensor in tensors.items()
    }
    model.load_state_dict(weights, strict=True, assign=True)
    model.eval()
