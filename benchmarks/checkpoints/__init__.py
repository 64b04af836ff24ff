"""Checkpoints: read safely, identified by their keys, and turned into one dual encoder.

The names below are imported when they are first used: the registry of published files lists itself without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.checkpoints.architecture import Heads, Preprocessing, TextArchitecture, VitArchitecture
    from benchmarks.checkpoints.export import (
        export_checkpoint,
        relocate_export,
        save_backbone,
        save_dual_encoder,
    )
    from benchmarks.checkpoints.load import (
        ImageTower,
        Inspection,
        LoadedCheckpoint,
        inspect_checkpoint,
        load_checkpoint,
        load_image_tower,
    )
    from benchmarks.checkpoints.metadata import Embedded, Source, read_embedded
    from benchmarks.checkpoints.opened import CheckpointInfo
    from benchmarks.checkpoints.published import resolve
    from benchmarks.checkpoints.report import LoadReport
    from benchmarks.checkpoints.settings import IMAGENET
    from benchmarks.checkpoints.tiny import ensure_tiny

_HOMES = {
    "architecture": ("Heads", "Preprocessing", "TextArchitecture", "VitArchitecture"),
    "export": ("export_checkpoint", "relocate_export", "save_backbone", "save_dual_encoder"),
    "load": (
        *("ImageTower", "Inspection", "LoadedCheckpoint"),
        *("inspect_checkpoint", "load_checkpoint", "load_image_tower"),
    ),
    "metadata": ("Embedded", "Source", "read_embedded"),
    "opened": ("CheckpointInfo",),
    "published": ("resolve",),
    "report": ("LoadReport",),
    "settings": ("IMAGENET",),
    "tiny": ("ensure_tiny",),
}

__all__ = [
    "IMAGENET",
    "CheckpointInfo",
    "Embedded",
    "Heads",
    "ImageTower",
    "Inspection",
    "LoadReport",
    "LoadedCheckpoint",
    "Preprocessing",
    "Source",
    "TextArchitecture",
    "VitArchitecture",
    "ensure_tiny",
    "export_checkpoint",
    "inspect_checkpoint",
    "load_checkpoint",
    "load_image_tower",
    "read_embedded",
    "relocate_export",
    "resolve",
    "save_backbone",
    "save_dual_encoder",
]


def __getattr__(name: str) -> Any:
    """Import the module that a public name lives in (PEP 562)."""
    for home, names in _HOMES.items():
        if name in names:
            globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
