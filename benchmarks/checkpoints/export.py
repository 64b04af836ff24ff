"""Writing checkpoints: for plain open_clip, for plain timm, and for ourselves.

All are safetensors with the metadata of :mod:`benchmarks.checkpoints.metadata`, so that every file reads back
through :func:`benchmarks.checkpoints.load_checkpoint` to the same embeddings, bit for bit, without a
question.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from benchmarks.checkpoints.architecture import Preprocessing, TextArchitecture, VitArchitecture
from benchmarks.checkpoints.load import ImageTower, LoadedCheckpoint, load_checkpoint, load_image_tower
from benchmarks.checkpoints.metadata import Embedded, Source
from benchmarks.checkpoints.open_clip_config import OPEN_CLIP_CONFIG
from benchmarks.checkpoints.opened import CheckpointInfo
from benchmarks.errors import CheckpointError
from benchmarks.files import atomic_path, write_text

OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
TIMM_WEIGHTS, TIMM_CONFIG = "model.safetensors", "config.json"

_LOCAL = "local-dir:"

# Registered timm names whose entry points fix what JSON cannot say, the LayerNorm; all sizes can be
# overridden.
_TIMM_BASES = {1e-6: "vit_base_patch16_224", 1e-5: "vit_base_patch16_clip_224"}


def export_checkpoint(
    path: str | Path,
    to: Literal["open_clip", "backbone"],
    out: Path,
    tower: str | None = None,
    image_heads: int | None = None,
    text_heads: int | None = None,
    quick_gelu: bool | None = None,
) -> Path:
    """Write one tower of a checkpoint into the folder ``out`` in a form that other programs load.

    ``open_clip``: ``open_clip.create_model_and_transforms("local-dir:OUT")`` loads it strictly, with the
    right activations and preprocessing. Sizes that timm registers are portable; the others name the folder
    ``OUT/trunk`` by its absolute path: call :func:`relocate_export` after moving the folder.
    ``backbone``: ``timm.create_model("local-dir:OUT", pretrained=True)`` loads the image tower, and for
    registered sizes also ``timm.create_model(NAME, num_classes=0, checkpoint_path="OUT/model.safetensors")``.

    Args:
        path: as for :func:`benchmarks.checkpoints.load_checkpoint`.
        to: ``open_clip`` or ``backbone``.
        out: folder to write; must not hold exported weights already. The weights come last: without them it
            is no checkpoint.
        tower: as for :func:`benchmarks.checkpoints.load_checkpoint`.
        image_heads: as for :func:`benchmarks.checkpoints.load_checkpoint`.
        text_heads: as for :func:`benchmarks.checkpoints.load_checkpoint`; not needed for ``backbone``.
        quick_gelu: as for :func:`benchmarks.checkpoints.load_checkpoint`.

    Returns:
        ``out``.

    Raises:
        CheckpointError: the checkpoint cannot be loaded, has no text side (``open_clip``), or ``out`` is
        taken.
    """
    taken = [name for name in (OPEN_CLIP_WEIGHTS, TIMM_WEIGHTS) if (out / name).exists()]
    if taken or (out.exists() and not out.is_dir()):
        raise CheckpointError(f"{out}: already exists with {taken[0] if taken else 'a file'}; name another folder")
    if to == "backbone":
        _export_backbone(load_image_tower(path, tower, image_heads, quick_gelu), out)
    elif to == "open_clip":
        _export_open_clip(load_checkpoint(path, tower, image_heads, text_heads, quick_gelu), out)
    else:
        raise CheckpointError(f"unknown export form {to!r}; known are open_clip and backbone")
    return out


def save_backbone(tower: ImageTower, path: Path) -> None:
    """Write an image tower as one safetensors file: timm's keys, float32, our metadata."""
    _save(tower.trunk, path, _embedded(tower.info))


def save_dual_encoder(model: nn.Module, path: Path, embedded: Embedded) -> None:
    """Write a dual encoder (``open_clip.CLIP`` around a timm ViT) as one file.

    Args:
        model: its state dict is written as float32.
        path: a ``.safetensors`` file.
        embedded: what the file shall say about itself; ``embedded.text`` must be given.
    """
    if embedded.text is None:
        raise ValueError("a dual encoder has a text tower: embedded.text is missing")
    _save(model, path, embedded)


def relocate_export(out: Path) -> None:
    """Make an ``open_clip`` export load again after its folder was moved to ``out``.

    Exports of registered sizes need it not, and are left as they are.

    Raises:
        CheckpointError: ``out`` is not such an export.
    """
    file = out / OPEN_CLIP_CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        name = config["model_cfg"]["vision_cfg"]["timm_model_name"]
    except (OSError, KeyError, TypeError, ValueError) as error:  # json.JSONDecodeError is a ValueError
        raise CheckpointError(f"{out}: not an open_clip export: {error!r} at {file.name}") from None
    if name.startswith(_LOCAL):
        config["model_cfg"]["vision_cfg"]["timm_model_name"] = _local_trunk(out)
        _write_json(file, config)


def _export_backbone(tower: ImageTower, out: Path) -> None:
    """The folder that timm loads."""
    config = _timm_config(tower.architecture, tower.preprocessing)
    _write_json(out / TIMM_CONFIG, config)
    save_backbone(tower, out / TIMM_WEIGHTS)


def _export_open_clip(loaded: LoadedCheckpoint, out: Path) -> None:
    """The folder that open_clip loads."""
    info = loaded.info
    if info.text is None:
        raise CheckpointError(
            f"{info.path} ({info.title}): has no text side, so there is no open_clip model; export it as backbone"
        )
    timm_name = info.architecture.timm_name
    if timm_name is None:
        _write_json(out / "trunk" / TIMM_CONFIG, _timm_config(info.architecture, info.preprocessing))
    joint = loaded.model.text_projection.shape[1]
    config = {
        "model_cfg": _open_clip_model(info.architecture, info.text, joint, timm_name or _local_trunk(out)),
        "preprocess_cfg": _open_clip_preprocessing(info),
    }
    _write_json(out / OPEN_CLIP_CONFIG, config)
    save_dual_encoder(loaded.model, out / OPEN_CLIP_WEIGHTS, _embedded(info))


def _embedded(info: CheckpointInfo) -> Embedded:
    """The metadata of a file made from a loaded checkpoint; a copy of a copy still names the first source."""
    return Embedded(
        name=info.name,
        family=info.family,
        towers=(info.tower,),
        architecture=info.architecture,
        text=info.text,
        preprocessing=info.preprocessing,
        source=info.source or Source(info.path.name, info.sha256),
        training=info.training,
        row=info.row,
    )


def _save(module: nn.Module, path: Path, embedded: Embedded) -> None:
    """Write a module's weights and the metadata, atomically."""
    from safetensors.torch import save_file

    weights = {key: value.detach().to("cpu", torch.float32).contiguous() for key, value in module.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(weights, temporary, metadata=embedded.to_metadata())
        _sort_metadata(temporary)


def _sort_metadata(file: Path) -> None:
    """Put the metadata of a safetensors file in order: the library writes them in a new one every time.

    Only so does the same checkpoint always have the same sha256. The header keeps its length.
    """
    with file.open("r+b") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > length:
            raise RuntimeError(f"the header of {file} grew from {length} to {len(text)} bytes")
        stream.seek(8)
        stream.write(text.ljust(length))


def _write_json(file: Path, data: Mapping[str, Any]) -> None:
    """Write readable JSON."""
    write_text(file, json.dumps(data, indent=2) + "\n")


def _local_trunk(out: Path) -> str:
    """How open_clip is told that the image tower is described in the export itself."""
    return f"{_LOCAL}{out.resolve() / 'trunk'}"


def _open_clip_model(vision: VitArchitecture, text: TextArchitecture, joint: int, timm_name: str) -> dict[str, Any]:
    """The ``model_cfg``. ``quick_gelu`` is the text tower's: open_clip leaves a timm image tower its own
    activation.
    """
    return {
        "embed_dim": joint,
        "quick_gelu": text.quick_gelu,
        "vision_cfg": {
            "timm_model_name": timm_name,
            "timm_model_pretrained": False,
            "timm_pool": "token",
            "timm_proj": "linear",
            "image_size": vision.image_size,
        },
        "text_cfg": text.open_clip_config(),
    }


def _open_clip_preprocessing(info: CheckpointInfo) -> dict[str, Any]:
    """The ``preprocess_cfg``.

    Raises:
        CheckpointError: pictures are resized to more than the crop, which open_clip cannot say.
    """
    way = info.preprocessing
    if way.resize != way.crop:
        raise CheckpointError(f"{info.path}: open_clip cannot resize to {way.resize} and crop {way.crop}")
    return {
        "size": way.crop,
        "mode": "RGB",
        "mean": list(way.mean),
        "std": list(way.std),
        "interpolation": way.interpolation,
        "resize_mode": "shortest",
    }


def _timm_config(vision: VitArchitecture, way: Preprocessing) -> dict[str, Any]:
    """timm's ``config.json``: a registered name, and for other sizes the arguments that make it this tower.

    Raises:
        CheckpointError: an epsilon that no registered tower has.
    """
    name = vision.timm_name or _TIMM_BASES.get(vision.norm_eps)
    if name is None:
        raise CheckpointError(f"timm has no registered tower with LayerNorm epsilon {vision.norm_eps}; cannot export")
    return {
        "architecture": name,
        "num_classes": 0,
        "num_features": vision.width,
        "global_pool": "token",
        "model_args": {} if vision.timm_name else _timm_arguments(vision),
        "pretrained_cfg": {
            "num_classes": 0,
            "input_size": [3, vision.image_size, vision.image_size],
            "fixed_input_size": True,
            "mean": list(way.mean),
            "std": list(way.std),
            "interpolation": way.interpolation,
            "crop_pct": way.crop / way.resize,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }


def _timm_arguments(vision: VitArchitecture) -> dict[str, Any]:
    """The arguments of timm's entry point that turn the base into this tower."""
    return {
        "img_size": vision.image_size,
        "patch_size": vision.patch_size,
        "embed_dim": vision.width,
        "depth": vision.depth,
        "num_heads": vision.heads,
        "mlp_ratio": vision.mlp_ratio,
        "pre_norm": vision.pre_norm,
        "act_layer": "quick_gelu" if vision.quick_gelu else "gelu",
    }
