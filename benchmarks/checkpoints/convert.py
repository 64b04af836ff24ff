"""From what a file holds to the dual encoder's weights: unwrap, identify, rename, account for every key."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch

from benchmarks.checkpoints.architecture import TextArchitecture, VitArchitecture
from benchmarks.checkpoints.families import FAMILIES, UNSUPPORTED
from benchmarks.checkpoints.family import HOW, Family, Tower
from benchmarks.checkpoints.report import LoadReport, first_few
from benchmarks.errors import CheckpointError

WRAPPERS = ("state_dict", "model", "module")
CONTAINERS = ("teacher", "student")
TRUNK = "visual.trunk."

States = Mapping[str | None, Mapping[str, Any]]
"""The state dicts of a file by container; a file with a single one has it under None."""


def unwrap(content: Mapping[str, Any], file: str) -> States:
    """Find the state dicts: under one of :data:`WRAPPERS`, else of :data:`CONTAINERS`, else at the top.

    Raises:
        CheckpointError: there are no tensors in any of these places.
    """
    found: dict[str | None, Mapping[str, Any]]
    wrapper = next((name for name in WRAPPERS if _holds_tensors(content.get(name))), None)
    if wrapper is not None:
        found = {None: content[wrapper]}
    else:
        found = {name: content[name] for name in CONTAINERS if _holds_tensors(content.get(name))}
        if not found and _holds_tensors(content):
            found = {None: content}
    if not found:
        raise CheckpointError(
            f"{file}: no tensors found (looked for {', '.join(WRAPPERS + CONTAINERS)} and at the top); "
            f"the file holds: {first_few([str(key) for key in content]) or 'nothing'}"
        )
    return {name: _strip_module(state) for name, state in found.items()}


def _holds_tensors(value: object) -> bool:
    """Whether ``value`` is a dict by names with at least one tensor directly in it."""
    return (
        isinstance(value, Mapping)
        and all(isinstance(key, str) for key in value)
        and any(isinstance(item, torch.Tensor) for item in value.values())
    )


def _strip_module(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without the ``module.`` of data-parallel training: once, at the start, and only if every key has it."""
    prefix = "module."
    if not all(key.startswith(prefix) for key in state):
        return state
    return {key.removeprefix(prefix): value for key, value in state.items()}


def options_of(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The options that the training code stored in the file, as ``args.NAME=VALUE``; only texts and numbers."""
    options = content.get("args")
    if isinstance(options, argparse.Namespace):
        options = vars(options)
    if not isinstance(options, Mapping):
        return ()
    return tuple(f"args.{name}={value}" for name, value in options.items() if isinstance(value, str | int | float))


def identify(
    states: States, file: str, families: tuple[Family, ...] = FAMILIES, options: tuple[str, ...] = ()
) -> Family:
    """The family whose marks the keys bear.

    Args:
        states: the state dicts of the file.
        file: for messages.
        families: among which to look.
        options: of the training code, as :func:`options_of` gives them.

    Raises:
        CheckpointError: no family, more than one, or a layout that is known and not evaluated.
    """
    fitting = [family for family in families if family.fits((*states.get(family.towers[0].container, ()), *options))]
    if len(fitting) == 1:
        return fitting[0]
    keys = [key for state in states.values() for key in state]
    for layout in UNSUPPORTED:
        if not fitting and any(re.match(layout.mark, key) for key in keys):
            raise CheckpointError(f"{file}: not supported: {layout.reason}")
    if fitting:
        raise CheckpointError(f"{file}: fits several families: {', '.join(family.title for family in fitting)}")
    known = ", ".join(family.title for family in families)
    raise CheckpointError(f"{file}: unknown layout (keys: {first_few(keys)}); known families: {known}")


@dataclass(frozen=True)
class Converted:
    """The weights of one tower, under the dual encoder's names, still in the file's own dtype.

    Attributes:
        tensors: views of what was read.
        origin: the file's key of each.
        report: matched, dropped, reshaped and so far unexplained keys.
    """

    tensors: Mapping[str, torch.Tensor]
    origin: Mapping[str, str]
    report: LoadReport


def convert(states: States, family: Family, tower: Tower, image_only: bool = False) -> Converted:
    """Apply the family's rules to every key.

    Args:
        states: the state dicts of the file.
        family: as identified.
        tower: one of the family's.
        image_only: leave out all that is not part of the ViT itself.
    """
    tensors: dict[str, torch.Tensor] = {}
    origin: dict[str, str] = {}
    report = LoadReport()
    for key, value in states[tower.container].items():
        named = _rename(key, tower)
        reason = None if named else _drop_reason(key, family, tower)
        if reason:
            report.drop(reason, key)
        elif named is None or not isinstance(value, torch.Tensor) or named[0] in tensors:  # the last: twice the same
            report.unexpected.append(key)
        elif image_only and not named[0].startswith(TRUNK):
            report.drop("not part of the image tower", key)
        else:
            target, how = named
            if how:
                report.reshaped.append((key, tuple(value.shape), how))
                value = HOW[how].apply(value)
            tensors[target], origin[target] = value, key
            report.matched.append(key)
    for name, state in states.items():
        if name != tower.container:
            for key in state:
                report.drop(f"belongs to the {name}", f"{name}: {key}")
    return Converted(tensors, origin, report)


def _rename(key: str, tower: Tower) -> tuple[str, str | None] | None:
    """The dual encoder's name of ``key`` and what is done to the weight, or None where no rule applies."""
    for rule in tower.rules:
        target = rule.rename(key)
        if target is not None:
            return target, rule.how
    return None


def _drop_reason(key: str, family: Family, tower: Tower) -> str | None:
    """Why ``key`` is left out, or None where nothing says that it may be."""
    for drop in family.drops:
        if re.match(drop.pattern, key):
            return drop.reason
    others = (other for other in family.towers if other is not tower and other.container == tower.container)
    return next((f"belongs to the {other.name} tower" for other in others if _rename(key, other)), None)


def check_complete(converted: Converted, expected: Mapping[str, torch.Tensor], name: str) -> None:
    """Compare with the weights that the dual encoder has; complete the report.

    Args:
        converted: the weights of the file; its report gets ``missing``, ``unexpected`` and ``cast``.
        expected: the state dict of the model (shapes are all that counts).
        name: the file and its family, for messages.

    Raises:
        CheckpointError: keys are missing or unexpected, or a weight has the wrong shape or is no dense float
            tensor.
    """
    report, tensors = converted.report, converted.tensors
    report.missing.extend(key for key in expected if key not in tensors)
    for target, key in converted.origin.items():
        if target not in expected:
            report.matched.remove(key)
            report.unexpected.append(key)
    report.require_complete(name)
    for target, tensor in tensors.items():
        key, shape, wanted = converted.origin[target], tuple(tensor.shape), tuple(expected[target].shape)
        if not (tensor.is_floating_point() and tensor.layout is torch.strided and tensor.device.type == "cpu"):
            raise CheckpointError(f"{name}: {key} is {tensor.dtype} ({tensor.layout}), not a dense float tensor")
        if shape != wanted:
            raise CheckpointError(f"{name}: {key} has the shape {shape}, the other weights ask for {wanted}")
        if tensor.dtype is not torch.float32:
            dtype = str(tensor.dtype).removeprefix("torch.")
            report.cast[dtype] = report.cast.get(dtype, 0) + 1


def vision_architecture(converted: Converted, family: Family, heads: int, name: str) -> VitArchitecture:
    """The image tower's sizes from the shapes of its weights, the rest from the family.

    Raises:
        CheckpointError: a weight that tells a size is missing or has the wrong number of dimensions.
    """
    width, channels, patch, other_side = _shape(converted, TRUNK + "patch_embed.proj.weight", 4, name)
    _, tokens, _ = _shape(converted, TRUNK + "pos_embed", 3, name)
    hidden, _ = _shape(converted, TRUNK + "blocks.0.mlp.fc1.weight", 2, name)
    grid = isqrt(max(tokens - 1, 0))
    if channels != 3 or patch != other_side or grid * grid != tokens - 1:
        raise CheckpointError(
            f"{name}: {channels} channels, patches of {patch}x{other_side} and {tokens} positions: "
            "only square RGB pictures with one class token are known"
        )
    return VitArchitecture(
        width=width,
        depth=_depth(converted, TRUNK + "blocks."),
        heads=heads,
        patch_size=patch,
        image_size=grid * patch,
        norm_eps=family.vision_eps,
        mlp_ratio=hidden / width,
        quick_gelu=family.vision_quick_gelu,
        pre_norm=family.vision_pre_norm,
    )


def text_architecture(converted: Converted, family: Family, heads: int, name: str) -> TextArchitecture:
    """The text tower's sizes from the shapes of its weights, the rest from the family.

    Raises:
        CheckpointError: a weight that tells a size is missing or has the wrong number of dimensions.
    """
    vocabulary, width = _shape(converted, "token_embedding.weight", 2, name)
    context, _ = _shape(converted, "positional_embedding", 2, name)
    hidden, _ = _shape(converted, "transformer.resblocks.0.mlp.c_fc.weight", 2, name)
    return TextArchitecture(
        width=width,
        depth=_depth(converted, "transformer.resblocks."),
        heads=heads,
        vocabulary=vocabulary,
        context=context,
        mlp_ratio=hidden / width,
        quick_gelu=family.text_quick_gelu,
    )


def joint_width(converted: Converted, name: str) -> int:
    """The width of the joint space of images and texts."""
    return _shape(converted, "text_projection", 2, name)[1]


def _shape(converted: Converted, key: str, dimensions: int, name: str) -> tuple[int, ...]:
    """The shape of a weight without which the sizes cannot be told."""
    if key not in converted.tensors:
        raise CheckpointError(f"{name}: the keys do not fit: missing {key}")
    shape = tuple(converted.tensors[key].shape)
    if len(shape) != dimensions or 0 in shape:
        raise CheckpointError(
            f"{name}: {converted.origin[key]} has the shape {shape}; {dimensions} dimensions expected"
        )
    return shape


def _depth(converted: Converted, prefix: str) -> int:
    """The number of blocks; a gap in the numbering shows up as missing weights."""
    numbers = {key[len(prefix) :].partition(".")[0] for key in converted.tensors if key.startswith(prefix)}
    return len(numbers)
