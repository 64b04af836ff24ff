"""The ``bench`` command. Nothing below this file knows that there is a command line.

Only what a command needs is imported, inside the command: help and list must answer at once.
"""

import errno
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from benchmarks.commands import cache, checkpoint, data
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
    messages,
    say,
)
from benchmarks.errors import BenchError, DataError, OptionError

if TYPE_CHECKING:
    from benchmarks.engine.launch import Launcher
    from benchmarks.records import Record
    from benchmarks.run import Existing, Job

app = typer.Typer(
    help="A checkpoint goes in, the cells of the DetailCLIP paper's tables come out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(checkpoint.app, name="checkpoint")
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")


@app.command(name="list")
def list_suite(
    data_root: DataOption = None,
    checkpoints: Annotated[
        bool,
        typer.Option("--checkpoints", help="Show the published checkpoints instead: which rows can be reproduced."),
    ] = False,
) -> None:
    """Show the whole suite: what each benchmark fills, and whether its data is there."""
    from benchmarks.display import published_table, suite_table

    console.print(published_table() if checkpoints else suite_table(data_root))


@app.command()
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
    pictures: Annotated[int, typer.Option(min=0, help="Save this many pictures.")] = 0,
    prompts: Annotated[
        Path | None, typer.Option(help="Your own class names or templates, a JSON file (docs/prompts.md).")
    ] = None,
    launcher: LauncherOption = "none",
    nproc: NprocOption = None,
    override: Annotated[
        list[str] | None, typer.Option("-o", metavar="FIELD=VALUE", help="Override a protocol field.")
    ] = None,
) -> None:
    """Run benchmarks on a checkpoint and record what they find.

    Without --data-root a small generated sample is used, without --checkpoint a tiny random one; such runs show that
    the chain works and say nothing about a method.
    """
    from benchmarks.checkpoints import ensure_tiny, resolve
    from benchmarks.data.sample import ensure
    from benchmarks.display import bytes_progress
    from benchmarks.records import Store
    from benchmarks.run import Job
    from benchmarks.selection import overrides_of, select
    from benchmarks.suite import asked_by_name

    Store(out).require_writable()  # before anything is fetched or made
    if checkpoint is None:
        checkpoint = ensure_tiny()
        say(f"no --checkpoint: taking the embedded tiny random one ({checkpoint})")
    checkpoint = resolve(checkpoint, say, bytes_progress)
    if data_root is None:
        data_root, quick = ensure(), True
        say(f"no --data-root: taking the generated sample data ({data_root}), quick settings")
    given = {
        "--pictures": bool(pictures),
        "--prompts": prompts is not None,
        "--launcher": launcher != "none",
        "--seed": bool(seed),
    }
    chosen = select(benchmarks, checkpoint, tower, data_root, [option for option, told in given.items() if told], say)
    overrides = overrides_of(chosen, override or [], asked_by_name(benchmarks))
    jobs = [
        Job(
            benchmark=benchmark,
            checkpoint=checkpoint,
            data_root=data_root,
            row=row,
            tower=tower,
            image_heads=image_heads,
            text_heads=text_heads,
            quick_gelu=quick_gelu,
            seed=seed if "--seed" in benchmark.takes else 0,
            device=device,
            limit=limit,
            quick=quick,
            pictures=pictures,
            prompts=prompts if "--prompts" in benchmark.takes else None,
            overrides=overrides[benchmark.id],
        )
        for benchmark in chosen
    ]
    if _is_main_of(jobs, launcher, nproc):
        _run_jobs(jobs, out, existing, asked_by_name(benchmarks))


def _is_main_of(jobs: list["Job"], launcher: "Launcher", nproc: int | None) -> bool:
    """Let several processes encode, where that was asked for; whether this one goes on to score."""
    from benchmarks.display import working_progress
    from benchmarks.engine.launch import check_launcher, default_processes, must_relaunch, relaunch

    check_launcher(launcher, nproc)
    if must_relaunch(launcher):
        relaunch(sys.argv[1:], nproc or default_processes())
    if launcher == "none":
        return True
    from benchmarks.zeroshot.share import encode_shares

    return encode_shares([job for job in jobs if "--launcher" in job.benchmark.takes], launcher, working_progress)


def _run_jobs(
    jobs: list["Job"], out: Path, existing: "Existing", by_name: frozenset[str] = frozenset()
) -> list["Record"]:
    """Run ``jobs`` one after the other and print each result as it comes.

    Damaged data of one that only a group asked for does not keep the others from running.

    Raises:
        BenchError: a job cannot run; if only data of a group's jobs are damaged, after all others were run.
    """
    from benchmarks.display import result_line, working_progress
    from benchmarks.records import Store
    from benchmarks.run import Session

    session = Session(Store(out), existing, say, working_progress)
    session.prepare(jobs)
    records, unusable = [], []
    for job in jobs:
        try:
            record = session.run(job)
        except DataError as error:
            if job.benchmark.id in by_name or len(jobs) == 1:
                raise
            say(f"{job.benchmark.id}: {error}; skipped")
            unusable.append(job.benchmark.id)
            continue
        if record is not None:
            records.append(record)
            console.print(result_line(record), highlight=False, soft_wrap=True)
    if unusable:
        raise DataError(f"{', '.join(unusable)}: could not run for their data; the lines above say why")
    return records


@app.command()
def table(
    number: Annotated[int, typer.Argument(min=1, max=4, help="Table of the paper, 1 to 4.")],
    out: OutOption = Path("results"),
    form: Annotated[Literal["text", "markdown", "csv"], typer.Option("--format", help="How it is written.")] = "text",
) -> None:
    """Print a table of the paper with our numbers beside its own."""
    from benchmarks.records import Store
    from benchmarks.run import default_fingerprints
    from benchmarks.tables import build, render

    records = Store(out).load_all()
    sys.stdout.write(render(build(number, records, default_fingerprints()), form) + "\n")


@app.command()
def demo(out: OutOption = Path("results/demo")) -> None:
    """The whole way on embedded data: pretrain a tiny DetailCLIP, evaluate it, records, Tables 1 to 3."""
    from benchmarks.data.sample import ensure
    from benchmarks.run import Job
    from benchmarks.selection import select
    from pretrain.training import PretrainJob
    from pretrain.training import pretrain as train

    data_root = ensure()
    say(f"data: {data_root} (generated)")
    fewer = ("training.epochs=4",)  # of the config's six passes: the demo shall end within minutes
    job = PretrainJob("detailclip_tiny_sample", data_root, out / "detailclip-tiny", overrides=fewer)
    train(job, "resume", say)
    checkpoint = job.folder / "checkpoint.safetensors"
    chosen = select(["table1", "ade20k-linear-finetune", "table2", "table3"], checkpoint, None, data_root, [], say)
    jobs = [
        Job(benchmark, checkpoint, data_root, quick=True, pictures=4 if "--pictures" in benchmark.takes else 0)
        for benchmark in chosen
    ]
    _run_jobs(jobs, out, "resume")
    for number in (1, 2, 3):
        table(number, out)


@app.command()
def pretrain(
    config: Annotated[str, typer.Argument(help="A config of mm_configs/pretrain, or a .py or .json file.")],
    data_root: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the run. Default: results/pretrained/CONFIG-seedN.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Where paper and released code differ: default, released or paper.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    existing: ExistingOption = "resume",
    launcher: LauncherOption = "none",
    nproc: NprocOption = None,
    masks: Annotated[
        int | None,
        typer.Option("--show-masks", min=1, help="Train nothing: draw what the student sees of N pairs to OUT/masks."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="With --show-masks: weights to draw with. Default: OUT's, else those a run begins with."),
    ] = None,
    override: Annotated[list[str] | None, typer.Option("-o", metavar="FIELD=VALUE", help="Override a field.")] = None,
) -> None:
    """Train a dual encoder from image-text pairs; it leaves a checkpoint that `bench run` can evaluate.

    Without --data-root the pairs of the generated sample are used.
    """
    from benchmarks.data.sample import ensure
    from benchmarks.engine.launch import check_launcher, default_processes, must_relaunch, relaunch
    from pretrain.training import PretrainJob, check
    from pretrain.training import pretrain as train

    check_launcher(launcher, nproc)
    if checkpoint and masks is None:
        raise OptionError("--checkpoint: belongs to --show-masks N; a training begins with random weights")
    overrides = (*([f"preset={preset}"] if preset else []), *(override or []))
    job = PretrainJob(config, data_root or ensure(), out, seed, device, launcher, overrides)
    if masks is not None:
        from pretrain.pictures import show_masks

        console.print(str(show_masks(job, checkpoint, masks, say)), highlight=False, soft_wrap=True)
        return
    if must_relaunch(launcher):
        processes = nproc or default_processes()
        check(job, processes)  # what is refused is refused once, and not by every process
        relaunch(sys.argv[1:], processes)
    train(job, existing, say)


def main() -> None:
    """Entry point: what the user can mend is one line on stderr and exit code 2; a bug keeps its traceback."""
    for category in (UserWarning, FutureWarning):
        warnings.filterwarnings("ignore", category=category, module=r"(mmcv|mmdet|mmengine|mmseg)\.")
    try:
        app()
    except BenchError as error:
        _stop(str(error))
    except (FileExistsError, NotADirectoryError) as error:
        _stop(f"{error.filename}: a file is in the way of a folder; name another")
    except PermissionError as error:
        _stop(f"{error.filename}: {error.strerror}; mend its permissions or name another")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        _stop(f"{error.filename or 'writing'}: {error.strerror}; free some space or name another folder")


def _stop(line: str) -> NoReturn:
    """End with one line on stderr and exit code 2."""
    messages.print(f"error: {line}", style="red", soft_wrap=True, markup=False)
    sys.exit(2)


if __name__ == "__main__":
    main()
