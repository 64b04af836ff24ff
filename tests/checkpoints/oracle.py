"""Puts the checkpoints of tests/fixtures/oracle together again, in the layout in which the methods publish
them.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch

FOLDER = Path(__file__).parents[1] / "fixtures" / "oracle"
NAMES = ("detailclip", "aclip", "slip", "clip-yfcc")


class Told(TypedDict):
    """Heads of the oracle models, which are of no published size."""

    image_heads: int
    text_heads: int


HEADS = Told(image_heads=2, text_heads=1)

_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@dataclass(frozen=True)
class Oracle:
    """A rebuilt checkpoint, its inputs, and what the published code makes of them."""

    path: Path
    images: torch.Tensor
    tokens: torch.Tensor
    numbers: Mapping[str, torch.Tensor]


def content(name: str) -> dict[str, Any]:
    """What the published file holds: state dict with ``module.`` keys, optimiser, scaler, accuracy,
    arguments.
    """
    with np.load(FOLDER / f"{name}.npz") as archive:
        layout = json.loads(str(archive["layout"]))
        flat = torch.from_numpy(np.ascontiguousarray(archive["planes"].T).view(np.float32).reshape(-1))
    state: dict[str, torch.Tensor] = {}
    start = 0
    for entry in layout["entries"]:
        shape = tuple(entry["shape"])
        state[entry["key"]] = torch.zeros(shape, dtype=getattr(torch, entry["dtype"]))
        if entry.get("kept"):
            size = state[entry["key"]].numel()
            state[entry["key"]] = flat[start : start + size].reshape(shape).clone()
            start += size
    assert start == len(flat)
    values = layout["rest"] | {"state_dict": state, "args": argparse.Namespace(**layout["rest"]["args"])}
    return {key: values[key] for key in layout["order"]}


def rebuild(name: str, folder: Path) -> Oracle:
    """Write the checkpoint as the published training code does, and give it with its numbers."""
    path = folder / f"{name}.pt"
    torch.save(content(name), path)
    with np.load(FOLDER / f"{name}.npz") as archive:
        numbers = {key: torch.from_numpy(archive[key]) for key in archive.files if key not in ("layout", "planes")}
    images = (numbers["in_u_uint8"].float() / 255 - _MEAN) / _STD
    return Oracle(path, images, numbers["in_text"], numbers)
