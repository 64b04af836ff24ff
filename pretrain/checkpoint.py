"""Our pretraining checkpoints, and the released code's.

Ours is one safetensors file: every weight of the method under its own name, and in the header what the weights cannot
tell: architecture, preprocessing, and the training with all its fields. ``benchmarks.checkpoints`` reads both towers
from it, this module the whole method.
"""

import argparse
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from torch import Tensor

from benchmarks.checkpoints import IMAGENET, Embedded, TextArchitecture, VitArchitecture, read_embedded
from benchmarks.checkpoints.convert import identify, unwrap
from benchmarks.checkpoints.export import save_dual_encoder
from benchmarks.checkpoints.families import DETAILCLIP, PRETRAINED
from benchmarks.checkpoints.read import CheckpointFile, read_checkpoint
from benchmarks.errors import CheckpointError
from benchmarks.files import atomic_path
from pretrain.heads import sincos_positions
from pretrain.methods.base import Method

if TYPE_CHECKING:
    from pretrain.methods.detailclip import DetailCLIP

RELEASED_NAMES: Mapping[str, str] = {
    "online.visual.trunk.": "visual.",
    "online.visual.head.proj.weight": "image_projection",
    "online.transformer.": "transformer.",
    "online.token_embedding.": "token_embedding.",
    "online.positional_embedding": "positional_embedding",
    "online.ln_final.": "ln_final.",
    "online.text_projection": "text_projection",
    "online.logit_scale": "logit_scale",
    "ema.visual.trunk.": "visual_ema.",
    "ema.visual.head.proj.weight": "image_projection_e",
    "ema.transformer.": "transformer_e.",
    "ema.text_projection": "text_projection_e",
    "decoder.embed.": "decoder_embed.",
    "decoder.mask_token": "mask_token",
    "decoder.block.": "decoder_blocks.0.",
    "decoder.norm.": "decoder_norm.",
    "decoder.predict.": "reconstruction_pred.",
    "head.mlp.": "ibot_head.mlp.",
    "head.last_layer.weight": "ibot_head.last_layer.weight_v",
    "ema_head.mlp.": "ibot_head_e.mlp.",
    "ema_head.last_layer.weight": "ibot_head_e.last_layer.weight_v",
}
"""Our name (or its beginning) of every weight, and the released code's."""

TRANSPOSED = ("online.visual.head.proj.weight", "ema.visual.head.proj.weight")
"""Stored as (width, joint) there, as a linear layer's weight here."""

CENTERS = "loss_centers"
"""Beside the released state dict: the released code keeps its centres nowhere and ignores an unknown entry."""

FIELDS = "detailclip_bench_fields"
"""The method's fields beside it, which the released layout cannot tell; without them the released choices hold."""

_HEADS = ("ibot_head.", "ibot_head_e.")


def save_checkpoint(model: Method, path: Path, name: str, training: Mapping[str, Any], row: str | None) -> None:
    """Write every weight of a method, and how it was made, atomically.

    Args:
        model: any method.
        path: a ``.safetensors`` file.
        name: of the checkpoint, in records and tables.
        training: method, preset, fields, epochs, images, views …; JSON-able. ``fields`` must be the method's own.
        row: of the paper's tables that it stands for, ``METHOD[@EPOCHS]``, or None.
    """
    embedded = Embedded(
        name=name,
        family=PRETRAINED.name,
        towers=model.towers,
        architecture=model.image,
        text=model.text,
        preprocessing=model.preprocessing,
        training={**training, "fields": model.fields.model_dump(mode="json"), "joint": model.joint},
        row=row,
    )
    save_dual_encoder(model, path, embedded)


def load_pretrained(path: str | Path) -> Method:
    """The whole method from a file of :func:`save_checkpoint`: float32, on the CPU, in training mode.

    Raises:
        CheckpointError: not such a file, or of a method or with fields that this version does not know.
    """
    from pretrain.methods import METHODS

    file, embedded = _ours(Path(path))
    training = embedded.training or {}
    method, text = METHODS.get(str(training.get("method"))), embedded.text
    if method is None or text is None:
        raise CheckpointError(f"{file.path}: made by {training.get('method')!r}, a method this version does not know")
    try:
        fields = method.Fields.model_validate(training.get("fields"))
    except ValidationError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{file.path}: no fields of {training['method']} in the metadata ({reason})") from None
    joint: Any = training.get("joint")
    _require_possible(embedded, text, joint, str(file.path))
    sizes = (embedded.architecture, text, joint, fields, embedded.preprocessing)
    with torch.device("meta"):
        _require_shapes(method(*sizes), file.content, str(file.path))
    model = method(*sizes)
    model.load_state_dict(dict(file.content))
    return model


def _require_possible(embedded: Embedded, text: TextArchitecture, joint: object, file: str) -> None:
    """Refuse sizes that no tower can have.

    Raises:
        CheckpointError: a size below 1, heads that do not divide a width, patches that do not tile the picture.
    """
    image, way = embedded.architecture, embedded.preprocessing
    sizes: tuple[int, ...] = (image.width, image.depth, image.heads, image.patch_size, image.image_size)
    sizes += (text.width, text.depth, text.heads, text.vocabulary, text.context, joint if isinstance(joint, int) else 0)
    possible = min(sizes) > 0 and not (image.width % image.heads or text.width % text.heads)
    if not possible or image.image_size % image.patch_size or (len(way.mean), len(way.std)) != (3, 3):
        raise CheckpointError(f"{file}: the metadata hold impossible sizes; export the checkpoint again")


def _ours(path: Path) -> tuple[CheckpointFile, Embedded]:
    file = read_checkpoint(path)
    embedded = read_embedded(file.metadata, str(file.path))
    if embedded is None or embedded.family != PRETRAINED.name or embedded.training is None:
        raise CheckpointError(
            f"{file.path}: not a pretraining checkpoint of this project; `bench pretrain` writes checkpoint.safetensors"
        )
    return file, embedded


def load_released(
    path: str | Path, image_heads: int | None, text_heads: int | None, decoder_heads: int | None
) -> "DetailCLIP":
    """See :meth:`pretrain.methods.detailclip.DetailCLIP.from_released`."""
    from pretrain.fields import preset_fields
    from pretrain.methods.detailclip import DetailCLIP, DetailClipFields

    file = read_checkpoint(Path(path))
    label = str(file.path)
    states = unwrap(file.content, label)
    family = identify(states, label)
    if family is not DETAILCLIP:
        raise CheckpointError(f"{label}: is {family.title}, not a DetailCLIP training checkpoint")
    state = dict(states[None])
    odd = [key for key, value in state.items() if not (torch.is_tensor(value) and value.is_floating_point())]
    if odd:
        raise CheckpointError(f"{label}: {odd[0]} is not a tensor of numbers")
    try:
        weights = _from_released(state, label)
        image, text = _architectures(weights, image_heads, text_heads, label)
        prototypes, bottleneck = weights["head.last_layer.weight"].shape
        head = {"hidden": len(weights["head.mlp.0.weight"]), "bottleneck": bottleneck, "prototypes": prototypes}
        joint = weights["online.text_projection"].shape[1]
    except (LookupError, ValueError) as error:  # a weight that is missing, or has another number of dimensions
        raise CheckpointError(f"{label}: not a whole DetailCLIP training checkpoint ({error})") from None
    sizes = {"head": head, "decoder_heads": _heads("decoder", image.width, decoder_heads, 48, label)}
    told = file.content.get(FIELDS)
    try:
        fields = DetailClipFields.model_validate({**(told or preset_fields("detailclip", "released")), **sizes})
    except (ValidationError, TypeError):
        raise CheckpointError(f"{label}: {FIELDS} are not those of DetailCLIP; export the checkpoint again") from None
    weights |= {f"centers.{name}": value for name, value in _centers(file, prototypes).items()}
    with torch.device("meta"):
        _require_shapes(DetailCLIP(image, text, joint, fields, IMAGENET), weights, label)
    model = DetailCLIP(image, text, joint, fields, IMAGENET)
    model.load_state_dict(weights)
    return model


def _centers(file: CheckpointFile, prototypes: int) -> dict[str, Tensor]:
    """The centres beside the released state dict, or zeros, with which the released code begins and resumes."""
    told = file.content.get(CENTERS)
    if told is None:
        return {"cls": torch.zeros(1, prototypes), "patch": torch.zeros(1, 1, prototypes)}
    if not isinstance(told, Mapping) or set(told) != {"cls", "patch"} or not all(map(torch.is_tensor, told.values())):
        raise CheckpointError(
            f"{file.path}: {CENTERS} must hold the tensors cls and patch; export the checkpoint again"
        )
    return dict(told)


def _require_shapes(model: Method, weights: Mapping[str, Any], file: str) -> None:
    """Refuse weights that are not exactly those of ``model``, by name and shape, floating point.

    Raises:
        CheckpointError: naming the first that differ.
    """
    expected = {name: value.shape for name, value in model.state_dict().items()}
    found = {name: value.shape for name, value in weights.items() if value.is_floating_point()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        raise CheckpointError(f"{file}: weights do not fit the sizes and fields: {', '.join(wrong[:3])}")


def _from_released(state: dict[str, Any], file: str) -> dict[str, Tensor]:
    """Rename and check: what is stored twice must be equal, what is fixed must have its value.

    Raises:
        CheckpointError: it is not; or more than one decoder block.
    """
    for prefix in _HEADS:
        for name in ("weight_g", "weight_v"):
            if not torch.equal(state[f"{prefix}last_layer.{name}"], state.pop(f"{prefix}last_layer2.{name}")):
                raise CheckpointError(f"{file}: {prefix}last_layer and last_layer2 differ, but must be one layer")
        if not torch.equal(gains := state.pop(f"{prefix}last_layer.weight_g"), torch.ones_like(gains)):
            raise CheckpointError(f"{file}: the gains of {prefix}last_layer are not 1")
    positions = state.pop("decoder_pos_embed")
    if not torch.allclose(positions, sincos_positions(positions.shape[2], isqrt(positions.shape[1])), atol=1e-5):
        raise CheckpointError(f"{file}: decoder_pos_embed is not the fixed sine-cosine table")
    weights = {}
    for ours, theirs in RELEASED_NAMES.items():
        for key in [key for key in state if key == theirs or (theirs.endswith(".") and key.startswith(theirs))]:
            name = ours + key.removeprefix(theirs)
            value = state.pop(key).to(torch.float32)
            weights[name] = value.t() if name in TRANSPOSED else value
    if state:
        raise CheckpointError(f"{file}: unexplained keys: {', '.join(sorted(state)[:3])}")
    return weights


def _architectures(
    weights: Mapping[str, Tensor], image_heads: int | None, text_heads: int | None, file: str
) -> tuple[VitArchitecture, TextArchitecture]:
    """The sizes that the shapes tell, and the settings of the released code."""
    width, _, patch, _ = weights["online.visual.trunk.patch_embed.proj.weight"].shape
    positions = weights["online.visual.trunk.pos_embed"].shape[1] - 1
    image = VitArchitecture(
        width=width,
        depth=_depth(weights, "online.visual.trunk.blocks."),
        heads=_heads("image", width, image_heads, 64, file),
        patch_size=patch,
        image_size=patch * isqrt(positions),
        norm_eps=1e-6,
        mlp_ratio=weights["online.visual.trunk.blocks.0.mlp.fc1.weight"].shape[0] / width,
    )
    vocabulary, text_width = weights["online.token_embedding.weight"].shape
    text = TextArchitecture(
        width=text_width,
        depth=_depth(weights, "online.transformer.resblocks."),
        heads=_heads("text", text_width, text_heads, 64, file),
        vocabulary=vocabulary,
        context=weights["online.positional_embedding"].shape[0],
        mlp_ratio=weights["online.transformer.resblocks.0.mlp.c_fc.weight"].shape[0] / text_width,
    )
    return image, text


def _depth(weights: Mapping[str, Tensor], prefix: str) -> int:
    """The number of blocks whose keys begin with ``prefix``."""
    return 1 + max(int(key.removeprefix(prefix).partition(".")[0]) for key in weights if key.startswith(prefix))


def _heads(side: str, width: int, told: int | None, channels: int, file: str) -> int:
    """The heads as told, else by the released channels of a head.

    Raises:
        CheckpointError: they do not divide the width.
    """
    heads = width // channels if told is None else told
    if heads < 1 or width % heads:
        raise CheckpointError(f"{file}: {heads} {side} heads do not divide the width {width}: say {side}_heads=N")
    return heads


def export_released(path: str | Path, out: Path) -> Path:
    """Write one of our DetailCLIP checkpoints in the released code's layout, which that code loads strictly.

    Args:
        path: a file of :func:`save_checkpoint`.
        out: the file to write, ``.pt``; must not exist.

    Returns:
        ``out``.

    Raises:
        CheckpointError: not one of ours, another method, or ``out`` is taken.
    """
    from pretrain.methods.detailclip import DetailCLIP

    if out.exists():
        raise CheckpointError(f"{out}: already exists; name another file")
    model = load_pretrained(path)
    if not isinstance(model, DetailCLIP):
        raise CheckpointError(f"{path}: made by {type(model).__name__}; the released layout is DetailCLIP's")
    _, embedded = _ours(Path(path))
    training = embedded.training or {}
    content = {
        "epoch": training.get("epochs"),
        "state_dict": {f"module.{key}": value for key, value in _to_released(model).items()},
        "best_acc": 0.0,
        "args": argparse.Namespace(model="DetailCLIP_VITB16", mask_ratio=model.fields.removal.keep_ratio),
        CENTERS: {"cls": model.centers.cls, "patch": model.centers.patch},
        FIELDS: model.fields.model_dump(mode="json"),
    }
    with atomic_path(out) as temporary:
        torch.save(content, temporary)
    return out


def _to_released(model: "DetailCLIP") -> dict[str, Tensor]:
    """The released state dict, its second names and fixed tensors included."""
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("centers.")}
    released: dict[str, Tensor] = {"decoder_pos_embed": model.decoder.positions}
    for key, value in state.items():
        ours = next(name for name in RELEASED_NAMES if key == name or (name.endswith(".") and key.startswith(name)))
        released[RELEASED_NAMES[ours] + key.removeprefix(ours)] = value.t().contiguous() if key in TRANSPOSED else value
    for prefix in _HEADS:
        directions = released[f"{prefix}last_layer.weight_v"]
        gains = torch.ones(len(directions), 1)
        for layer in ("last_layer", "last_layer2"):
            released |= {f"{prefix}{layer}.weight_v": directions, f"{prefix}{layer}.weight_g": gains}
    return released
