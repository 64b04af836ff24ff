"""CLIP (Radford et al. 2021): one view, one loss. The baseline, and the proof that a method is one file."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from pretrain.losses import contrastive
from pretrain.methods.base import TRAINING_FACTOR, Batch, Method, register
from pretrain.towers import encode_text, image_tokens, patch_vectors, trim_padding


class ClipFields(BaseModel):
    """The choices of CLIP."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    frozen_patch_projection: bool = Field(description="the patch projection stays as initialised (MoCo v3)")


@register
class CLIP(Method):
    """A dual encoder trained by the contrastive loss alone (equations 1 to 5). Arguments: see ``Method``."""

    views = 1
    Fields = ClipFields
    fields: ClipFields

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.online.visual.trunk.patch_embed.proj.requires_grad_(not self.fields.frozen_patch_projection)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The contrastive loss as ``clip`` and as ``total``."""
        patches = patch_vectors(batch.views[:, 0], self.image.patch_size)
        tokens = image_tokens(self.online.visual.trunk, patches, self.checkpoint_blocks)
        images = self.online.visual.head(tokens[:, 0])
        texts = encode_text(self.online, trim_padding(batch.tokens))
        loss = contrastive(images, texts, self.online.logit_scale.exp())
        return {"clip": loss, "total": loss}

    def multiply_adds(self, text_length: float) -> dict[str, float]:
        """Image tower over all tokens, and text."""
        side = self.image.image_size // self.image.patch_size
        return {
            "image": TRAINING_FACTOR * self.image_multiply_adds(side**2 + 1),
            "text": self.text_multiply_adds(text_length),
        }
