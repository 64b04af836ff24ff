"""What an ``open_clip_config.json`` beside the weights says, and whether this project's towers can do it.

open_clip publishes its models on the Hugging Face hub as a folder of weights and this file: ``model_cfg`` (the
arguments of ``open_clip.CLIP``) and ``preprocess_cfg``. What it leaves out has open_clip's default.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.checkpoints.architecture import Preprocessing, TextArchitecture, VitArchitecture
from benchmarks.errors import CheckpointError

OPEN_CLIP_CONFIG = "open_clip_config.json"

_HEAD_WIDTH = 64
_TEXT_HEADS = 8

# Settings that change the numbers and leave no trace in the weights, with the only value that is known here (None and
# empty values mean the default too). Pooling, masks and tokenizers of other kinds would load and give wrong numbers.
_SILENT_VISION: Mapping[str, Any] = {
    "pool_type": "tok",
    "global_average_pool": False,
    "act_kwargs": None,
    "norm_kwargs": None,
}
_SILENT_TEXT: Mapping[str, Any] = {
    "pool_type": "argmax",
    "no_causal_mask": False,
    "act_kwargs": None,
    "norm_kwargs": None,
    "hf_tokenizer_name": None,
    "tokenizer_kwargs": None,
}
_SILENT_PREPROCESSING: Mapping[str, Any] = {"resize_mode": "shortest", "mode": "RGB"}
_INTERPOLATIONS = ("bicubic", "bilinear")


@dataclass(frozen=True)
class OpenClipConfig:
    """The file, as read; every question to it is checked against the weights.

    Attributes:
        path: of the file.
        quick_gelu: the activation of both towers is QuickGELU, otherwise GELU.
        vision: its ``vision_cfg``.
        text: its ``text_cfg``.
        preprocess: its ``preprocess_cfg``.
    """

    path: Path
    quick_gelu: bool
    vision: Mapping[str, Any]
    text: Mapping[str, Any]
    preprocess: Mapping[str, Any]

    def image_heads(self, found: VitArchitecture) -> int:
        """The heads of the image tower that the weights show.

        Raises:
            CheckpointError: the file describes another tower, or one that this project cannot build.
        """
        sizes = {
            "width": found.width,
            "layers": found.depth,
            "patch_size": found.patch_size,
            "image_size": found.image_size,
        }
        self._confirm("vision_cfg", self.vision, sizes)
        self._refuse("vision_cfg", self.vision, _SILENT_VISION)
        head_width = self.vision.get("head_width", _HEAD_WIDTH)
        if not isinstance(head_width, int) or head_width < 1 or found.width % head_width:
            raise CheckpointError(f"{self.path}: head_width {head_width} does not divide the width {found.width}")
        return found.width // head_width

    def text_heads(self, found: TextArchitecture) -> int:
        """The heads of the text tower that the weights show.

        Raises:
            CheckpointError: as of :meth:`image_heads`.
        """
        sizes = {
            "width": found.width,
            "layers": found.depth,
            "context_length": found.context,
            "vocab_size": found.vocabulary,
        }
        self._confirm("text_cfg", self.text, sizes)
        self._refuse("text_cfg", self.text, _SILENT_TEXT)
        heads = self.text.get("heads", _TEXT_HEADS)
        if not isinstance(heads, int) or heads < 1 or found.width % heads:
            raise CheckpointError(f"{self.path}: heads {heads} of text_cfg do not divide the width {found.width}")
        return heads

    def preprocessing(self, default: Preprocessing) -> Preprocessing:
        """What ``preprocess_cfg`` says, with ``default`` where it says nothing.

        Raises:
            CheckpointError: pictures are prepared in a way that this project cannot follow.
        """
        self._refuse("preprocess_cfg", self.preprocess, _SILENT_PREPROCESSING)
        said = {key: value for key, value in self.preprocess.items() if value is not None}
        interpolation = said.get("interpolation", default.interpolation)
        if interpolation not in _INTERPOLATIONS:
            raise CheckpointError(f"{self.path}: interpolation {interpolation!r} is none of {_INTERPOLATIONS}")
        size = _side(said.get("size", default.crop))
        if size != default.crop:
            raise CheckpointError(
                f"{self.path}: preprocess_cfg makes pictures of {size}, the tower takes {default.crop}"
            )
        return Preprocessing(
            mean=self._channels("mean", said.get("mean", default.mean)),
            std=self._channels("std", said.get("std", default.std)),
            resize=default.crop,
            interpolation=interpolation,
            crop=default.crop,
        )

    def _channels(self, name: str, values: Any) -> tuple[float, float, float]:
        """Three numbers, one a channel."""
        match values:
            case [float() | int() as red, float() | int() as green, float() | int() as blue]:
                return float(red), float(green), float(blue)
        raise CheckpointError(f"{self.path}: {name} of preprocess_cfg is {values!r}, not three numbers")

    def _confirm(self, part: str, said: Mapping[str, Any], found: Mapping[str, int]) -> None:
        """Refuse a file that belongs to other weights."""
        for name, value in found.items():
            if name in said and _side(said[name]) != value:
                raise CheckpointError(
                    f"{self.path}: describes another model than the weights beside it: {name} of {part} is "
                    f"{said[name]}, the weights have {value}; move one of the two to a folder of its own"
                )

    def _refuse(self, part: str, said: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        """Refuse settings that would be passed over without a trace."""
        for name, value in known.items():
            if said.get(name) and said[name] != value:
                raise CheckpointError(
                    f"{self.path}: {name} of {part} is {said[name]!r}; only models with {value or 'the default'} can "
                    "be evaluated"
                )


def read_open_clip_config(folder: Path) -> OpenClipConfig | None:
    """The config in this folder, or None where there is none.

    Raises:
        CheckpointError: there is one, and it is no such config.
    """
    path = folder / OPEN_CLIP_CONFIG
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        model = config["model_cfg"]
        parts = [dict(model["vision_cfg"]), dict(model["text_cfg"]), dict(config.get("preprocess_cfg") or {})]
        quick_gelu = model.get("quick_gelu", False)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # json.JSONDecodeError is a ValueError
        raise CheckpointError(f"{path}: not an open_clip config: {error!r}; download it again") from None
    if not isinstance(quick_gelu, bool):
        raise CheckpointError(f"{path}: quick_gelu is {quick_gelu!r}, not true or false")
    return OpenClipConfig(path, quick_gelu, *parts)


def _side(value: Any) -> Any:
    """The side of a square that is given by one number or twice the same."""
    return value[0] if isinstance(value, list) and value and value == [value[0]] * 2 else value
