"""Runs of dense benchmarks that several processes do together; they write down what they did."""

import json
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
from tests.processes import finish, run_together, start
from tests.talk import Talk


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


def run_all(data: Path, out: Path, runs: Mapping[str, Sequence[str]]) -> None:
    """For each folder within ``out`` a benchmark and its overrides."""
    from benchmarks.dense.detection import DetectionPlan
    from benchmarks.dense.segmentation import SegmentationPlan

    for kind in (DetectionPlan, SegmentationPlan):
        setattr(kind, "config", telling(kind.config))  # noqa: B010 (mypy knows the method)
    launcher: Launcher = "pytorch" if launched() else "none"
    with together(launcher, "cpu") as device:
        for folder, (name, *overrides) in runs.items():
            job = Job(get(name), ensure_tiny(), data, device=device, quick=True, pictures=2,
                      overrides=tuple(overrides), launcher=launcher)  # fmt: skip
            Talk().session(out / folder).run(job)


def run(data: Path, out: Path, processes: int, runs: Mapping[str, Sequence[str]]) -> None:
    """Do the runs in so many processes."""
    if processes > 1:
        run_together(processes, run_all, data, out, runs)
    else:
        finish(start(run_all, data, out, runs))


def result(out: Path) -> tuple[Record, list[dict[str, float]]]:
    """The record of a run, and what each of its iterations reported."""
    (record,) = Store(out).load_all()
    return record, [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
