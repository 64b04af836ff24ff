"""The ``bench`` command. Nothing below this file knows that there is a command line.

Only what a command needs is imported, inside the command: help and list must answer at once.
"""

import errno
import sys
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from benchmarks.commands import cache, checkpoint, data, results
from benchmarks.commands.compare import compare
from benchmarks.commands.options import (
    DataOption,
    DeviceOption,
    ExistingOption,
    LauncherOption,
    NprocOption,
    OutOption,
    SeedOption,
    console,
    messages,
    say,
)
from benchmarks.commands.report import report
from benchmarks.commands.run import require_usable, run, run_each
from benchmarks.commands.table import show_tables, table
from benchmarks.errors import BenchError, OptionError

if TYPE_CHECKING:
    from pretrain.training import PretrainJob

app = typer.Typer(
    help="A checkpoint goes in, the cells of the DetailCLIP paper's tables come out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(checkpoint.app, name="checkpoint")
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")
app.add_typer(results.app, name="results")


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


for command in (run, table, compare, report):
    app.command()(command)


@app.command()
def demo(
    out: OutOption = Path("results/demo"),
    full: Annotated[
        bool,
        typer.Option("--full", help="Five checkpoints: a random one, CLIP and DetailCLIP with two seeds; compared."),
    ] = False,
) -> None:
    """The whole way on embedded data: pretrain a tiny DetailCLIP, evaluate it, records, Tables 1 to 3, a page to open.

    With --full it is trained to its end, beside a CLIP, both with two seeds, and they are compared.
    """
    from benchmarks.checkpoints import ensure_tiny
    from benchmarks.data.sample import ensure
    from pretrain.training import pretrain as train

    data_root = ensure()
    say(f"data: {data_root} (generated)")
    checkpoints: list[tuple[Path, str | None]] = [(ensure_tiny(), None)] if full else []
    for row, job in _trainings(data_root, out, full):
        train(job, "resume", say)
        checkpoints.append((job.folder / "checkpoint.safetensors", row))
    unusable = [benchmark for path, row in checkpoints for benchmark in _demonstrate(path, row, data_root, out)]
    show_tables((1, 2, 3), out)
    report(out, compared=["CLIP-tiny", "DetailCLIP-tiny"] if full else None)
    if full:
        compare(["CLIP-tiny", "DetailCLIP-tiny"], out)
    require_usable(list(dict.fromkeys(unusable)))


def _trainings(data_root: Path, out: Path, full: bool) -> Iterator[tuple[str | None, "PretrainJob"]]:
    """What the demo pretrains, and the row by which the seeds of a method are known as such."""
    from pretrain.training import PretrainJob

    if not full:
        fewer = ("training.epochs=4",)  # of the config's six passes: the demo shall end within minutes
        yield None, PretrainJob("detailclip_tiny_sample", data_root, out / "detailclip-tiny", overrides=fewer)
        return
    for method, seed in product(("CLIP", "DetailCLIP"), (0, 1)):
        name = method.lower()
        yield f"{method}-tiny", PretrainJob(f"{name}_tiny_sample", data_root, out / f"{name}-tiny-seed{seed}", seed)


def _demonstrate(checkpoint: Path, row: str | None, data_root: Path, out: Path) -> list[str]:
    """Run what fills Tables 1 to 3 with quick settings; the ids of what could not run for its data."""
    from benchmarks.run import Job
    from benchmarks.selection import select

    chosen = select(["table1", "ade20k-linear-finetune", "table2", "table3"], checkpoint, None, data_root, [], say)
    jobs = [
        Job(benchmark, checkpoint, data_root, row, quick=True, pictures=4 if "--pictures" in benchmark.takes else 0)
        for benchmark in chosen
    ]
    return run_each(jobs, out, "resume")


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
    if must_relaunch(launcher, nproc):
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
