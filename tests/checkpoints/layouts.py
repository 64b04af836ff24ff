"""A tiny random file in the exact layout of every family, and what an independent forward needs to know of it.

``write_all(folder)`` gives one file for each name in :data:`LAYOUTS`; ``Layout.told`` are the arguments without which
sizes that nobody published cannot be loaded.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
from safetensors.torch import save_file

from benchmarks.checkpoints import IMAGENET, Embedded, TextArchitecture, VitArchitecture
from tests.checkpoints import makers
from tests.checkpoints.makers import State, module, prefixed, random, vit

JOINT = 32
GRID = 14


class Told(TypedDict, total=False):
    """Heads that the width does not tell; the image tower's alone suffice for dense benchmarks."""

    image_heads: int
    text_heads: int


@dataclass(frozen=True)
class Layout:
    """One file.

    ``content`` is what ``torch.save`` gets (safetensors where there is ``metadata``). ``trunks`` are the weights of the
    image tower by the name of the tower, the default first, in the names of the library that ``kind`` says, and
    ``projections`` (width, joint) what the class token is multiplied by.
    """

    family: str
    content: Mapping[str, Any]
    trunks: Mapping[str, State]
    heads: int
    told: Told
    kind: Literal["timm", "distilled", "openai", "open_clip"] = "timm"
    projections: Mapping[str, torch.Tensor] = field(default_factory=dict)
    metadata: Mapping[str, str] | None = None

    @property
    def image_told(self) -> Any:
        """The part of ``told`` that the image tower alone asks for."""
        return {name: heads for name, heads in self.told.items() if name == "image_heads"}


def make(name: str, width: int = 64, depth: int = 2) -> Layout:
    """The layout ``name`` of :data:`LAYOUTS`; at a width other than 64 its heads are not told."""
    return LAYOUTS[name](width, depth)


def write(name: str, folder: Path, width: int = 64, depth: int = 2) -> Path:
    """Write the layout ``name`` into ``folder``."""
    return save(make(name, width, depth), folder / name)


def write_all(folder: Path) -> dict[str, Path]:
    """One file for each layout."""
    return {name: write(name, folder) for name in LAYOUTS}


def save(layout: Layout, stem: Path) -> Path:
    """Write a layout as ``stem`` with the suffix that its form has."""
    if layout.metadata is None:
        path = stem.with_name(stem.name + ".pth")
        torch.save(dict(layout.content), path)
    else:
        path = stem.with_name(stem.name + ".safetensors")
        save_file(dict(layout.content), path, metadata=dict(layout.metadata))
    return path


# ---- with a text side


def _told(width: int, image: bool = True) -> Told:
    """At the tiny width two heads of 32 channels; other widths are published ones."""
    if width != 64:
        return Told(text_heads=1)
    return Told(image_heads=2, text_heads=1) if image else Told(text_heads=1)


def _released(state: State, model: str, accuracy: str = "best_acc") -> dict[str, Any]:
    """How the SLIP, A-CLIP and DetailCLIP code saves: data-parallel names, options as a Namespace."""
    options = argparse.Namespace(model=model, lr=5e-4, workers=10, distributed=True, gpu=0)
    return {
        "epoch": 25,
        "state_dict": module(state),
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
        "scaler": {"scale": 65536.0, "growth_factor": 2.0},
        accuracy: 0.4,
        "args": options,
    }


def _slip_heads(width: int) -> int:
    return {64: 2, 384: 12}[width]


def _heads(width: int) -> int:
    return {64: 2, 384: 6}[width]


def _slip_clip(width: int, depth: int) -> Layout:
    state = makers.slip_clip(width, depth, JOINT)
    return Layout(
        "slip-clip",
        _released(state, "CLIP_VITB16", "best_acc1"),
        {"online": vit(width, depth)},
        _slip_heads(width),
        _told(width),
        projections={"online": state["image_projection"]},
    )


def _slip(width: int, depth: int) -> Layout:
    plain = _slip_clip(width, depth)
    state = makers.slip_clip(width, depth, JOINT) | makers.mlp(width)
    content = _released(state, "SLIP_VITB16", "best_acc1")
    return Layout("slip", content, plain.trunks, plain.heads, plain.told, projections=plain.projections)


def _simclr(width: int, depth: int) -> Layout:
    state = makers.simclr(width, depth)
    trunks = {"online": vit(width, depth)}
    content = _released(state, "SIMCLR_VITB16", "best_acc1")
    return Layout("slip-simclr", content, trunks, _slip_heads(width), _image_told(width))


def _image_told(width: int) -> Told:
    return Told(image_heads=2) if width == 64 else Told()


def _two_towers(width: int, depth: int) -> tuple[State, dict[str, State], dict[str, torch.Tensor]]:
    """What A-CLIP and DetailCLIP share: both towers, and an EMA copy of transformer and projections."""
    trunks = {"ema": vit(width, depth, seed=12), "online": vit(width, depth, seed=11)}
    state = prefixed("visual.", trunks["online"]) | prefixed("visual_ema.", trunks["ema"])
    state |= makers.text(joint=JOINT) | makers.transformer("transformer_e.", seed=13)
    shapes: dict[str, tuple[int, ...]] = {
        "image_projection": (width, JOINT),
        "image_projection_e": (width, JOINT),
        "text_projection_e": (64, JOINT),
    }
    state |= random(shapes, 14)
    return state, trunks, {"ema": state["image_projection_e"], "online": state["image_projection"]}


def _aclip(width: int, depth: int) -> Layout:
    state, trunks, projections = _two_towers(width, depth)
    names = ("im_proj_byol.0", "im_proj_byol_e.0", "im_pred_byol.0", "im_pred_byol.3")
    state |= makers.mlp(width) | random({f"{name}.weight": (8, width) for name in names})
    content = _released(state, "ACLIP_VITB16")
    return Layout("aclip", content, trunks, _slip_heads(width), _told(width), projections=projections)


def _detailclip(width: int, depth: int) -> Layout:
    state, trunks, projections = _two_towers(width, depth)
    for head in ("ibot_head", "ibot_head_e"):
        state |= _distillation_head(f"{head}.", width, second=True)
    state |= prefixed("decoder_", vit(width, 1, seed=15)) | random({"mask_token": (1, 1, width)})
    state |= random({"reconstruction_pred.weight": (768, width), "reconstruction_pred.bias": (768,)})
    told = Told(image_heads=_heads(width), text_heads=1)  # a ViT-S of it is not published
    content = _released(state, "DetailCLIP_VITB16")
    return Layout("detailclip", content, trunks, _heads(width), told, projections=projections)


def _openai(width: int, depth: int) -> Layout:
    state = makers.openai(width, depth, JOINT)
    return Layout(
        "openai-clip",
        state,
        {"online": _openai_trunk(state)},
        width // 64,
        Told(),
        "openai",
    )


def _open_clip(width: int, depth: int) -> Layout:
    state = makers.open_clip(width, depth)
    content = {"epoch": 3, "name": "run", "state_dict": module(state)}
    told = Told() if width != 64 else Told(image_heads=2, text_heads=1)
    return Layout("open-clip", content, {"online": _openai_trunk(state)}, _heads(width), told, "open_clip")


def _openai_trunk(state: State) -> State:
    prefix = "visual."
    return {key.removeprefix(prefix): value.float() for key, value in state.items() if key.startswith(prefix)}


# ---- self-supervised and supervised on ImageNet


def sine_cosine(width: int, grid: int = GRID) -> torch.Tensor:
    """MAE's fixed table (1, 1 + grid², width): zeros for the class token; the first half of the channels is the
    column's, the second the row's, each half of it sines then cosines of frequencies 10000^(-k / (width / 4)).
    """
    frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    rows, columns = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    angles = [place.reshape(-1, 1) * frequencies for place in (columns, rows)]
    table = torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1)
    return torch.cat([torch.zeros(1, width), table.float()]).unsqueeze(0)


def _mae_encoder(width: int, depth: int) -> State:
    return vit(width, depth, seed=21) | {"pos_embed": sine_cosine(width)}


def _mae(width: int, depth: int) -> Layout:
    """What MAE's training writes: the decoder is in it."""
    encoder = _mae_encoder(width, depth)
    decoder = prefixed("decoder_", makers.without(vit(32, 2, seed=22), ["cls_token", "patch_embed.proj.weight"]))
    decoder |= {"mask_token": torch.zeros(1, 1, 32), "decoder_pos_embed": sine_cosine(32)}
    decoder |= random({"decoder_embed.weight": (32, width), "decoder_pred.weight": (768, 32)})
    del decoder["decoder_patch_embed.proj.bias"]
    options = argparse.Namespace(model="mae_vit_base_patch16", mask_ratio=0.75, norm_pix_loss=True)
    content = {"model": encoder | decoder, "optimizer": {}, "epoch": 799, "scaler": {"scale": 1.0}, "args": options}
    told = Told(image_heads=_heads(width))  # a ViT-S of it is not published
    return Layout("mae", content, {"online": encoder}, _heads(width), told)


def _distillation_head(prefix: str, width: int, second: bool) -> State:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (outputs, inputs) in {"mlp.0": (24, width), "mlp.2": (24, 24), "mlp.4": (8, 24)}.items():
        shapes |= {f"{layer}.weight": (outputs, inputs), f"{layer}.bias": (outputs,)}
    for layer in ("last_layer", "last_layer2") if second else ("last_layer",):
        shapes |= {f"{layer}.weight_g": (40, 1), f"{layer}.weight_v": (40, 8)}
    return prefixed(prefix, random(shapes, 23))


def _teacher_and_student(width: int, depth: int, loss: str, **options: Any) -> tuple[dict[str, Any], dict[str, State]]:
    """What DINO, iBOT and AttMask training writes: only the student's names are data-parallel ones."""
    trunks = {"ema": vit(width, depth, seed=31), "online": vit(width, depth, seed=32)}
    second = loss == "ibot_loss"
    head = _distillation_head("head.", width, second)
    student = prefixed("backbone.", trunks["online"]) | head
    if second:
        student |= {"backbone.masked_embed": torch.ones(1, width)}
    content = {
        "student": module(student),
        "teacher": prefixed("backbone.", trunks["ema"]) | head,
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.0, "params": [0, 1]}]},
        "epoch": 300,
        "args": argparse.Namespace(arch="vit_small", patch_size=16, **options),
        loss: {"center": torch.zeros(1, 40)},
        "fp16_scaler": {"scale": 65536.0},
    }
    return content, trunks


def _dino(width: int, depth: int) -> Layout:
    content, trunks = _teacher_and_student(width, depth, "dino_loss", out_dim=65536)
    return Layout("dino", content, trunks, _heads(width), _image_told(width))


def _ibot(width: int, depth: int) -> Layout:
    content, trunks = _teacher_and_student(width, depth, "ibot_loss", pred_shape="block")
    return Layout("ibot", content, trunks, _heads(width), _image_told(width))


def _attmask(width: int, depth: int) -> Layout:
    content, trunks = _teacher_and_student(width, depth, "ibot_loss", pred_shape="attmask_high", show_max=0.1)
    return Layout("attmask", content, trunks, _heads(width), _image_told(width))


def _ibot_student(width: int, depth: int) -> Layout:
    """What iBOT's extraction script makes of the student."""
    trunk = vit(width, depth, seed=33)
    content = {"state_dict": trunk | {"masked_embed": torch.ones(1, width)}}
    return Layout("ibot-student", content, {"online": trunk}, _heads(width), _image_told(width))


def _deit_distilled(width: int, depth: int) -> Layout:
    """DeiT with two tokens before the patches, and a classifier for each."""
    trunk = vit(width, depth, seed=41) | random({"pos_embed": (1, GRID * GRID + 2, width)}, 42)
    whole = trunk | random({"dist_token": (1, 1, width)}, 43)
    whole |= random({f"{head}.{part}": (5, width)[: 2 - at] for head in ("head", "head_dist") for at, part in _PARTS})
    content = {"model": whole}
    return Layout("deit-distilled", content, {"online": whole}, _heads(width), _image_told(width), "distilled")


_PARTS = ((0, "weight"), (1, "bias"))


def _bare(state: Callable[[int, int], State], wrapper: str | None, extra: bool = False) -> Callable[[int, int], Layout]:
    """A backbone in timm's names, which does not say whose it is."""

    def build(width: int, depth: int) -> Layout:
        trunk = state(width, depth)
        whole = trunk | (random({"head.weight": (5, width), "head.bias": (5,)}) if extra else {})
        content = {wrapper: whole} if wrapper else whole
        return Layout("timm-vit", content, {"online": trunk}, _heads(width), _image_told(width))

    return build


# ---- this project's own files


def _embedded(width: int, depth: int, family: str, towers: tuple[str, ...]) -> Embedded:
    vision = VitArchitecture(width, depth, _heads(width), 16, 16 * GRID, 1e-6, 4.0)
    text = TextArchitecture(64, 2, 1, 512, 77, 4.0)
    return Embedded("ours", family, towers, vision, text, IMAGENET)


def _exported(width: int, depth: int, seed: int = 51) -> tuple[State, State]:
    """The dual encoder's state, and its image tower."""
    trunk = vit(width, depth, seed=seed)
    state = prefixed("visual.trunk.", trunk) | random({"visual.head.proj.weight": (JOINT, width)}, seed + 1)
    return state | makers.text(joint=JOINT), trunk


def _dual_encoder(width: int, depth: int) -> Layout:
    state, trunk = _exported(width, depth)
    metadata = _embedded(width, depth, "dual-encoder", ("online",)).to_metadata()
    projections = {"online": state["visual.head.proj.weight"].t()}
    return Layout(
        "dual-encoder", state, {"online": trunk}, _heads(width), Told(), projections=projections, metadata=metadata
    )


def _pretrained(width: int, depth: int) -> Layout:
    online, trunk = _exported(width, depth, 61)
    average, slow = _exported(width, depth, 71)
    shared = ("token_embedding.weight", "positional_embedding", "ln_final.weight", "ln_final.bias", "logit_scale")
    state = prefixed("online.", online) | prefixed("ema.", makers.without(average, shared))
    state |= random({"head.mlp.0.weight": (8, width), "decoder.mask_token": (1, 1, width), "centers.cls": (1, 8)})
    metadata = _embedded(width, depth, "pretrained", ("ema", "online")).to_metadata()
    projections = {
        "ema": average["visual.head.proj.weight"].t(),
        "online": online["visual.head.proj.weight"].t(),
    }
    trunks = {"ema": slow, "online": trunk}
    return Layout("pretrained", state, trunks, _heads(width), Told(), projections=projections, metadata=metadata)


LAYOUTS: Mapping[str, Callable[[int, int], Layout]] = {
    "slip-clip": _slip_clip,
    "slip": _slip,
    "slip-simclr": _simclr,
    "aclip": _aclip,
    "detailclip": _detailclip,
    "openai-clip": _openai,
    "open-clip": _open_clip,
    "mae": _mae,
    "mae-encoder": _bare(_mae_encoder, "model"),
    "dino": _dino,
    "dino-backbone": _bare(lambda width, depth: vit(width, depth, seed=81), None),
    "ibot": _ibot,
    "ibot-teacher": _bare(lambda width, depth: vit(width, depth, seed=82), "state_dict"),
    "ibot-student": _ibot_student,
    "attmask": _attmask,
    "deit": _bare(lambda width, depth: vit(width, depth, seed=83), "model", extra=True),
    "deit-distilled": _deit_distilled,
    "timm-vit": _bare(vit, None, extra=True),
    "dual-encoder": _dual_encoder,
    "pretrained": _pretrained,
}
"""Every layout by its name; ``make`` builds one."""
