"""The checkpoint families: one declaration each, which holds whatever differs between them.

A family says by which keys it is known, which towers a file holds, under which names the dual encoder knows
each weight, what is left out and why, and what the shapes of the weights cannot tell (heads, activations,
epsilons, preprocessing). To add a family, write one :class:`Family` and add it to :data:`FAMILIES`.
"""

from types import MappingProxyType

from benchmarks.checkpoints.family import (
    Drop,
    Family,
    Rule,
    Tower,
    Unsupported,
    distilled_vit,
    image_projection,
    openai_vit,
    text,
    vit,
)
from benchmarks.checkpoints.settings import (
    DEIT_HEADS,
    DEIT_WAY,
    IMAGENET_BICUBIC,
    MAE_HEADS,
    OPEN_CLIP_TEXT_HEADS,
    OPEN_CLIP_VIT_HEADS,
    OPENAI,
    OPENAI_HEADS,
    SLIP_VIT_HEADS,
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

_BARE = Tower("online", vit(""))
_CLASSIFIER = Drop(r"head\.(weight|bias)$", "classifier")

MAE = Family(
    name="mae",
    title="MAE",
    towers=(_BARE,),
    marks=(r"patch_embed\.proj\.", r"decoder_pred\.", r"mask_token$"),
    bare=True,
    drops=(Drop(r"(decoder_|mask_token$)", "pixel decoder"),),
    preprocessing=IMAGENET_BICUBIC,
    has_text=False,
    image_heads=MAE_HEADS,
    reference="https://github.com/facebookresearch/mae",
)

_TEACHER = Tower("ema", vit(r"backbone\."), container="teacher")
_STUDENT = Tower("online", vit(r"backbone\."), container="student")
_DISTILLATION_HEAD = Drop(r"head\.", "distillation head")
_MASK = "what the student sees in place of a masked patch"

DINO = Family(
    name="dino",
    title="DINO",
    towers=(_TEACHER, _STUDENT),
    marks=(r"backbone\.patch_embed\.", r"head\.last_layer\."),
    never=(r"head\.last_layer2\.",),
    bare=True,
    drops=(_DISTILLATION_HEAD,),
    preprocessing=IMAGENET_BICUBIC,
    has_text=False,
    reference="https://github.com/facebookresearch/dino",
)

IBOT = Family(
    name="ibot",
    title="iBOT",
    towers=(_TEACHER, _STUDENT),
    marks=(r"backbone\.patch_embed\.", r"head\.last_layer2\."),
    never=(r"args\.pred_shape=attmask_",),
    bare=True,
    drops=(_DISTILLATION_HEAD, Drop(r"backbone\.masked_embed$", _MASK)),
    preprocessing=IMAGENET_BICUBIC,
    has_text=False,
    reference="https://github.com/bytedance/ibot",
)

IBOT_STUDENT = Family(
    name="ibot-student",
    title="iBOT or AttMask (student's backbone)",
    towers=(_BARE,),
    marks=(r"patch_embed\.proj\.", r"masked_embed$"),
    drops=(Drop(r"masked_embed$", _MASK),),
    preprocessing=IMAGENET_BICUBIC,
    has_text=False,
    reference=IBOT.reference,
)

ATTMASK = Family(
    name="attmask",
    title="AttMask",
    towers=IBOT.towers,
    # Its code grew from iBOT's and stores the same keys; only the options tell the two apart.
    marks=(*IBOT.marks, r"args\.pred_shape=attmask_"),
    bare=True,
    drops=IBOT.drops,
    preprocessing=IMAGENET_BICUBIC,
    has_text=False,
    reference="https://github.com/gkakogeorgiou/attmask",
)

DEIT = Family(
    name="deit",
    title="DeiT",
    towers=(_BARE,),
    marks=(),
    bare=True,
    drops=(_CLASSIFIER,),
    preprocessing=DEIT_WAY,
    has_text=False,
    image_heads=DEIT_HEADS,
    reference="https://github.com/facebookresearch/deit",
)

DEIT_DISTILLED = Family(
    name="deit-distilled",
    title="DeiT (distilled)",
    towers=(Tower("online", distilled_vit()),),
    marks=(r"patch_embed\.proj\.", r"cls_token$", r"dist_token$"),
    drops=(
        _CLASSIFIER,
        Drop(r"dist_token$", "distillation token, left out so that the tower is a plain ViT"),
        Drop(r"head_dist\.", "classifier of the distillation token"),
    ),
    preprocessing=DEIT_WAY,
    has_text=False,
    image_heads=DEIT_HEADS,
    notes=(
        "the distillation token and its position are left out, so that the tower is a plain ViT like every other "
        "one. It was trained with that token in every attention, so its features are not those of the whole model: "
        "dense evaluations of it elsewhere (Segmenter, DPT) keep the token in the attention and drop it from the "
        "result, and their numbers are not comparable",
    ),
    reference=DEIT.reference,
)

TIMM_VIT = Family(
    name="timm-vit",
    title="plain ViT (timm layout)",
    towers=(_BARE,),
    marks=(r"patch_embed\.proj\.", r"cls_token$", r"blocks\.0\."),
    never=(r"dist_token$", r"mask_token$", r"masked_embed$", r"decoder_", r"fc_norm\."),
    drops=(_CLASSIFIER,),
    has_text=False,
    notes=(
        "a bare ViT state dict does not say who trained it: ImageNet pixel statistics are assumed (right for "
        "DeiT, MAE, DINO, iBOT and for backbones taken out of SLIP, A-CLIP or DetailCLIP; timm's augreg "
        "weights need mean and std 0.5). A published file is known when it was fetched by its name "
        "(`bench list --checkpoints`)",
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
    MAE,
    DINO,
    IBOT,
    IBOT_STUDENT,
    ATTMASK,
    DEIT,
    DEIT_DISTILLED,
    TIMM_VIT,
    DUAL_ENCODER,
    PRETRAINED,
)


UNSUPPORTED: tuple[Unsupported, ...] = (
    Unsupported(
        r"fc_norm\.",
        "a classifier fine-tuned on the mean of its patches (fc_norm instead of norm), which has no norm for its "
        "tokens; take the pre-trained file",
    ),
    Unsupported(r"visual\.(layer\d|attnpool)\.", "one of CLIP's ResNets; only ViTs can be evaluated"),
)
"""Layouts that users come with and that are not evaluated."""


def family_named(name: str) -> Family | None:
    """The family of this name, or None where no declaration has it."""
    return next((family for family in FAMILIES if family.name == name), None)


def family_title(name: str) -> str:
    """The title of the family ``name``, or the name itself where no declaration has it."""
    family = family_named(name)
    return family.title if family else name
