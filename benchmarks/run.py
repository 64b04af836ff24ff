"""One benchmark × one checkpoint → one record: skip, take up, overwrite."""

import importlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol

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

    from benchmarks.checkpoints import CheckpointInfo as LoadedInfo
    from benchmarks.checkpoints import LoadReport
    from benchmarks.engine.launch import Launcher

Existing = Literal["skip", "resume", "overwrite"]
Say = Callable[[str], None]
Report = Callable[[int, int], None]
Working = Callable[[str], AbstractContextManager[Report]]
"""Shows the progress of what is named; yields the function to report (done, total) to."""

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
        text_heads: the same of the text tower.
        quick_gelu: the activation of both towers, where the file cannot tell.
        seed: decides initialisation of heads, order and augmentation of samples.
        device: ``"auto"``, ``"cpu"`` or a CUDA device.
        limit: score only the first so many samples.
        quick: the config's small variant.
        pictures: how many pictures to save.
        prompts: the user's own class names or templates, a file.
        overrides: ``field=value`` texts.
        launcher: how this process was started; it has joined the others already (``benchmarks.engine.together``).
    """

    benchmark: Benchmark
    checkpoint: Path
    data_root: Path
    row: str | None = None
    tower: str | None = None
    image_heads: int | None = None
    text_heads: int | None = None
    quick_gelu: bool | None = None
    seed: int = 0
    device: str = "auto"
    limit: int | None = None
    quick: bool = False
    pictures: int = 0
    prompts: Path | None = None
    overrides: tuple[str, ...] = ()
    launcher: "Launcher" = "none"

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
    operators: Literal["compiled", "torchvision"] | None
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
    official: int
    expected: int

    def execute(self, folder: Path, state: Path, working: Working) -> Outcome | None:
        """Train and score; on several processes only the main one has the outcome.

        Args:
            folder: the run's folder: logs and pictures go there.
            state: what an interrupted run needs to be taken up; what lies there is taken up. It is removed when the
                record is written.
            working: shows the progress of long work.
        """


@dataclass
class Session:
    """Runs jobs against one store.

    The processes of one launch each have a session. What trains they do together, everything else the main process
    does alone; it alone holds locks, writes records and has something to say.

    Attributes:
        store: where records go.
        existing: what to do with a run that is there already.
        say: called with one line for the user.
        working: shows the progress of long work.
        command: the command line, for the record.
    """

    store: Store
    existing: Existing
    say: Say
    working: Working
    command: list[str] = field(default_factory=lambda: list(sys.argv))

    def run(self, job: Job) -> Record | None:
        """Do ``job`` and store its record; None when the run is there and is to be left alone, or another process's.

        Raises:
            BenchError: checkpoint, data or options are not usable, or another process works on the same run.
        """
        from benchmarks.engine.launch import count_processes, from_main, is_main
        from benchmarks.engine.together import main_first, none_goes_on_alone

        several = count_processes() > 1 and trains(job.benchmark)
        if not (several or is_main()):
            return None
        with self.working(f"checking {job.benchmark.dataset}") as progress:
            plan = main_first(lambda: self._plan(job, progress)) if several else self._plan(job, progress)
        status = status_of(
            sample=plan.is_sample,
            quick=job.quick,
            limited=job.limit is not None or (plan.complete and plan.expected < plan.official),
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
        with exclusive(self.store.folder(run_id)) if is_main() else nullcontext():
            done = is_main() and self._leave_alone(run_id, job)
            if from_main(done) if several else done:
                return None
            with none_goes_on_alone(several):
                return self._execute(job, plan, run_id, status)

    def _plan(self, job: Job, progress: Report) -> Plan:
        self.store.require_writable()
        return plan_job(job, progress)

    def prepare(self, jobs: Sequence[Job]) -> None:
        """Do for several jobs at once what each of them would else do by itself; :meth:`run` then finds it done.

        Raises:
            BenchError: checkpoint, data or options are not usable.
        """
        from benchmarks.engine.launch import is_main

        kinds: dict[str, list[Job]] = {}
        for job in jobs if is_main() else ():
            if job.benchmark.together:
                kinds.setdefault(job.benchmark.together, []).append(job)
        for function, its in kinds.items():
            if len(its) > 1:
                _named(function)(its, self.working)

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

    def _execute(self, job: Job, plan: Plan, run_id: str, status: Status) -> Record | None:
        folder = self.store.folder(run_id)
        state = folder / STATE
        self.say(f"{run_id}: writing to {folder}")
        started, clock = datetime.now(UTC), time.monotonic()
        outcome = plan.execute(folder, state, self.working)
        if outcome is None:
            return None
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
            counts=Counts(official=plan.official, expected=plan.expected, scored=len(outcome.samples)),
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
        if state.exists():
            remove_folder(state)
        return record


def checkpoint_info(info: "LoadedInfo", report: "LoadReport", row: str | None) -> CheckpointInfo:
    """A loaded checkpoint as records name it; ``row`` is what the user said it stands for."""
    return CheckpointInfo(
        name=info.name,
        path=str(info.path),
        sha256=info.sha256,
        family=info.family,
        load_report=report.to_dict() | {"notes": list(info.notes)},
        row=row or info.row,
        training=dict(info.training) if info.training is not None else None,
    )


def default_fingerprints() -> dict[str, str]:
    """For each benchmark the fingerprint of its shipped protocol: what a run must have to stand in a table."""
    return {benchmark.id: fingerprint(default_protocol(benchmark)) for benchmark in BENCHMARKS}


def default_protocol(benchmark: Benchmark) -> dict[str, Any]:
    """The shipped protocol of ``benchmark``, as the records of unchanged full runs carry it."""
    protocol: dict[str, Any] = _named(benchmark.default)(benchmark)
    return protocol


def _named(function: str) -> Callable[..., Any]:
    """The function that the suite names as ``module:function``."""
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def plan_job(job: Job, progress: Report | None = None) -> Plan:
    """The plan of ``job``, made by the benchmark's runner; ``progress`` follows the checking of its data."""
    plan: Plan = _runner(job.benchmark).plan(job, progress)
    return plan


def trains(benchmark: Benchmark) -> bool:
    """Whether all processes of a launch run ``benchmark`` together; the main one runs the others alone."""
    return getattr(_runner(benchmark), "TRAINS", False)


@contextmanager
def silently(what: str) -> Iterator[Report]:
    """The progress of the other processes: they do as much in the same time as the main one, which shows its own."""
    yield lambda done, total: None


def _runner(benchmark: Benchmark) -> ModuleType:
    """The module that runs ``benchmark``: it has ``plan(job, progress)``, and ``TRAINS = True`` if it trains."""
    return importlib.import_module(benchmark.runner)
