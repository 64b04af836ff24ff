"""`bench run`: what was asked for, as jobs; in this process, or with the others of a launch."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.commands.options import (
    DataOption,
    DeviceOption,
    ExistingOption,
    ImageHeadsOption,
    LauncherOption,
    NprocOption,
    OutOption,
    QuickGeluOption,
    SeedOption,
    TextHeadsOption,
    TowerOption,
    console,
    say,
)
from benchmarks.commands.table import show_tables
from benchmarks.errors import DataError

if TYPE_CHECKING:
    from benchmarks.engine.launch import Launcher
    from benchmarks.run import Existing, Job, Say
    from benchmarks.suite import Benchmark


def run(
    benchmarks: Annotated[list[str], typer.Argument(help="Benchmarks or groups; see `bench list`.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="File, exported folder, or name (`bench list --checkpoints`). Default: a tiny random one."),
    ] = None,
    row: Annotated[
        str | None, typer.Option(help="Row of the paper it stands for: METHOD[@EPOCHS], e.g. SLIP@25.")
    ] = None,
    tower: TowerOption = None,
    image_heads: ImageHeadsOption = None,
    text_heads: TextHeadsOption = None,
    quick_gelu: QuickGeluOption = None,
    data_root: DataOption = None,
    out: OutOption = Path("results"),
    limit: Annotated[int | None, typer.Option(min=1, help="Score only the first N samples.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small and short: does it run at all?")] = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    existing: ExistingOption = "resume",
    pictures: Annotated[
        int, typer.Option(min=0, help="Save this many pictures; of retrieval, those that this many queries need.")
    ] = 0,
    prompts: Annotated[
        Path | None, typer.Option(help="Your own class names or templates, a JSON file (docs/prompts.md).")
    ] = None,
    launcher: LauncherOption = "none",
    nproc: NprocOption = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Run nothing: say what it would take (docs/estimates.md).")
    ] = False,
    override: Annotated[
        list[str] | None, typer.Option("-o", metavar="FIELD=VALUE", help="Override a protocol field.")
    ] = None,
) -> None:
    """Run benchmarks on a checkpoint and record what they find; groups end with the tables they belong to.

    Without --data-root a small generated sample is used, without --checkpoint a tiny random one; such runs show that
    the chain works and say nothing about a method.
    """
    asked = Request(
        names=tuple(benchmarks),
        checkpoint=checkpoint,
        row=row,
        tower=tower,
        image_heads=image_heads,
        text_heads=text_heads,
        quick_gelu=quick_gelu,
        data_root=data_root,
        out=out,
        limit=limit,
        quick=quick,
        seed=seed,
        device=device,
        existing=existing,
        pictures=pictures,
        prompts=prompts,
        launcher=launcher,
        overrides=tuple(override or ()),
    )
    if estimate:
        _show_estimates(asked, nproc or 1)
        return
    unusable = _launch(asked, nproc)
    show_tables(asked.tables if unusable is not None else (), out)
    require_usable(unusable or [])


@dataclass(frozen=True)
class Request:
    """The options of a call; the help of `bench run` says what they mean."""

    names: tuple[str, ...]
    checkpoint: Path | None
    row: str | None
    tower: str | None
    image_heads: int | None
    text_heads: int | None
    quick_gelu: bool | None
    data_root: Path | None
    out: Path
    limit: int | None
    quick: bool
    seed: int
    device: str
    existing: "Existing"
    pictures: int
    prompts: Path | None
    launcher: "Launcher"
    overrides: tuple[str, ...]

    @property
    def by_name(self) -> frozenset[str]:
        """The benchmarks that were asked for by their own names."""
        from benchmarks.suite import asked_by_name

        return asked_by_name(self.names)

    @property
    def tables(self) -> tuple[int, ...]:
        """The tables of the paper to which the groups belong that were asked for."""
        from benchmarks.suite import resolve

        groups = [name for name in self.names if name not in self.by_name]
        return tuple(sorted({cell.table for benchmark in resolve(groups) for cell in benchmark.tables}))

    def checkpoint_path(self, say: "Say") -> Path:
        """The file to evaluate, fetched if it is a published one."""
        from benchmarks.checkpoints import ensure_tiny, resolve
        from benchmarks.display import bytes_progress

        if self.checkpoint is None:
            say(f"no --checkpoint: taking the embedded tiny random one ({ensure_tiny()})")
        return resolve(self.checkpoint or ensure_tiny(), say, bytes_progress)

    def jobs(self, device: str, say: "Say") -> list["Job"]:
        """What is to be done, by this process on its own device; ``say`` tells what was chosen for the user.

        Raises:
            BenchError: something that was asked for cannot be had.
        """
        from benchmarks.data.sample import ensure
        from benchmarks.records import Store
        from benchmarks.selection import select
        from benchmarks.suite import resolve

        resolve(self.names)  # an unknown name is refused before anything is fetched or made
        Store(self.out).require_writable()
        checkpoint, data_root, quick = self.checkpoint_path(say), self.data_root, self.quick
        if data_root is None:
            data_root, quick = ensure(), True
            say(f"no --data-root: taking the generated sample data ({data_root}), quick settings")
        given = {
            "--pictures": bool(self.pictures),
            "--prompts": self.prompts is not None,
            "--launcher": self.launcher != "none",
            "--seed": bool(self.seed),
        }
        options = [option for option, told in given.items() if told]
        chosen = select(self.names, checkpoint, self.tower, data_root, options, say)
        return self.jobs_of(chosen, checkpoint, data_root, device, quick)

    def jobs_of(
        self, chosen: Sequence["Benchmark"], checkpoint: Path, data_root: Path, device: str, quick: bool
    ) -> list["Job"]:
        """A job for each of some benchmarks."""
        from benchmarks.run import Job
        from benchmarks.selection import overrides_of

        overrides = overrides_of(chosen, self.overrides, self.by_name)
        return [
            Job(
                benchmark=benchmark,
                checkpoint=checkpoint,
                data_root=data_root,
                row=self.row,
                tower=self.tower,
                image_heads=self.image_heads,
                text_heads=self.text_heads,
                quick_gelu=self.quick_gelu,
                seed=self.seed if "--seed" in benchmark.takes else 0,
                device=device,
                limit=self.limit,
                quick=quick,
                pictures=self.pictures,
                prompts=self.prompts if "--prompts" in benchmark.takes else None,
                overrides=overrides[benchmark.id],
                launcher=self.launcher,
            )
            for benchmark in chosen
        ]


def _show_estimates(asked: Request, processes: int) -> None:
    """What each benchmark would take; no data need be there."""
    from benchmarks.estimate import estimate_all, show
    from benchmarks.suite import resolve

    data_root = asked.data_root or Path()
    jobs = asked.jobs_of(resolve(asked.names), asked.checkpoint_path(say), data_root, asked.device, asked.quick)
    console.print(show(estimate_all(jobs, asked.by_name, processes, say)), highlight=False)


def _launch(asked: Request, processes: int | None) -> list[str] | None:
    """Run jobs in this process, or with the others of its launch: first what trains, together, then what encodes.

    Args:
        asked: what to run.
        processes: how many of them to start, if told.

    Returns:
        What could not run for its data, on the main process; None on the others.
    """
    from benchmarks.display import working_progress
    from benchmarks.engine.launch import check_launcher, default_processes, is_main, must_relaunch, relaunch
    from benchmarks.engine.together import main_first, together
    from benchmarks.run import trains

    def run_jobs(jobs: list["Job"]) -> list[str]:
        return run_each(jobs, asked.out, asked.existing, asked.by_name)

    check_launcher(asked.launcher, processes)
    if must_relaunch(asked.launcher, processes):
        relaunch(sys.argv[1:], processes or default_processes())
    if asked.launcher == "none":
        return run_jobs(asked.jobs(asked.device, say))
    with together(asked.launcher, asked.device) as own:
        main = is_main()
        jobs = main_first(lambda: asked.jobs(own, say if main else _say_nothing))
        alone = [job for job in jobs if not trains(job.benchmark)]
        unusable = run_jobs([job for job in jobs if trains(job.benchmark)])
        encoding = [job for job in alone if "--launcher" in job.benchmark.takes]
        if encoding:
            from benchmarks.zeroshot.share import encode_shares

            encode_shares(encoding, asked.launcher, working_progress)
    return unusable + run_jobs(alone) if main else None


def _say_nothing(line: str) -> None:
    """What the other processes have to say."""


def run_each(jobs: list["Job"], out: Path, existing: "Existing", by_name: frozenset[str] = frozenset()) -> list[str]:
    """Run ``jobs`` one after the other and print each result as it comes.

    Damaged data of one that only a group asked for does not keep the others from running.

    Returns:
        The ids of those that could not run for their data.

    Raises:
        BenchError: a job cannot run.
    """
    from benchmarks.display import result_line, working_progress
    from benchmarks.engine.launch import is_main
    from benchmarks.records import Store
    from benchmarks.run import Session, silently

    tell, working = (say, working_progress) if is_main() else (_say_nothing, silently)
    session = Session(Store(out), existing, tell, working)
    session.prepare(jobs)
    unusable = []
    for job in jobs:
        try:
            record = session.run(job)
        except DataError as error:
            if job.benchmark.id in by_name or len(jobs) == 1:
                raise
            tell(f"{job.benchmark.id}: {error}; skipped")
            unusable.append(job.benchmark.id)
            continue
        if record is not None:
            console.print(result_line(record), highlight=False, soft_wrap=True)
    return unusable


def require_usable(unusable: list[str]) -> None:
    """Refuse to end as if all had run.

    Raises:
        DataError: something could not run for its data.
    """
    if unusable:
        raise DataError(f"{', '.join(unusable)}: could not run for their data; the lines above say why")
