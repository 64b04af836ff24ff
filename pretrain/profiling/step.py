"""``make bench-pretrain``: the training step against the plain one and against the machine's matrix-multiply rate.

Times mean little on shared machines, so everything is taken in turn within one run (rate, plain, ours, rate) and
compared round by round.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import cast

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from benchmarks.engine.precision import Precision
from benchmarks.engine.throughput import matmul_rate
from pretrain.profiling.setup import PLAIN_GIGA, TrainingStep, Way

PARTS = (
    "ema",
    "teacher",
    "student",
    "decoder",
    "text",
    "heads and losses",
    "backward",
    "optimiser",
)
"""Ranges that the step marks for the profiler (``step/...``), in the order in which they come."""


@dataclass(frozen=True)
class Round:
    """One round: seconds of both steps, and the rate around them in multiply-adds a second."""

    plain: float
    ours: float
    rate: float


def timed(step: TrainingStep) -> float:
    """Seconds of one step."""
    begun = time.perf_counter()
    step.run()
    return time.perf_counter() - begun


def measure(ours: TrainingStep, plain: TrainingStep, precision: Precision, rounds: int) -> list[Round]:
    """Both steps in turn, once each to warm up and then ``rounds`` times."""
    cpu = torch.device("cpu")
    timed(ours)
    timed(plain)
    found = []
    for _ in range(rounds):
        before = matmul_rate(cpu, precision)
        seconds = timed(plain), timed(ours)
        found.append(Round(*seconds, (before + matmul_rate(cpu, precision)) / 2))
    return found


def parts(step: TrainingStep) -> dict[str, float]:
    """Seconds of each of :data:`PARTS` in one step under the profiler."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step.run()
    totals = {event.key: event.cpu_time_total / 1e6 for event in profiler.key_averages()}
    return {part: totals.get(f"step/{part}", 0.0) for part in PARTS}


def memory(way: Way, precision: Precision, batch: int) -> int:
    """See :mod:`pretrain.profiling.memory`; in a process of its own."""
    command = [sys.executable, "-m", "pretrain.profiling.memory", way, precision, str(batch)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def report(precision: Precision, batch: int, rounds: int) -> list[Table]:
    """The tables of one precision."""
    ours, plain = (TrainingStep(way, precision, batch) for way in ("ours", "plain"))
    found = measure(ours, plain, precision, rounds)
    needed = ours.multiply_adds
    table = Table(title=f"Training step, ViT-B/16, batch {batch}, {precision}, {torch.get_num_threads()} threads")
    for heading in ("", "min", "median", "max"):
        table.add_column(heading, justify="right")
    lines = {
        "plain step, s": [each.plain for each in found],
        "this step, s": [each.ours for each in found],
        "ratio, round by round": [each.ours / each.plain for each in found],
        "image pairs/s": [batch / each.ours for each in found],
        "matrix-multiply rate, G multiply-adds/s": [each.rate / 1e9 for each in found],
        "share of that rate": [needed / each.ours / each.rate for each in found],
        "share of it, plain step": [batch * PLAIN_GIGA * 1e9 / each.plain / each.rate for each in found],
    }
    for name, values in lines.items():
        table.add_row(name, *(f"{value:.3g}" for value in (min(values), median(values), max(values))))
    return [table, _parts_table(ours, precision), _memory_table(precision, batch)]


def _parts_table(step: TrainingStep, precision: Precision) -> Table:
    seconds = parts(step)
    table = Table(title=f"Where the time goes, {precision}")
    for heading in ("part", "s", "share"):
        table.add_column(heading, justify="right")
    for part, value in seconds.items():
        table.add_row(part, f"{value:.3f}", f"{value / sum(seconds.values()):.0%}")
    return table


def _memory_table(precision: Precision, batch: int) -> Table:
    plain, ours = (memory(way, precision, batch) for way in ("plain", "ours"))
    table = Table(title=f"Memory beyond weights, gradients and optimiser state, {precision}")
    for heading in ("plain step", "this step", "ratio"):
        table.add_column(heading, justify="right")
    table.add_row(f"{plain / 2**30:.2f} GiB", f"{ours / 2**30:.2f} GiB", f"{ours / plain:.2f}")
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--batch", type=int, default=8, help="image pairs")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    for precision in options.precision:
        for table in report(cast(Precision, precision), options.batch, options.rounds):
            console.print(table)


if __name__ == "__main__":
    main()
