"""Resume states: any nesting of dicts, lists, tensors and plain values in one safetensors file.

Tensors are stored as tensors; the tree around them is JSON in the file's metadata. Reading such a file can run no
code, and a file is either whole or absent (``benchmarks.files.atomic_path``).
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from benchmarks.errors import RecordError
from benchmarks.files import atomic_path

TENSOR, MAPPING, TUPLE = "$tensor", "$mapping", "$tuple"


def _pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Replace every tensor in ``value`` by a reference and collect it; keys and tuples survive JSON."""
    if isinstance(value, torch.Tensor):
        name = f"t{len(tensors)}"
        # A copy of its own: safetensors refuses tensors that share memory, and views would store their whole base.
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {TENSOR: name}
    if isinstance(value, dict):
        return {MAPPING: [[_pack(key, tensors), _pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {TUPLE: [_pack(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_pack(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a resume state holds tensors and plain values only, not {type(value).__name__}")


def _unpack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The inverse of ``_pack``."""
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if TENSOR in value:
        return tensors[value[TENSOR]]
    if TUPLE in value:
        return tuple(_unpack(item, tensors) for item in value[TUPLE])
    return {_unpack(key, tensors): _unpack(item, tensors) for key, item in value[MAPPING]}


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` durably to ``path``; an older file of that name goes only when the new one is on disk.

    Raises:
        TypeError: ``state`` holds something that is neither a tensor nor a plain value nor a dict, list or tuple.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = json.dumps(_pack(state, tensors))
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"state": tree})


def load_state(path: Path) -> dict[str, Any]:
    """Read what ``save_state`` wrote: the same tree with the same tensors (on the CPU).

    Raises:
        RecordError: the file is not such a state.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise RecordError(f"{path}: not a readable resume state ({error}); delete it to start anew") from error
    if "state" not in metadata:
        raise RecordError(f"{path}: a safetensors file, but not a resume state; delete it to start anew")
    try:
        state = _unpack(json.loads(metadata["state"]), tensors)
    except (KeyError, TypeError, ValueError) as error:  # JSON's own error is a ValueError
        raise RecordError(f"{path}: a damaged resume state ({error!r}); delete it to start anew") from error
    if not isinstance(state, dict):
        raise RecordError(f"{path}: a resume state without named parts; delete it to start anew")
    return state
