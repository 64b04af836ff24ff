"""A toy method and its data: what the trainer, the hooks and the loop do can be seen in its weights.

That it trains at all shows that none of them knows a method by name.
"""

import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer
from PIL import Image
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from pretrain.methods import METHODS, Method, Progress
from pretrain.methods.base import Batch, register
from pretrain.training import Existing, PretrainJob, PretrainPlan, plan, pretrain
from tests.pretrain.sections import caption_section, view_section

IMAGES = 10


class ToyFields(BaseModel):
    """Dropout makes the randomness of an iteration visible; ``pause`` seconds a step leave time to be killed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dropout: float
    alpha_toy: float
    pause: float


@register
class Toy(Method):
    """A linear layer that predicts the tokens' mean from the mean colours; an average of it as EMA."""

    views = 2
    Fields = ToyFields
    fields: ToyFields

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.online.requires_grad_(False)
        self.layer = nn.Linear(6, 1)
        self.average = nn.Linear(6, 1).requires_grad_(False)
        self.dropout = nn.Dropout(self.fields.dropout)
        self.steps_done = 0
        self.told: list[Progress] = []

    def set_progress(self, progress: Progress) -> None:
        super().set_progress(progress)
        self.told.append(progress)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        if self.progress.begins_step:
            for mean, value in zip(self.average.parameters(), self.layer.parameters(), strict=True):
                mean.data.lerp_(value.detach(), 0.1)
        colours = self.dropout(batch.views.mean((3, 4)).flatten(1))
        target = batch.tokens.float().mean(1) / 10_000
        loss = (self.layer(colours).squeeze(1) - target).square().mean() * self.fields.alpha_toy
        return {"toy": loss, "total": loss}

    def after_step(self) -> None:
        super().after_step()
        self.steps_done += 1
        time.sleep(self.fields.pause)

    def multiply_adds(self, text_length: float) -> dict[str, float]:
        return {"layer": 18.0 * text_length}


METHODS["toy"] = Toy


def write_pairs(root: Path) -> Path:
    """A data root of ten tiny pictures with captions, unlike each other."""
    (root / "pairs").mkdir(parents=True)
    random = np.random.default_rng(0)
    with (root / "pairs/train.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "title", "description"])
        for number in range(IMAGES):
            pixels = random.integers(0, 255, 3, dtype=np.uint8) * np.ones((24, 24, 1), np.uint8)
            Image.fromarray(pixels).save(root / f"pairs/{number}.png")
            writer.writerow([f"{number}.png", f"picture {number}", "red " * number])
    return root


def toy_fields() -> dict[str, Any]:
    """A complete config of the toy method."""
    sizes = {"width": 8, "depth": 1, "heads": 1, "mlp_ratio": 1.0}
    return {
        "method": "toy",
        "preset": None,
        "row": None,
        "image_tower": {**sizes, "patch_size": 8, "image_size": 16, "norm_eps": 1e-6},
        "text_tower": {**sizes, "vocabulary": 49408, "context": 77},
        "joint": 8,
        "fields": {"dropout": 0.0, "alpha_toy": 1.0, "pause": 0.0},
        "views": view_section(),
        "captions": caption_section(),
        "data": {"kind": "index", "table": "pairs/train.csv", "folder": "pairs"},
        "training": {
            "epochs": 4, "batch_size": 4, "lr": 0.05, "start_lr": 0.01, "min_lr": 0.001, "warmup_epochs": 1,
            "betas": [0.9, 0.98], "eps": 1e-8, "weight_decay": 0.5, "precision": "fp32",
        },
        "execution": {
            "device_batch": 4, "workers": 0, "checkpoint_blocks": False, "state_interval": 3,
            "checkpoint_epochs": None, "log_interval": 2, "max_broken": 0,
        },
    }  # fmt: skip


def toy_job(root: Path, out: Path, *overrides: str, **options: Any) -> PretrainJob:
    """A job of the toy config, which is written beside ``root``."""
    config = root.parent / "toy.json"
    if not config.exists():
        config.write_text(json.dumps(toy_fields()))
    return PretrainJob(str(config), root, out, overrides=overrides, device="cpu", **options)


def toy_plan(root: Path, *overrides: str) -> PretrainPlan:
    return plan(toy_job(root, root.parent / "out", *overrides))


def train(root: Path, out: Path, *overrides: str, existing: Existing = "resume", **options: Any) -> list[str]:
    """Train the toy; what was said."""
    torch.set_num_threads(1)
    # MMEngine knows these by folder name and second: a second run within it would log to the first one's folder.
    for kept in (MessageHub, MMLogger, Visualizer):
        kept._instance_dict.clear()
    lines: list[str] = []
    pretrain(toy_job(root, out, *overrides, **options), existing, lines.append)
    return lines


def train_joined(root: Path, out: Path, *overrides: str) -> None:
    """Train the toy in a process that is one of several."""
    train(root, out, *overrides, launcher="pytorch")
