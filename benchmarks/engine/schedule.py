"""A learning rate that follows from the number of the optimiser step alone, so that nothing of it is resumed."""

import math
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


def warmup_cosine(step: int, steps: int, warmup: int, start: float, peak: float, end: float) -> float:
    """The learning rate of one optimiser step: a line from ``start`` to ``peak``, then half a cosine to ``end``.

    The ends are inclusive, as in the released code: step 0 has ``start``, the last warm-up step has ``peak``, the step
    after it has ``peak`` again, and the last step of the run has ``end``.

    Args:
        step: 0 to ``steps`` - 1.
        steps: optimiser steps of the whole run, at least 1.
        warmup: steps of the warm-up, 0 for none.
        start: rate of step 0.
        peak: the highest rate.
        end: rate of the last step.
    """
    if step < warmup:
        return start + (peak - start) * step / max(warmup - 1, 1)
    share = (step - warmup) / max(steps - warmup - 1, 1)
    return end + 0.5 * (peak - end) * (1 + math.cos(math.pi * share))


@HOOKS.register_module()
class WarmupCosineHook(Hook):
    """Sets ``warmup_cosine`` before every iteration; all parameter groups have the same rate.

    Args:
        accumulation: iterations (micro-batches) of an optimiser step.
        steps: see ``warmup_cosine``, like the others.
        warmup: see ``warmup_cosine``.
        start: see ``warmup_cosine``.
        peak: see ``warmup_cosine``.
        end: see ``warmup_cosine``.
    """

    priority = "HIGHEST"  # MMEngine's logger reads the rate before the iteration too

    def __init__(self, accumulation: int, steps: int, warmup: int, start: float, peak: float, end: float) -> None:
        self.accumulation = accumulation
        self.schedule: dict[str, Any] = {
            "steps": steps, "warmup": warmup, "start": start, "peak": peak, "end": end,
        }  # fmt: skip

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Set the rate of the optimiser step that this iteration belongs to."""
        rate = warmup_cosine(batch_idx // self.accumulation, **self.schedule)
        for group in runner.optim_wrapper.optimizer.param_groups:
            group["lr"] = rate
