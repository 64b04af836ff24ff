"""The ``bench`` command. Nothing below this file knows that there is a command line.

Only what a command needs is imported, inside the command: help and list must answer at once.
"""

import errno
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from rich.console import Console

from benchmarks.errors import BenchError, OptionError

if TYPE_CHECKING:
    from benchmarks.records import Record
    from benchmarks.run import Existing, Job
    from benchmarks.suite import Benchmark

app = typer.Typer(
    help="A checkpoint goes in, the cells of the DetailCLIP paper's tables come out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
checkpoint_app = typer.Typer(help="Look into a checkpoint, or write it in another form.", no_args_is_help=True)
data_app = typer.Typer(help="The data sets: what is there, and the generated sample.", no_args_is_help=True)
app.add_typer(checkpoint_app, name="checkpoint")
app.add_typer(data_app, name="data")

# A pipe has no width of its own; tables must not be cut to the 80 columns that rich then assumes.
console = Console(width=None if sys.stdout.isatty() else 140)
messages = Console(stderr=True, highlight=False)


OutOption = Annotated[Path, typer.Option("--out", help="Results folder: runs go to OUT/runs.")]
DataOption = Annotated[
    Path | None,
    typer.Option("--data-root", envvar="BENCH_DATA_ROOT", help="Folder with one folder a data set."),
]
TowerOption = Annotated[
    str | None, typer.Option(help="Which weights: ema or online. Default: ema where the file has it.")
]
ImageHeadsOption = Annotated[
    int | None, typer.Option(min=1, help="Attention heads of the image tower, for unpublished sizes.")
]
TextHeadsOption = Annotated[
    int | None, typer.Option(min=1, help="Attention heads of the text tower, for unpublished sizes.")
]

SeedOption = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of initialisation, order and augmentation.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
ExistingOption = Annotated[
    Literal["skip", "resume", "overwrite"],
    typer.Option(help="A run that is there: resume takes it up, skip leaves it, overwrite begins anew."),
]
LauncherOption = Annotated[
    Literal["none", "pytorch", "slurm"],
    typer.Option(help="Several processes: pytorch starts --nproc of them or works under torchrun, slurm under srun."),
]
NprocOption = Annotated[int | None, typer.Option(min=1, help="Processes that --launcher pytorch starts here.")]


def say(line: str) -> None:
    """One line for the user, on stderr: stdout is for results."""
    messages.print(line, soft_wrap=True, markup=False)


@app.command(name="list")
def list_suite(data_root: DataOption = None) -> None:
    """Show the whole suite: what each benchmark fills, and whether its data is there."""
    from benchmarks.display import suite_table

    console.print(suite_table(data_root))


@app.command()
def run(
    benchmarks: Annotated[list[str], typer.Argument(help="Benchmarks or groups; see `bench list`.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint file or exported folder. Default: a tiny random one.")
    ] = None,
    row: Annotated[
        str | None, typer.Option(help="Row of the paper it stands for: METHOD[@EPOCHS], e.g. SLIP@25.")
    ] = None,
    tower: TowerOption = None,
    image_heads: ImageHeadsOption = None,
    data_root: DataOption = None,
    out: OutOption = Path("results"),
    limit: Annotated[int | None, typer.Option(min=1, help="Score only the first N samples.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small and short: does it run at all?")] = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    existing: ExistingOption = "resume",
    pictures: Annotated[int, typer.Option(min=0, help="Save this many pictures.")] = 0,
    override: Annotated[
        list[str] | None, typer.Option("-o", metavar="FIELD=VALUE", help="Override a protocol field.")
    ] = None,
) -> None:
    """Run benchmarks on a checkpoint and record what they find.

    Without --data-root a small generated sample is used, without --checkpoint a tiny random one; such runs show that
    the chain works and say nothing about a method.
    """
    from benchmarks.checkpoints import ensure_tiny
    from benchmarks.data.sample import ensure
    from benchmarks.run import Job

    chosen = _runnable(benchmarks)
    if checkpoint is None:
        checkpoint = ensure_tiny()
        say(f"no --checkpoint: taking the embedded tiny random one ({checkpoint})")
    if data_root is None:
        data_root, quick = ensure(), True
        say(f"no --data-root: taking the generated sample data ({data_root}), quick settings")
    jobs = [
        Job(
            benchmark=benchmark,
            checkpoint=checkpoint,
            data_root=data_root,
            row=row,
            tower=tower,
            image_heads=image_heads,
            seed=seed,
            device=device,
            limit=limit,
            quick=quick,
            pictures=pictures,
            overrides=tuple(override or ()),
        )
        for benchmark in chosen
    ]
    _run_jobs(jobs, out, existing)


def _runnable(names: list[str]) -> list["Benchmark"]:
    """The benchmarks to run: one asked for by name must be there, one of a group may be skipped, aloud.

    Raises:
        OptionError: an unknown name, or one that this release cannot run yet.
    """
    from benchmarks.suite import asked_by_name, resolve

    chosen, by_name = resolve(names), asked_by_name(names)
    for benchmark in chosen:
        if not benchmark.built:
            if benchmark.id in by_name:
                raise OptionError(f"{benchmark.id}: not built yet in this release; `bench list` shows what is")
            say(f"{benchmark.id}: not built yet in this release, skipped")
    return [benchmark for benchmark in chosen if benchmark.built]


def _run_jobs(jobs: list["Job"], out: Path, existing: "Existing") -> list["Record"]:
    """Run ``jobs`` one after the other and print each result as it comes."""
    from benchmarks.display import checking_progress, result_line
    from benchmarks.records import Store
    from benchmarks.run import Session

    session = Session(Store(out), existing, say, checking_progress)
    records = []
    for job in jobs:
        record = session.run(job)
        if record is not None:
            records.append(record)
            console.print(result_line(record), highlight=False, soft_wrap=True)
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
    """The whole way on embedded data: pretrain a tiny DetailCLIP, evaluate it, records, Table 1."""
    from benchmarks.checkpoints import load_checkpoint
    from benchmarks.data.sample import ensure, held_out_folder
    from benchmarks.display import predictions_line
    from benchmarks.run import Job
    from benchmarks.suite import get
    from benchmarks.zeroshot.classification import classify_folder
    from pretrain.training import PretrainJob
    from pretrain.training import pretrain as train

    data_root = ensure()
    say(f"data: {data_root} (generated)")
    half = ("training.epochs=4",)  # half of the config's passes: the demo shall end within minutes
    job = PretrainJob("detailclip_tiny_sample", data_root, out / "detailclip-tiny", overrides=half)
    train(job, "resume", say)
    checkpoint = job.folder / "checkpoint.safetensors"
    found = classify_folder(
        load_checkpoint(checkpoint), held_out_folder(data_root), ("a photo of a {}", "a picture of a {}")
    )
    console.print(predictions_line(found), highlight=False, soft_wrap=True)
    ids = ("ade20k-upernet", "ade20k-linear", "ade20k-linear-finetune")
    jobs = [Job(get(name), checkpoint, data_root, quick=True, pictures=4) for name in ids]
    _run_jobs(jobs, out, "resume")
    table(1, out)


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


@checkpoint_app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Checkpoint file or exported folder.")],
    tower: TowerOption = None,
    image_heads: ImageHeadsOption = None,
    text_heads: TextHeadsOption = None,
) -> None:
    """Show what a checkpoint is and what of it would be loaded. Nothing in it is executed."""
    from benchmarks.checkpoints import inspect_checkpoint
    from benchmarks.display import inspection_tables

    for part in inspection_tables(inspect_checkpoint(path, tower, image_heads, text_heads)):
        console.print(part)


@checkpoint_app.command()
def export(
    path: Annotated[Path, typer.Argument(help="Checkpoint to export; with --relocate, an exported folder.")],
    to: Annotated[
        Literal["open_clip", "backbone", "released"] | None,
        typer.Option(help="open_clip: both towers. backbone: timm ViT. released: the training code's own file."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; for released, a file. Default: STEM-FORM.")
    ] = None,
    tower: TowerOption = None,
    image_heads: ImageHeadsOption = None,
    text_heads: TextHeadsOption = None,
    relocate: Annotated[
        bool, typer.Option("--relocate", help="Only rewrite the path inside an export that was moved.")
    ] = False,
) -> None:
    """Write a checkpoint as safetensors that plain open_clip or timm can load, or as DetailCLIP's code has it."""
    from benchmarks.checkpoints import export_checkpoint, relocate_export

    if relocate:
        relocate_export(path)
        say(f"{path}: paths inside now point here")
        return
    if to is None:
        raise OptionError("--to: choose open_clip, backbone or released")
    if to == "released":
        told = {"--tower": tower, "--image-heads": image_heads, "--text-heads": text_heads}
        written = _export_released(path, out or Path(f"{path.stem}-released.pt"), told)
    else:
        written = export_checkpoint(path, to, out or Path(f"{path.stem}-{to}"), tower, image_heads, text_heads)
    console.print(str(written), highlight=False, soft_wrap=True)


def _export_released(path: Path, out: Path, told: dict[str, str | int | None]) -> Path:
    """A pretraining checkpoint, whole, as the released code keeps it.

    Raises:
        OptionError: a part or its heads were asked for.
    """
    from pretrain.checkpoint import export_released

    for option, value in told.items():
        if value is not None:
            raise OptionError(f"{option} {value}: --to released writes both towers as they are; leave it out")
    return export_released(path, out)


@data_app.command(name="list")
def list_data(data_root: DataOption = None) -> None:
    """Show which data sets are there. Nothing is opened."""
    from benchmarks.display import data_table

    console.print(data_table(data_root))


@data_app.command()
def check(
    name: Annotated[str, typer.Argument(help="The data set, e.g. ade20k.")],
    data_root: Annotated[Path, typer.Option("--data-root", envvar="BENCH_DATA_ROOT", help="Data folder.")],
) -> None:
    """Decode every file of a data set and check its layout, labels and sizes."""
    from benchmarks.data.catalogue import DATA_SETS
    from benchmarks.display import checking_progress

    if name not in DATA_SETS:
        raise OptionError(f"{name}: no reader for this data set yet; there is {', '.join(DATA_SETS)}")
    with checking_progress(name) as progress:
        lines = DATA_SETS[name].check(data_root, progress)
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


@data_app.command()
def sample(folder: Annotated[Path, typer.Argument(help="Folder to write, new or empty.")]) -> None:
    """Write the generated sample data in the official layouts."""
    from benchmarks.data.sample import generate

    generate(folder)
    console.print(str(folder), highlight=False, soft_wrap=True)


@data_app.command(name="convert-yfcc")
def convert_yfcc(
    metadata: Annotated[Path, typer.Argument(help="The released pickle file of (id, hash, title, description).")],
    out: Annotated[Path, typer.Argument(help="Table to write, .parquet or .csv.")],
) -> None:
    """Write YFCC15M's released metadata as a table for pretraining. Nothing in the pickle file is executed."""
    from pretrain.data import convert_metadata

    rows = convert_metadata(metadata, out)
    console.print(f"{out}: {rows:,} rows", highlight=False, soft_wrap=True)


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
