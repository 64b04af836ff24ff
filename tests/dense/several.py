"""Runs of dense benchmarks that several processes do together, as a program of its own: it writes down what they did.

``python -m tests.dense.several DATA OUT RUNS``, or the same under torchrun; RUNS is JSON: for each folder within OUT a
benchmark and its overrides. All runs are done by one launch, for starting it takes longer than they do.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from benchmarks.checkpoints import ensure_tiny
from benchmarks.engine.launch import Launcher, is_main, launched
from benchmarks.engine.together import together
from benchmarks.records import Record, Store
from benchmarks.run import Job
from benchmarks.suite import get
from tests.talk import Talk

ROOT = Path(__file__).parents[2]


@HOOKS.register_module()
class TellLosses(Hook):
    """Writes every reported number of every iteration, as averaged over the processes."""

    priority = "VERY_HIGH"

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if is_main():
            with self.path.open("a") as stream:
                stream.write(json.dumps({name: float(value) for name, value in outputs.items()}) + "\n")


def telling(config: Callable[..., Any]) -> Callable[..., Any]:
    """A plan's ``config`` with the hook above."""

    def told(plan: Any, folder: Path, state: Path) -> Any:
        made = config(plan, folder, state)
        made.custom_hooks.append({"type": "TellLosses", "path": str(folder.parents[1] / "losses.jsonl")})
        return made

    return told


def main() -> None:
    """Run all of them."""
    from benchmarks.dense.detection import DetectionPlan
    from benchmarks.dense.segmentation import SegmentationPlan

    data, out, runs = sys.argv[1:]
    for kind in (DetectionPlan, SegmentationPlan):
        setattr(kind, "config", telling(kind.config))  # noqa: B010 (mypy knows the method)
    launcher: Launcher = "pytorch" if launched() else "none"
    with together(launcher, "cpu") as device:
        for folder, (name, *overrides) in json.loads(runs).items():
            job = Job(get(name), ensure_tiny(), Path(data), device=device, quick=True, pictures=2,
                      overrides=tuple(overrides), launcher=launcher)  # fmt: skip
            Talk().session(Path(out) / folder).run(job)


def run(data: Path, out: Path, processes: int, runs: Mapping[str, Sequence[str]]) -> None:
    """Do the runs in a launch of so many processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(torchrun if processes > 1 else []), "-m", "tests.dense.several"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command += [str(data), str(out), json.dumps(runs)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def result(out: Path) -> tuple[Record, list[dict[str, float]]]:
    """The record of a run, and what each of its iterations reported."""
    (record,) = Store(out).load_all()
    return record, [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]


if __name__ == "__main__":
    main()
