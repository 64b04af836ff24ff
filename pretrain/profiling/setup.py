"""The step that is measured: ViT-B/16 at 224 pixels, the released choices, captions of 8 to 20 tokens."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from benchmarks.checkpoints import IMAGENET, TextArchitecture, VitArchitecture
from benchmarks.engine.precision import Precision
from pretrain.fields import preset_fields
from pretrain.methods.detailclip import DetailCLIP
from pretrain.profiling.plain import plain_losses

Way = Literal["plain", "ours"]

PLAIN_GIGA = 121.0
"""Multiply-adds of the plain step per image pair, in 1e9 (docs/performance.md counts them)."""

_SHORTEST, _LONGEST = 8, 20
_IMAGE = VitArchitecture(width=768, depth=12, heads=12, patch_size=16, image_size=224, norm_eps=1e-6, mlp_ratio=4.0)
_TEXT = TextArchitecture(width=512, depth=12, heads=8, vocabulary=49408, context=77, mlp_ratio=4.0)


def captions(batch: int) -> Tensor:
    """Token ids (batch, 77) of captions whose lengths go evenly from 8 to 20, start and end included."""
    tokens = torch.zeros(batch, _TEXT.context, dtype=torch.long)
    lengths = torch.linspace(_SHORTEST, _LONGEST, batch).round().long().tolist()
    generator = torch.Generator().manual_seed(0)
    for row, length in zip(tokens, lengths, strict=True):
        row[:length] = torch.randint(1, 49_000, (length,), generator=generator)
        row[0], row[length - 1] = 49_406, 49_407
    return tokens


class TrainingStep:
    """One optimiser step, again and again on the same pairs.

    Args:
        way: ``ours``, or ``plain`` with an unfused optimiser.
        precision: ``fp32`` or ``bf16`` (autocast).
        batch: image pairs.
    """

    def __init__(self, way: Way, precision: Precision, batch: int) -> None:
        torch.manual_seed(0)
        fields = preset_fields("detailclip", "released")
        self.model = DetailCLIP(_IMAGE, _TEXT, 512, fields, IMAGENET)
        self.losses = self.model.compute_losses if way == "ours" else self._plain
        self.precision = precision
        self.batch = batch
        self.views = torch.randn(2, batch, 3, 224, 224)
        self.tokens = captions(batch)
        exempt: dict[bool, list[nn.Parameter]] = {False: [], True: []}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                exempt[self.model.no_weight_decay(name, parameter)].append(parameter)
        groups: list[dict[str, Any]] = [{"params": exempt[False]}, {"params": exempt[True], "weight_decay": 0.0}]
        fused = True if way == "ours" else None
        self.optimizer = torch.optim.AdamW(groups, lr=1e-6, betas=(0.9, 0.98), weight_decay=0.5, fused=fused)

    @property
    def multiply_adds(self) -> float:
        """Of one step of ours."""
        return self.batch * sum(self.model.multiply_adds(_LONGEST).values())

    def _plain(self, u: Tensor, v: Tensor, tokens: Tensor, epoch: int) -> dict[str, Tensor]:
        return plain_losses(self.model, u, v, tokens, epoch)

    def run(self) -> float:
        """One step; returns the total loss."""
        with self._autocast():
            total = self.losses(self.views[0], self.views[1], self.tokens, epoch=1)["total"]
        with record_function("step/backward"):
            total.backward()
        with record_function("step/optimiser"):
            self.optimizer.step()
            self.optimizer.zero_grad()
        return float(total.detach())

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        with torch.autocast("cpu", dtype=torch.bfloat16) if self.precision == "bf16" else nullcontext():
            yield
