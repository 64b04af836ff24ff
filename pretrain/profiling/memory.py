"""The memory of a training step beyond weights, gradients and optimiser state: ``python -m pretrain.profiling.memory``.

A process of its own a measurement: memory that an earlier step gave back would be counted as free. Linux only, on the
CPU: it reads the process's peak from ``/proc``.
"""

import sys
from pathlib import Path
from typing import cast

import torch

from benchmarks.engine.precision import Precision
from pretrain.profiling.setup import TrainingStep, Way

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def status(entry: str) -> int:
    """An entry of the process's status in bytes: ``VmRSS`` (now) or ``VmHWM`` (the peak)."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{entry}:"))
    return int(line.split()[1]) * 1024


def step_memory(way: Way, precision: Precision, batch: int) -> int:
    """Bytes at the peak of the second and third step over what stays between steps, gradients included."""
    step = TrainingStep(way, precision, batch)
    step.run()  # makes the optimiser's state, and what libraries allocate once
    for parameter in step.model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    before = status("VmRSS")
    step.optimizer.zero_grad()
    _CLEAR.write_text("5")  # the peak begins anew
    for _ in range(2):
        step.run()
    return status("VmHWM") - before


if __name__ == "__main__":
    way, precision, batch = sys.argv[1:]
    sys.stdout.write(f"{step_memory(cast(Way, way), cast(Precision, precision), int(batch))}\n")
