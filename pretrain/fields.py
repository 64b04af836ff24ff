"""The fields of a pretraining run, and how a config, a preset and overrides make them.

Their values are in ``mm_configs/pretrain/`` and nowhere else.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, model_validator

from benchmarks.checkpoints.architecture import TextArchitecture, VitArchitecture
from benchmarks.engine.precision import Precision
from benchmarks.engine.protocol import (
    Count,
    Fields,
    Momentum,
    Positive,
    merge,
    parse_overrides,
    read_config,
    read_config_file,
    validated,
)
from benchmarks.errors import OptionError
from benchmarks.files import shipped
from pretrain.data import CaptionFields, SourceFields
from pretrain.methods import METHODS
from pretrain.views import ViewFields

MethodFields = TypeVar("MethodFields", bound=BaseModel)

FOLDER = "pretrain"
"""Of the configs, inside ``mm_configs``."""

VOCABULARY = 49_408
"""Tokens of CLIP's tokenizer; its texts are 77 long."""

MAX_EPOCHS = 1e6

FREE_TO_CHANGE = {
    "execution.workers", "execution.checkpoint_blocks", "execution.state_interval", "execution.checkpoint_epochs",
    "execution.log_interval", "execution.max_broken",
}  # fmt: skip
"""Fields that do not decide the outcome: a run may be taken up with other values of them."""

KEEPS_ROW = {"row", "preset", *FREE_TO_CHANGE}
"""What may be overridden while the run still stands for the row its config names: presets are readings of the paper."""


class ImageFields(Fields):
    """The image tower; see ``VitArchitecture``."""

    width: Count
    depth: Count
    heads: Count
    patch_size: Count
    image_size: Count
    norm_eps: Positive
    mlp_ratio: Positive

    @model_validator(mode="after")
    def _divisible(self) -> "ImageFields":
        """Patches tile the picture, and heads share the width."""
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        return _sharing_heads(self)

    def architecture(self) -> VitArchitecture:
        """The same as the checkpoints name it."""
        return VitArchitecture(**self.model_dump())


class TextFields(Fields):
    """The text tower; see ``TextArchitecture``."""

    width: Count
    depth: Count
    heads: Count
    vocabulary: Annotated[int, Field(ge=VOCABULARY)]
    context: Literal[77]
    mlp_ratio: Positive

    @model_validator(mode="after")
    def _divisible(self) -> "TextFields":
        """Heads share the width."""
        return _sharing_heads(self)

    def architecture(self) -> TextArchitecture:
        """The same as the checkpoints name it."""
        return TextArchitecture(**self.model_dump())


_Tower = TypeVar("_Tower", ImageFields, TextFields)


def _sharing_heads(tower: _Tower) -> _Tower:
    if tower.width % tower.heads:
        raise ValueError(f"width {tower.width} is not a multiple of heads {tower.heads}")
    return tower


class TrainingFields(Fields):
    """The recipe: AdamW without gradient clipping, a linear warm-up, half a cosine."""

    epochs: Annotated[float, Field(gt=0, le=MAX_EPOCHS)] = Field(
        description="passes over the data; a part of one is a part"
    )
    batch_size: Count = Field(description="pairs of an optimiser step, over all processes and micro-batches")
    lr: Positive = Field(description="the highest rate, whatever the batch size")
    start_lr: Annotated[float, Field(ge=0)] = Field(description="of the first step")
    min_lr: Annotated[float, Field(ge=0)] = Field(description="of the last step")
    warmup_epochs: Annotated[float, Field(ge=0, le=MAX_EPOCHS)]
    betas: tuple[Momentum, Momentum]
    eps: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    precision: Precision


class ExecutionFields(Fields):
    """How it is executed. ``device_batch`` decides the outcome too: contrastive losses compare within a micro-batch."""

    device_batch: Count = Field(description="pairs of a micro-batch, on each process")
    workers: Annotated[int, Field(ge=0)] = Field(description="data-loader processes, for each process")
    checkpoint_blocks: bool = Field(description="compute activations again in the backward pass")
    state_interval: Count = Field(description="optimiser steps between two resume states")
    checkpoint_epochs: Count | None = Field(description="epochs between two checkpoints that are kept; None: none")
    log_interval: Count = Field(description="micro-batches between two lines of the log")
    max_broken: Annotated[int, Field(ge=0)] = Field(description="unusable pairs that a process accepts")


class PretrainFields(Fields, Generic[MethodFields]):
    """All that a pretraining run is, but for its data root, seed and machine.

    ``PretrainFields[SomeMethod.Fields]`` also checks the method's own section.
    """

    method: str
    preset: str | None = Field(
        description="mm_configs/pretrain/presets/<method>_<preset>.py; None: the config itself says everything"
    )
    row: Annotated[str, Field(pattern=r"^[^@]+(@\d+)?$")] | None = Field(
        description="the row of the paper's tables that the checkpoint stands for, METHOD[@EPOCHS]"
    )
    image_tower: ImageFields
    text_tower: TextFields
    joint: Count
    fields: MethodFields
    views: ViewFields
    captions: CaptionFields
    data: SourceFields
    training: TrainingFields
    execution: ExecutionFields


def shipped_configs() -> list[str]:
    """The names of the configs that come with this package."""
    return sorted(path.stem for path in (shipped("mm_configs") / FOLDER).glob("*.py") if path.stem != "__init__")


def load_fields(config: str, overrides: Iterable[str] = ()) -> PretrainFields[Any]:
    """The fields of a run: the method's preset, the config over it, the overrides over both.

    An override of anything that decides the outcome, except the preset, takes away the row of the paper that the
    config names, unless ``row`` is overridden too. An override of ``data.kind`` replaces the whole section.

    Args:
        config: name of a shipped config, or path of a ``.py`` or ``.json`` file.
        overrides: ``field=value`` texts, e.g. ``training.lr=1e-4`` or ``preset=paper``.

    Raises:
        OptionError: the config, its method or preset is unknown, or a field is unknown or out of range.
    """
    own, changes = _read(config), parse_overrides(overrides)
    asked = merge(own, changes)
    source = changes.get("data")
    if isinstance(source, Mapping) and "kind" in source:
        asked["data"] = source
    if {name for name, _ in leaves(changes)} - KEEPS_ROW and "row" not in changes:
        asked["row"] = None
    name = str(asked.get("method"))
    if name not in METHODS:
        raise OptionError(f"{config}: method {name} is unknown; there is {', '.join(METHODS)}")
    schema: type[PretrainFields[Any]] = PretrainFields[METHODS[name].Fields]  # type: ignore[misc, assignment]
    preset = asked.get("preset")
    sections = {} if preset is None else preset_sections(name, str(preset))
    return validated(config, schema, merge(sections, asked))


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested sections with its dotted name."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _read(config: str) -> dict[str, Any]:
    """The fields of a config, shipped or the user's own."""
    if config in shipped_configs():
        return read_config(f"{FOLDER}/{config}")
    path = Path(config)
    if path.suffix in (".py", ".json"):
        return {"row": None, **read_config_file(path)}
    near = difflib.get_close_matches(config, shipped_configs(), n=3) or shipped_configs()
    raise OptionError(f"{config}: no such config; there is {', '.join(near)}, or name a .py or .json file")


def preset_fields(method: str, preset: str) -> dict[str, Any]:
    """The method's own section of a shipped preset, e.g. of ``("detailclip", "released")``.

    Raises:
        OptionError: the method has no such preset.
    """
    fields: dict[str, Any] = preset_sections(method, preset)["fields"]
    return fields


def preset_sections(method: str, preset: str) -> dict[str, Any]:
    """What a shipped preset says: the sections ``fields``, ``views`` and ``captions``.

    Raises:
        OptionError: the method has no such preset.
    """
    folder = shipped("mm_configs") / FOLDER / "presets"
    known = sorted(path.stem.removeprefix(f"{method}_") for path in folder.glob(f"{method}_*.py"))
    if preset not in known:
        raise OptionError(f"preset {preset}: {method} has {', '.join(known)}")
    return read_config(f"{FOLDER}/presets/{method}_{preset}")
