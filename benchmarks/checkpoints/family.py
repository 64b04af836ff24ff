"""What a family's declaration is made of, and the rules that several of them share."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch

from benchmarks.checkpoints.architecture import Preprocessing
from benchmarks.checkpoints.settings import IMAGENET, TEXT_HEADS, VIT_HEADS


@dataclass(frozen=True)
class Arrangement:
    """What can be done to a weight that is stored in another arrangement.

    Attributes:
        dimensions: of the stored weight. One that has others is left as it is: its shape is refused afterwards.
        rearrange: what is done.
    """

    dimensions: int
    rearrange: Callable[[torch.Tensor], torch.Tensor]

    def apply(self, weight: torch.Tensor) -> torch.Tensor:
        """``weight`` as the dual encoder has it."""
        return self.rearrange(weight) if weight.dim() == self.dimensions else weight


HOW: Mapping[str, Arrangement] = MappingProxyType(
    {
        "transposed": Arrangement(2, lambda weight: weight.t()),
        "reshaped to (1, 1, width)": Arrangement(1, lambda weight: weight.reshape(1, 1, -1)),
        "batch dimension added": Arrangement(2, lambda weight: weight.unsqueeze(0)),
        "the distillation token's position left out": Arrangement(
            3, lambda weight: torch.cat([weight[:, :1], weight[:, 2:]], dim=1)
        ),
    }
)
"""The arrangements by the words of the load report."""


@dataclass(frozen=True)
class Rule:
    """Renames the keys that ``pattern`` matches at their start.

    Attributes:
        pattern: regular expression; what it matches is replaced, the rest of the key stays.
        to: the replacement, in the dual encoder's names; may refer to groups (``\\1``).
        how: name in :data:`HOW` of what is done to the weight, or None.
    """

    pattern: str
    to: str
    how: str | None = None

    def rename(self, key: str) -> str | None:
        """The dual encoder's name of ``key``, or None where the rule does not apply."""
        found = re.match(self.pattern, key)
        return found.expand(self.to) + key[found.end() :] if found else None


@dataclass(frozen=True)
class Drop:
    """Leaves out the keys that ``pattern`` matches at their start; the load report shows the reason."""

    pattern: str
    reason: str


@dataclass(frozen=True)
class Tower:
    """One of the encoders in a file.

    Attributes:
        name: ``online`` (trained by gradient) or ``ema`` (its moving average, the teacher).
        rules: the first that matches a key counts.
        container: ``teacher`` or ``student`` where the towers lie in dicts of their own; None: in the one
            state dict.
    """

    name: str
    rules: tuple[Rule, ...]
    container: str | None = None


@dataclass(frozen=True)
class Family:
    """One checkpoint family.

    Attributes:
        name: identifier, in records and messages.
        title: for people.
        towers: what a file holds; the first is the default.
        marks: a file is of this family when each of these patterns matches the start of some key ...
        never: ... and none of these matches any. No two families may fit one file. An option that the training code
            stored beside the weights counts as a key ``args.NAME=VALUE``.
        bare: its backbones are also published as plain ViT state dicts, which are no different from those of others:
            only the registry of published files can tell. A family without ``marks`` is known in no other way.
        drops: what is left out, beside the weights of the towers not asked for.
        preprocessing: of the pictures, for a tower made for its ``crop``; scaled for towers made for other sizes.
        has_text: the file holds a text tower.
        image_heads: heads by width of the image tower; any other width must be told.
        text_heads: the same of the text tower.
        vision_eps: epsilon of the image tower's LayerNorms.
        vision_quick_gelu: activation of the image tower.
        vision_pre_norm: a LayerNorm before the image tower's blocks.
        text_quick_gelu: activation of the text tower.
        assumed_activation: where the activations above are only usual and not certain, for nothing in the weights
            shows them: the note for a user who has not told them. They may then be told, or stand in the file of
            ``reads_config``. Empty: they are certain, and a user who tells others is refused.
        reads_config: an ``open_clip_config.json`` beside the weights is the family's own, and says what shapes cannot.
        needs_metadata: the keys alone do not tell the settings: only files with our metadata are read.
        notes: what a user must know of every file without our metadata.
        reference: where the layout and the settings come from.
    """

    name: str
    title: str
    towers: tuple[Tower, ...]
    marks: tuple[str, ...]
    never: tuple[str, ...] = ()
    bare: bool = False
    drops: tuple[Drop, ...] = ()
    preprocessing: Preprocessing = IMAGENET
    has_text: bool = True
    image_heads: Mapping[int, int] = field(default_factory=lambda: VIT_HEADS)
    text_heads: Mapping[int, int] = field(default_factory=lambda: TEXT_HEADS)
    vision_eps: float = 1e-6
    vision_quick_gelu: bool = False
    vision_pre_norm: bool = False
    text_quick_gelu: bool = True
    assumed_activation: str = ""
    reads_config: bool = False
    needs_metadata: bool = False
    notes: tuple[str, ...] = ()
    reference: str = ""

    def fits(self, keys: Iterable[str]) -> bool:
        """Whether a state dict with these keys (and options) is of this family, whatever their order."""
        names = list(keys)
        return (
            bool(self.marks)
            and all(any(re.match(mark, key) for key in names) for mark in self.marks)
            and not any(re.match(pattern, key) for pattern in self.never for key in names)
        )


@dataclass(frozen=True)
class Unsupported:
    """A known layout that is not evaluated: files with a key that ``mark`` matches at its start, and the reason."""

    mark: str
    reason: str


def vit(prefix: str) -> tuple[Rule, ...]:
    """The rules of an image tower in timm's names behind ``prefix`` (a regular expression)."""
    return (Rule(rf"{prefix}(?=(cls_token|pos_embed)$|(patch_embed|blocks|norm|norm_pre)\.)", "visual.trunk."),)


def distilled_vit() -> tuple[Rule, ...]:
    """The rules of an image tower in timm's names that has the position of a distillation token after the first."""
    return (
        Rule(r"pos_embed$", "visual.trunk.pos_embed", "the distillation token's position left out"),
        Rule(r"(?=cls_token$|(patch_embed|blocks|norm)\.)", "visual.trunk."),
    )


def text(suffix: str = "", prefix: str = "") -> tuple[Rule, ...]:
    """The rules of CLIP's text tower.

    Args:
        suffix: behind the names of the transformer and the projection. Token and position embeddings and the
            last norm never have it: the EMA text towers of A-CLIP and DetailCLIP read the online ones, in the
            authors' own evaluation too, and that is reproduced.
        prefix: before all names but that of the logit scale (a regular expression).
    """
    return (
        # A mask that a file keeps beside the weights of a block is none of them.
        Rule(rf"{prefix}transformer{suffix}\.(?=resblocks\.\d+\.(?!attn_mask$))", "transformer."),
        Rule(rf"{prefix}text_projection{suffix}$", "text_projection"),
        Rule(rf"{prefix}(?=token_embedding\.weight$|positional_embedding$|ln_final\.)", ""),
        Rule(r"(?=logit_scale$)", ""),
    )


def image_projection(suffix: str = "") -> tuple[Rule, ...]:
    """The rule of a projection that is stored as (width, joint) and used as ``x @ W``."""
    return (Rule(rf"image_projection{suffix}$", "visual.head.proj.weight", "transposed"),)


def openai_vit(prefix: str) -> tuple[Rule, ...]:
    """The rules of an image tower in the names of OpenAI's CLIP behind ``prefix`` (a regular expression).

    The rows of the packed in-projection lie as timm's qkv has them: query, key, value.
    """
    block = rf"{prefix}transformer\.resblocks\.(\d+)\."
    return (
        Rule(rf"{prefix}conv1\.", "visual.trunk.patch_embed.proj."),
        Rule(rf"{prefix}class_embedding$", "visual.trunk.cls_token", "reshaped to (1, 1, width)"),
        Rule(rf"{prefix}positional_embedding$", "visual.trunk.pos_embed", "batch dimension added"),
        Rule(rf"{prefix}ln_pre\.", "visual.trunk.norm_pre."),
        Rule(rf"{block}ln_([12])\.", r"visual.trunk.blocks.\1.norm\2."),
        Rule(rf"{block}attn\.in_proj_", r"visual.trunk.blocks.\1.attn.qkv."),
        Rule(rf"{block}attn\.out_proj\.", r"visual.trunk.blocks.\1.attn.proj."),
        Rule(rf"{block}mlp\.c_fc\.", r"visual.trunk.blocks.\1.mlp.fc1."),
        Rule(rf"{block}mlp\.c_proj\.", r"visual.trunk.blocks.\1.mlp.fc2."),
        Rule(rf"{prefix}ln_post\.", "visual.trunk.norm."),
        Rule(rf"{prefix}proj$", "visual.head.proj.weight", "transposed"),
    )
