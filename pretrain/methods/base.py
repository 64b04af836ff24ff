"""What every pretraining method is to the trainer, the data and the hooks: none of them knows a method by name."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.registry import MODELS
from pydantic import BaseModel as PydanticModel
from torch import Tensor, nn

from benchmarks.checkpoints.architecture import Preprocessing, TextArchitecture, VitArchitecture
from benchmarks.errors import OptionError
from pretrain.towers import new_dual_encoder

MAX_LOGIT_SCALE = math.log(100.0)
"""The temperature of the contrastive loss stays at 0.01 or above, as in CLIP."""

TRAINING_FACTOR = 3
"""A trained layer costs its forward pass three times: itself, its input's gradient, its weights' gradient."""


@dataclass(frozen=True)
class Progress:
    """Where the training stands when a forward pass begins.

    Attributes:
        step: optimiser steps done before this one, from 0.
        steps: optimiser steps of the whole run, at least 1.
        epoch: whole passes over the data done.
        begins_step: whether this is the first micro-batch of an optimiser step.
        accumulation: micro-batches of an optimiser step.
    """

    step: int = 0
    steps: int = 1
    epoch: int = 0
    begins_step: bool = True
    accumulation: int = 1


@dataclass(frozen=True)
class Batch:
    """A preprocessed batch of B image-text pairs.

    Attributes:
        views: (B, V, 3, S, S) normalised pixels.
        tokens: (B, T) token ids, padded with 0.
        enclosing: (B, 3, S, S) normalised pixels of the crop around all views, where the method asks for it.
        boxes: (B, V, 4) each view inside the enclosing crop: left, top, right, bottom in [0, 1].
    """

    views: Tensor
    tokens: Tensor
    enclosing: Tensor | None = None
    boxes: Tensor | None = None


@dataclass(frozen=True)
class Look:
    """What a method that removes patches does with the first view of B pairs; N patches in raster order.

    Attributes:
        attention: float32 (B, N), higher = kept first.
        removed: bool (B, N), True = the student does not see it.
        predicted: (B, N, 3 p²) every patch as the decoder predicts it, in normalised pixels, flattened as (row, column,
            channel); None where nothing was trained to predict pixels.
    """

    attention: Tensor
    removed: Tensor
    predicted: Tensor | None


class PairPreprocessor(BaseDataPreprocessor):
    """Moves a collated batch to the device and normalises its pixels there: uint8 travels four times lighter.

    Args:
        mean: by channel, for pixels in [0, 1].
        std: by channel.
    """

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1) * 255, persistent=False)

    def forward(self, data: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """The tensors of a collated batch, on the device, pixels as float32; everything else is left behind."""
        tensors: dict[str, Any] = self.cast_data({key: item for key, item in data.items() if torch.is_tensor(item)})
        return {key: self.normalise(item) if item.dtype == torch.uint8 else item for key, item in tensors.items()}

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 (..., 3, H, W) to float32: subtract the mean, divide by the deviation."""
        mean, std = cast(Tensor, self.mean), cast(Tensor, self.std)
        return (pixels.to(torch.float32) - mean) / std


class Method(BaseModel):
    """A way of learning a dual encoder from image-text pairs.

    A subclass says how many views of an image it needs, which fields it has, and what its losses are. Its online
    encoder is ``self.online``, an ``open_clip.CLIP`` around a timm ViT; an average of it, where the method keeps one,
    is ``self.ema`` (see ``pretrain.checkpoint``).

    Args:
        image: sizes of the image tower.
        text: sizes of the text tower.
        joint: width of the space that both towers are projected to.
        fields: the method's own named choices.
        preprocessing: pixel statistics, and what evaluation does to a picture.
        checkpoint_blocks: compute the image tower's activations again in the backward pass instead of keeping them:
            a third more time for it, far less memory.
    """

    views: ClassVar[int]
    towers: ClassVar[tuple[str, ...]] = ("online",)
    Fields: ClassVar[type[PydanticModel]]

    def __init__(
        self,
        image: VitArchitecture | Mapping[str, Any],
        text: TextArchitecture | Mapping[str, Any],
        joint: int,
        fields: PydanticModel | Mapping[str, Any],
        preprocessing: Preprocessing | Mapping[str, Any],
        checkpoint_blocks: bool = False,
    ) -> None:
        way = preprocessing if isinstance(preprocessing, Preprocessing) else Preprocessing.from_dict(preprocessing)
        super().__init__(PairPreprocessor(way.mean, way.std))
        self.preprocessing = way
        self.image = image if isinstance(image, VitArchitecture) else VitArchitecture.from_dict(image)
        self.text = text if isinstance(text, TextArchitecture) else TextArchitecture.from_dict(text)
        self.joint = joint
        self.fields = self.Fields.model_validate(fields)
        self.checkpoint_blocks = checkpoint_blocks
        self.progress = Progress()
        self.online = new_dual_encoder(self.image, self.text, joint)

    def set_progress(self, progress: Progress) -> None:
        """Tell the method where the training stands; called before every forward pass."""
        self.progress = progress

    def forward(
        self,
        views: Tensor,
        tokens: Tensor,
        enclosing: Tensor | None = None,
        boxes: Tensor | None = None,
        mode: str = "loss",
    ) -> dict[str, Tensor]:
        """The training losses of a preprocessed batch (the only mode).

        Args:
            views: (B, V, 3, S, S) normalised pixels, V as the method declares.
            tokens: (B, T) token ids.
            enclosing: see :class:`Batch`.
            boxes: see :class:`Batch`.
            mode: MMEngine's; only ``loss``.

        Returns:
            ``loss``, 0-d with gradient, and the method's terms by name for the log.

        Raises:
            ValueError: another number or size of views.
        """
        size = self.image.image_size
        if mode != "loss" or views.shape[1:] != (self.views, 3, size, size):
            raise ValueError(
                f"{type(self).__name__}: expected mode loss and views (B, {self.views}, 3, {size}, {size}), "
                f"got {mode} and {tuple(views.shape)}"
            )
        terms = self.losses(Batch(views, tokens, enclosing, boxes))
        assert not any("loss" in name for name in terms), f"{[*terms]}: MMEngine would sum the terms called loss"
        return {"loss": terms.pop("total"), **{name: term.detach() for name, term in terms.items()}}

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The method's terms by name and their weighted sum ``total``, all 0-d; no name may contain "loss"."""

    @abstractmethod
    def multiply_adds(self, text_length: float) -> dict[str, float]:
        """Multiply-adds of a training step per image-text pair, by part, forward and backward.

        Of the views alone: whether batches bring an enclosing crop is the data's choice, and the picture more that
        the teacher then sees is not counted. ``matmul_share`` is too small by as much.

        Args:
            text_length: tokens of a caption, start and end included, after trimming to the longest of the batch.
        """

    def look(self, batch: Batch) -> Look:
        """What the student sees of a preprocessed batch, for pictures; nothing is trained and nothing moves.

        Raises:
            OptionError: the method removes no patches.
        """
        raise OptionError(
            f"{type(self).__name__} removes no patches, so there is nothing to show; choose the config or checkpoint "
            "of a method that does"
        )

    def after_step(self) -> None:
        """After an optimiser step: clamp the logit scale to [0, ln 100]."""
        with torch.no_grad():
            self.online.logit_scale.clamp_(0, MAX_LOGIT_SCALE)

    @staticmethod
    def no_weight_decay(name: str, parameter: nn.Parameter) -> bool:
        """Whether a parameter is exempt from weight decay: vectors and scalars, biases, norms.

        Class token, position tables and token embeddings are matrices and decay, as in the released recipe.
        """
        return parameter.ndim < 2 or any(part in name for part in ("bias", "ln_", "bn"))

    def text_multiply_adds(self, text_length: float) -> float:
        """Of the online text tower, forward and backward."""
        block = 4 * self.text.width**2 + 2 * self.text.mlp_ratio * self.text.width**2
        attention = 2 * self.text.width * text_length
        return TRAINING_FACTOR * self.text.depth * text_length * (block + attention)

    def image_multiply_adds(self, tokens: float) -> float:
        """Of one forward pass of the image tower over this many tokens, without the patch projection."""
        width = self.image.width
        block = 4 * width**2 + 2 * self.image.mlp_ratio * width**2
        return self.image.depth * tokens * (block + 2 * width * tokens)


def register(method: type[Method]) -> type[Method]:
    """Class decorator: make a method known to MMEngine under its class name."""
    return cast(type[Method], MODELS.register_module()(method))
