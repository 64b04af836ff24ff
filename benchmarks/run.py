"""One benchmark × one checkpoint → one record: skip, take up, overwrite."""

import importlib
import re
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from benchmarks.engine.protocol import load_protocol
from benchmarks.errors import OptionError
from benchmarks.files import exclusive, remove_folder
from benchmarks.records import (
    CheckpointInfo,
    Counts,
    DataInfo,
    Metric,
    Record,
    Status,
    Store,
    environment,
    fingerprint,
    make_run_id,
    status_of,
)
from benchmarks.suite import BENCHMARKS, Benchmark

if TYPE_CHECKING:
    import pandas as pd

Existing = Literal["skip", "resume", "overwrite"]
Say = Callable[[str], None]
Report = Callable[[int, int], None]

STATE = "state"
"""The folder, inside a run's, that an unfinished run is taken up from."""


@dataclass(frozen=True)
class Job:
    """What the user asked for: one benchmark, one checkpoint, and how.

    Attributes:
        benchmark: the benchmark.
        checkpoint: path of the checkpoint file or exported folder.
        data_root: the folder that holds one folder a data set.
        row: the row of the paper the checkpoint stands for (``METHOD[@EPOCHS]``), if told.
        tower: ``"ema"``, ``"online"`` or None for the family's default.
        image_heads: attention heads of the image tower, where the file cannot tell.
        seed: decides initialisation of heads, order and augmentation of samples.
        device: ``"auto"``, ``"cpu"`` or a CUDA device.
        limit: score only the first so many samples.
        quick: the config's small variant.
        pictures: how many pictures to save.
        overrides: ``field=value`` texts.
    """

    benchmark: Benchmark
    checkpoint: Path
    data_root: Path
    row: str | None = None
    tower: str | None = None
    image_heads: int | None = None
    seed: int = 0
    device: str = "auto"
    limit: int | None = None
    quick: bool = False
    pictures: int = 0
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a row that no table could hold.

        Raises:
            OptionError: it is not of the form METHOD[@EPOCHS].
        """
        if self.row is not None and not re.fullmatch(r"[^@]+(@\d+)?", self.row):
            raise OptionError(f"--row {self.row}: write it as METHOD or METHOD@EPOCHS, e.g. SLIP@25")


@dataclass(frozen=True)
class Outcome:
    """What a finished run found."""

    metrics: dict[str, Metric]
    per_class: dict[str, dict[str, float | None]]
    samples: "pd.DataFrame"
    resumed: bool
    norm_layer: str | None
    operators: Literal["compiled", "torchvision"]
    precision: Literal["fp32", "fp16", "bf16"]
    device: str
    threads: int
    peak_memory: int


class Plan(Protocol):
    """A job that has been checked against checkpoint, data and options, and can be executed.

    Everything that makes up the run's identity is known before any training begins.
    """

    checkpoint: CheckpointInfo
    protocol: dict[str, Any]
    model_protocol: dict[str, Any]
    data: DataInfo
    is_sample: bool
    complete: bool
    expected: int

    def execute(self, folder: Path, state: Path) -> Outcome:
        """Train and score.

        Args:
            folder: the run's folder: logs and pictures go there.
            state: what an interrupted run needs to be taken up; what lies there is taken up. It is removed when the
                record is written.
        """


@dataclass
class Session:
    """Runs jobs against one store.

    Attributes:
        store: where records go.
        existing: what to do with a run that is there already.
        say: called with one line for the user.
        reading: shows the progress of checking a data set; yields the function to report (done, total) to.
        command: the command line, for the record.
    """

    store: Store
    existing: Existing
    say: Say
    reading: Callable[[str], AbstractContextManager[Report]]
    command: list[str] = field(default_factory=lambda: list(sys.argv))

    def run(self, job: Job) -> Record | None:
        """Do ``job`` and store its record; None when the run is there and is to be left alone.

        Raises:
            BenchError: checkpoint, data or options are not usable, or another process works on the same run.
        """
        self.store.require_writable()
        with self.reading(job.benchmark.dataset) as progress:
            plan, official = plan_job(job, progress), job.benchmark.official_size
        assert official is not None, f"{job.benchmark.id} has no official size"
        status = status_of(
            sample=plan.is_sample,
            quick=job.quick,
            limit=job.limit,
            complete=plan.complete,
        )
        run_id = make_run_id(
            benchmark=job.benchmark.id,
            checkpoint_name=plan.checkpoint.name,
            checkpoint_sha256=plan.checkpoint.sha256,
            tower=plan.model_protocol["tower"],
            protocol_fingerprint=fingerprint(plan.protocol),
            data_fingerprint=plan.data.fingerprint,
            seed=job.seed,
            status=status,
            expected=plan.expected,
            model_protocol=plan.model_protocol,
        )
        folder = self.store.folder(run_id)
        with exclusive(folder):
            if self._leave_alone(run_id, job):
                return None
            return self._execute(job, plan, run_id, status, official)

    def _leave_alone(self, run_id: str, job: Job) -> bool:
        """Whether the run is there already and stays; says what is done about it.

        A record beside a state is that of an earlier run whose overwriting was interrupted, or was interrupted itself
        just before its state was removed: the state is taken up.
        """
        state, finished = self.store.folder(run_id) / STATE, self.store.has(run_id)
        if self.existing == "overwrite":
            if state.exists():
                remove_folder(state)
            return False
        if self.existing == "skip" and state.exists():
            self.say(f"{run_id}: begun but not finished, left alone (--existing resume takes it up)")
            return True
        if not finished or state.exists():
            return False
        self.say(f"{run_id}: already done (--existing overwrite does it anew, with pictures if asked for)")
        if job.row is not None and job.row != self.store.read(run_id).checkpoint.row:
            self.store.relabel(run_id, job.row)
            self.say(f"{run_id}: now stands for {job.row}")
        return True

    def _execute(self, job: Job, plan: Plan, run_id: str, status: Status, official: int) -> Record:
        folder = self.store.folder(run_id)
        state = folder / STATE
        self.say(f"{run_id}: writing to {folder}")
        started, clock = datetime.now(UTC), time.monotonic()
        outcome = plan.execute(folder, state)
        record = Record(
            run_id=run_id,
            benchmark=job.benchmark.id,
            status=status,
            run_state="resumed" if outcome.resumed else "uninterrupted",
            checkpoint=plan.checkpoint,
            protocol=plan.protocol,
            protocol_fingerprint=fingerprint(plan.protocol),
            model_protocol=plan.model_protocol,
            metrics=outcome.metrics,
            per_class=outcome.per_class,
            counts=Counts(official=official, expected=plan.expected, scored=len(outcome.samples)),
            data=plan.data,
            seed=job.seed,
            norm_layer=outcome.norm_layer,
            operators=outcome.operators,
            precision=outcome.precision,
            environment=environment(device=outcome.device, threads=outcome.threads),
            command=self.command,
            started=started,
            wall_seconds=time.monotonic() - clock,
            peak_memory=outcome.peak_memory,
        )
        self.store.write(record, outcome.samples)
        remove_folder(state)
        return record


def default_fingerprints() -> dict[str, str]:
    """For each built benchmark the fingerprint of its shipped protocol: what a run must have to stand in a table."""
    return {benchmark.id: fingerprint(default_protocol(benchmark)) for benchmark in BENCHMARKS if benchmark.built}


def default_protocol(benchmark: Benchmark) -> dict[str, Any]:
    """The shipped protocol of ``benchmark``, as the records of unchanged full runs carry it."""
    assert benchmark.config is not None, f"{benchmark.id} has no config"
    assert benchmark.fields is not None, f"{benchmark.id} has no fields"
    module, _, name = benchmark.fields.partition(":")
    fields = load_protocol(benchmark.config, getattr(importlib.import_module(module), name))
    protocol: dict[str, Any] = fields.protocol()
    return protocol


def plan_job(job: Job, progress: Report | None = None) -> Plan:
    """The plan of ``job``, made by the benchmark's runner; ``progress`` follows the checking of its data."""
    plan: Plan = _runner(job.benchmark).plan(job, progress)
    return plan


def _runner(benchmark: Benchmark) -> ModuleType:
    """The module that runs ``benchmark``: it has ``plan(job, progress)``."""
    assert benchmark.runner is not None, f"{benchmark.id} has no runner"
    return importlib.import_module(benchmark.runner)
