"""Sizes and settings of a dual encoder as plain data.

Head counts, activations, LayerNorm epsilons and pixel statistics leave no trace in the shapes of the weights:
a wrong value loads silently and gives wrong numbers. They are therefore fields here, filled from a family's
declaration, from the metadata of our own files, or by the user, and never from a guess.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer


class PlainData:
    """Gives a frozen dataclass of plain values a JSON form; unknown and missing fields are refused."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-able values."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; lists become tuples.

        Raises:
            ValueError: the names in ``data`` are not exactly the fields, or a value is of another type.
        """
        types = {field.name: field.type for field in fields(cls)}  # type: ignore[arg-type]
        if set(data) != set(types):
            raise ValueError(f"{cls.__name__} needs the fields {sorted(types)}, got {sorted(data)}")
        for name, kind in types.items():
            if isinstance(kind, type) and not isinstance(data[name], kind):
                raise ValueError(f"{cls.__name__}.{name} is {data[name]!r}, not {kind.__name__}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()})


@dataclass(frozen=True)
class VitArchitecture(PlainData):
    """The image tower: a timm ``VisionTransformer`` with a class token and learned positions.

    Attributes:
        width: channels of a token.
        depth: number of blocks.
        heads: attention heads of a block; divides ``width``.
        patch_size: side of a square patch, in pixels.
        image_size: side of the square picture that the position embedding was made for, in pixels.
        norm_eps: epsilon of every LayerNorm (1e-6 in timm's ViTs, 1e-5 in OpenAI's CLIP).
        mlp_ratio: hidden width of the MLP over ``width``.
        quick_gelu: ``x * sigmoid(1.702 x)`` in the MLP instead of the exact GELU (OpenAI's CLIP).
        pre_norm: a LayerNorm before the blocks and no bias in the patch projection (OpenAI's CLIP).
    """

    width: int
    depth: int
    heads: int
    patch_size: int
    image_size: int
    norm_eps: float
    mlp_ratio: float
    quick_gelu: bool = False
    pre_norm: bool = False

    def build(self, **kwargs: Any) -> "VisionTransformer":
        """A freshly initialised tower: (B, 3, H, W) normalised pixels to the (B, ``width``) class token after
        the norm.

        Built inside ``torch.device("meta")`` it costs no memory and no initialisation.

        Args:
            **kwargs: further arguments of timm's ``VisionTransformer``, such as ``drop_path_rate``,
                ``dynamic_img_size`` or ``weight_init="skip"``.
        """
        from timm.layers import LayerNorm
        from timm.models.vision_transformer import VisionTransformer

        settings: dict[str, Any] = {
            "img_size": self.image_size,
            "patch_size": self.patch_size,
            "embed_dim": self.width,
            "depth": self.depth,
            "num_heads": self.heads,
            "mlp_ratio": self.mlp_ratio,
            "pre_norm": self.pre_norm,
            "norm_layer": partial(LayerNorm, eps=self.norm_eps),
            "act_layer": "quick_gelu" if self.quick_gelu else "gelu",
            "num_classes": 0,
            "global_pool": "token",
        }
        return VisionTransformer(**(settings | kwargs))

    @property
    def timm_name(self) -> str | None:
        """The name under which timm registers exactly this tower, or None."""
        return _REGISTERED.get(self)


def _clip(width: int, depth: int, heads: int, patch: int, image: int, quick_gelu: bool) -> VitArchitecture:
    """An image tower of OpenAI's CLIP, or one like it with the exact GELU."""
    return VitArchitecture(width, depth, heads, patch, image, 1e-5, 4.0, quick_gelu, pre_norm=True)


_REGISTERED = {
    VitArchitecture(384, 12, 6, 16, 224, 1e-6, 4.0): "vit_small_patch16_224",
    VitArchitecture(768, 12, 12, 16, 224, 1e-6, 4.0): "vit_base_patch16_224",
    VitArchitecture(1024, 24, 16, 16, 224, 1e-6, 4.0): "vit_large_patch16_224",
    _clip(768, 12, 12, 32, 224, quick_gelu=False): "vit_base_patch32_clip_224",
    _clip(768, 12, 12, 32, 224, quick_gelu=True): "vit_base_patch32_clip_quickgelu_224",
    _clip(768, 12, 12, 16, 224, quick_gelu=False): "vit_base_patch16_clip_224",
    _clip(768, 12, 12, 16, 224, quick_gelu=True): "vit_base_patch16_clip_quickgelu_224",
    _clip(1024, 24, 16, 14, 224, quick_gelu=False): "vit_large_patch14_clip_224",
    _clip(1024, 24, 16, 14, 224, quick_gelu=True): "vit_large_patch14_clip_quickgelu_224",
    _clip(1024, 24, 16, 14, 336, quick_gelu=False): "vit_large_patch14_clip_336",
    _clip(1024, 24, 16, 14, 336, quick_gelu=True): "vit_large_patch14_clip_quickgelu_336",
}


@dataclass(frozen=True)
class TextArchitecture(PlainData):
    """The text tower: CLIP's causal transformer, read out at the largest token id, LayerNorm epsilon 1e-5.

    Attributes:
        width: channels of a token.
        depth: number of blocks.
        heads: attention heads of a block; divides ``width``.
        vocabulary: number of tokens.
        context: length of a tokenised text.
        mlp_ratio: hidden width of the MLP over ``width``.
        quick_gelu: ``x * sigmoid(1.702 x)`` in the MLP, as OpenAI's CLIP, SLIP, A-CLIP and DetailCLIP have
            it.
    """

    width: int
    depth: int
    heads: int
    vocabulary: int
    context: int
    mlp_ratio: float
    quick_gelu: bool = True

    def open_clip_config(self) -> dict[str, Any]:
        """The ``text_cfg`` of open_clip (its activation is set by the model's ``quick_gelu``)."""
        return {
            "context_length": self.context,
            "vocab_size": self.vocabulary,
            "width": self.width,
            "heads": self.heads,
            "layers": self.depth,
            "mlp_ratio": self.mlp_ratio,
        }


@dataclass(frozen=True)
class Preprocessing(PlainData):
    """What is done to an RGB picture before the image tower sees it.

    Attributes:
        mean: subtracted from pixels in [0, 1], by channel.
        std: divided by afterwards, by channel.
        resize: the shorter side is resized to this, in pixels ...
        interpolation: ... by ``bilinear`` or ``bicubic`` interpolation, antialiased as PIL does it ...
        crop: ... and the middle square of this side is taken.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: int
    interpolation: str
    crop: int

    def at(self, image_size: int) -> Self:
        """The same for a tower made for pictures of another side, the share that is cropped away kept."""
        return replace(self, resize=round(self.resize * image_size / self.crop), crop=image_size)


@dataclass(frozen=True)
class Heads:
    """Attention heads of the towers.

    Attributes:
        image: None (in inspections only) where they must be told.
        text: None where there is no text side, it was not asked for, or (in inspections only) they must be
            told.
    """

    image: int | None
    text: int | None
