"""The checkpoint families: one declaration each, which holds whatever differs between them.

A family says by which keys it is known, which towers a file holds, under which names the dual encoder knows
each weight, what is left out and why, and what the shapes of the weights cannot tell (heads, activations,
epsilons, preprocessing). To add a family, write one :class:`Family` and add it to :data:`FAMILIES`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch

from benchmarks.checkpoints.architecture import Preprocessing

HOW: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = MappingProxyType(
    {
        "transposed": lambda tensor: tensor.t(),
        "reshaped to (1, 1, width)": lambda tensor: tensor.reshape(1, 1, -1),
        "batch dimension added": lambda tensor: tensor.unsqueeze(0),
    }
)
"""What can be done to a weight that is stored in another arrangement, by the words of the load report."""


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


IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224, "bilinear", 224)
"""Pixel statistics of ImageNet and a bilinear resize to 224: what the SLIP code evaluates with."""

OPENAI = Preprocessing((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), 224, "bicubic", 224)
"""Pixel statistics of OpenAI's CLIP and a bicubic resize to 224, which open_clip has taken over."""

VIT_HEADS: Mapping[int, int] = MappingProxyType({384: 6, 768: 12, 1024: 16})
"""Heads by width of ViT-S, B, L: 64 channels a head."""

SLIP_VIT_HEADS: Mapping[int, int] = MappingProxyType({384: 12, 768: 12, 1024: 16})
"""The same in the SLIP and A-CLIP code, whose ViT-S follows MoCo v3: 12 heads of 32 channels."""

TEXT_HEADS: Mapping[int, int] = MappingProxyType({width: width // 64 for width in (512, 640, 768, 1024, 1280)})
"""Heads by width of CLIP's text towers: 64 channels a head."""

OPENAI_HEADS: Mapping[int, int] = MappingProxyType({width: width // 64 for width in range(64, 4097, 64)})
"""OpenAI's own rule for both towers: 64 channels a head, whatever the width."""

OPEN_CLIP_VIT_HEADS: Mapping[int, int] = MappingProxyType(
    {width: width // 64 for width in (384, 512, 768, 896, 1024)} | dict.fromkeys((1280, 1408, 1664, 1792), 16)
)
"""Heads by width of open_clip's ViT-S, M, B, B-plus and L (64 channels a head) and of H, g, bigG and e (16 heads)."""

OPEN_CLIP_TEXT_HEADS: Mapping[int, int] = MappingProxyType(
    {width: width // 64 for width in (256, 384, 512, 640, 768, 1024, 1280)}
)
"""Heads by width of open_clip's text towers: 64 channels a head."""


@dataclass(frozen=True)
class Family:
    """One checkpoint family.

    Attributes:
        name: identifier, in records and messages.
        title: for people.
        towers: what a file holds; the first is the default.
        marks: a file is of this family when each of these patterns matches the start of some key ...
        never: ... and none of these matches any. No two families may fit one file.
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
        """Whether a state dict with these keys is of this family, whatever their order."""
        names = list(keys)
        return all(any(re.match(mark, key) for key in names) for mark in self.marks) and not any(
            re.match(pattern, key) for pattern in self.never for key in names
        )


def vit(prefix: str) -> tuple[Rule, ...]:
    """The rules of an image tower in timm's names behind ``prefix`` (a regular expression)."""
    return (Rule(rf"{prefix}(?=(cls_token|pos_embed)$|(patch_embed|blocks|norm|norm_pre)\.)", "visual.trunk."),)


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


_ONLINE = Tower("online", vit(r"visual\.") + image_projection() + text())
_EMA = Tower("ema", vit(r"visual_ema\.") + image_projection("_e") + text("_e"))
_SIMCLR_HEAD = Drop(r"image_mlp\.", "projection head of the self-supervised loss")
_SLIP = "https://github.com/facebookresearch/SLIP (commit c6faf5d)"

SLIP_CLIP = Family(
    name="slip-clip",
    title="CLIP (SLIP repository)",
    towers=(_ONLINE,),
    marks=(r"visual\.patch_embed\.", r"image_projection$", r"text_projection$"),
    never=(r"visual_ema\.", r"image_mlp\."),
    image_heads=SLIP_VIT_HEADS,
    reference=_SLIP,
)

SLIP = Family(
    name="slip",
    title="SLIP",
    towers=(_ONLINE,),
    marks=(r"visual\.patch_embed\.", r"image_projection$", r"text_projection$", r"image_mlp\."),
    never=(r"visual_ema\.",),
    drops=(_SIMCLR_HEAD,),
    image_heads=SLIP_VIT_HEADS,
    reference=_SLIP,
)

SIMCLR = Family(
    name="slip-simclr",
    title="SimCLR (SLIP repository)",
    towers=(Tower("online", vit(r"visual\.")),),
    marks=(r"visual\.patch_embed\.", r"image_mlp\."),
    never=(r"visual_ema\.", r"image_projection$", r"text_projection$"),
    drops=(_SIMCLR_HEAD,),
    has_text=False,
    image_heads=SLIP_VIT_HEADS,
    reference=_SLIP,
)

ACLIP = Family(
    name="aclip",
    title="A-CLIP",
    towers=(_EMA, _ONLINE),
    marks=(r"visual\.patch_embed\.", r"visual_ema\.patch_embed\.", r"im_pred_byol\."),
    never=(r"ibot_head\.",),
    drops=(_SIMCLR_HEAD, Drop(r"im_(proj|pred)_byol(_e)?\.", "projection head of the self-supervised loss")),
    image_heads=SLIP_VIT_HEADS,
    reference="https://github.com/microsoft/A-CLIP (commit 0e51942)",
)

DETAILCLIP = Family(
    name="detailclip",
    title="DetailCLIP",
    towers=(_EMA, _ONLINE),
    marks=(r"visual\.patch_embed\.", r"visual_ema\.patch_embed\.", r"ibot_head\."),
    never=(r"im_pred_byol\.",),
    drops=(
        Drop(r"ibot_head(_e)?\.last_layer2\.", "second name of the distillation head's shared last layer"),
        Drop(r"ibot_head(_e)?\.", "distillation head"),
        Drop(r"(decoder_|mask_token$|reconstruction_pred\.)", "pixel decoder"),
    ),
    # Only a ViT-B is published. A ViT-S would have 12 heads by the code it grew from, 6 by timm: to be told.
    image_heads=MappingProxyType({768: 12, 1024: 16}),
    reference="https://github.com/KishoreP1/DetailCLIP (commit b66fd64)",
)

_OPENAI_SIZES = r"(input_resolution|context_length|vocab_size)$"

OPENAI_CLIP = Family(
    name="openai-clip",
    title="CLIP (OpenAI)",
    towers=(Tower("online", openai_vit(r"visual\.") + text()),),
    marks=(r"visual\.conv1\.", r"visual\.class_embedding$", r"text_projection$", _OPENAI_SIZES),
    drops=(
        Drop(_OPENAI_SIZES, "a size of the model, not a weight"),
        Drop(r"transformer\.resblocks\.\d+\.attn_mask$", "causal mask, made anew"),
    ),
    preprocessing=OPENAI,
    image_heads=OPENAI_HEADS,
    text_heads=OPENAI_HEADS,
    vision_eps=1e-5,
    vision_quick_gelu=True,
    vision_pre_norm=True,
    reference="https://github.com/openai/CLIP",
)

OPEN_CLIP = Family(
    name="open-clip",
    title="open_clip",
    towers=(Tower("online", openai_vit(r"visual\.") + text(prefix=r"(?:text\.)?")),),
    marks=(r"visual\.conv1\.", r"visual\.class_embedding$", r"(text\.)?text_projection$"),
    never=(_OPENAI_SIZES,),
    preprocessing=OPENAI,
    image_heads=OPEN_CLIP_VIT_HEADS,
    text_heads=OPEN_CLIP_TEXT_HEADS,
    vision_eps=1e-5,
    vision_pre_norm=True,
    text_quick_gelu=False,
    assumed_activation=(
        "GELU is assumed in both towers, for the weights do not show it: models of the tags openai, dfn2b and "
        "metaclip_*, and all whose name in open_clip ends in -quickgelu, have QuickGELU: say --quick-gelu "
        "(quick_gelu=True)"
    ),
    reads_config=True,
    reference="https://github.com/mlfoundations/open_clip",
)

TIMM_VIT = Family(
    name="timm-vit",
    title="plain ViT (timm layout)",
    towers=(Tower("online", vit("")),),
    marks=(r"patch_embed\.proj\.", r"cls_token$", r"blocks\.0\."),
    never=(r"dist_token$", r"mask_token$", r"masked_embed$", r"decoder_", r"fc_norm\."),
    drops=(Drop(r"head\.(weight|bias)$", "classifier"),),
    has_text=False,
    notes=(
        "a bare ViT state dict does not say who trained it: ImageNet pixel statistics are assumed (right for "
        "DeiT, MAE, DINO, iBOT and for backbones taken out of SLIP, A-CLIP or DetailCLIP; timm's augreg "
        "weights need mean and std 0.5)",
        "resize 224 bilinear is assumed, as SLIP, A-CLIP and DetailCLIP have it; DeiT, MAE, DINO and iBOT "
        "evaluate with bicubic interpolation (crop share 0.9, or 224 of 256)",
        "a width of 384 is taken to mean 6 heads (DeiT, DINO, iBOT); backbones of SLIP's or A-CLIP's ViT-S "
        "have 12: say --image-heads 12",
    ),
    reference="https://github.com/huggingface/pytorch-image-models",
)

DUAL_ENCODER = Family(
    name="dual-encoder",
    title="dual encoder of this project",
    towers=(Tower("online", (Rule(r"(?=visual\.(trunk\.|head\.proj\.weight$))", ""), *text())),),
    marks=(r"visual\.trunk\.patch_embed\.", r"visual\.head\.proj\.weight$", r"text_projection$"),
    image_heads=MappingProxyType({}),
    text_heads=MappingProxyType({}),
    needs_metadata=True,
    reference="written by benchmarks.checkpoints.export",
)


def _pretrained(tower: str) -> Tower:
    """A tower of our pretraining's checkpoints; as in the released layouts, what the average lacks is the online
    tower's.
    """
    return Tower(
        tower,
        (
            Rule(rf"{tower}\.(?=visual\.(trunk\.|head\.proj\.weight$)|transformer\.resblocks\.|text_projection$)", ""),
            Rule(r"online\.(?=token_embedding\.weight$|positional_embedding$|ln_final\.|logit_scale$)", ""),
        ),
    )


PRETRAINED = Family(
    name="pretrained",
    title="pretraining checkpoint of this project",
    towers=(_pretrained("ema"), _pretrained("online")),
    marks=(r"online\.visual\.trunk\.patch_embed\.", r"online\.visual\.head\.proj\.weight$"),
    drops=(Drop(r"(?!online\.|ema\.)", "part of the method that only training needs"),),
    image_heads=MappingProxyType({}),
    text_heads=MappingProxyType({}),
    needs_metadata=True,
    reference="written by pretrain.checkpoint",
)

FAMILIES: tuple[Family, ...] = (
    SLIP_CLIP,
    SLIP,
    SIMCLR,
    ACLIP,
    DETAILCLIP,
    OPENAI_CLIP,
    OPEN_CLIP,
    TIMM_VIT,
    DUAL_ENCODER,
    PRETRAINED,
)


def family_title(name: str) -> str:
    """The title of the family ``name``, or the name itself where no declaration has it."""
    return next((family.title for family in FAMILIES if family.name == name), name)
