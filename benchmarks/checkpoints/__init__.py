"""Checkpoints: read safely, identified by their keys, and turned into one dual encoder."""

from benchmarks.checkpoints.architecture import Heads, Preprocessing, TextArchitecture, VitArchitecture
from benchmarks.checkpoints.export import (
    export_checkpoint,
    relocate_export,
    save_backbone,
    save_dual_encoder,
)
from benchmarks.checkpoints.families import IMAGENET
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
from benchmarks.checkpoints.report import LoadReport
from benchmarks.checkpoints.tiny import ensure_tiny

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
    "save_backbone",
    "save_dual_encoder",
]
