"""Options and outlets that several commands share."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

# A pipe has no width of its own; tables must not be cut to the 80 columns that rich then assumes.
console = Console(width=None if sys.stdout.isatty() else 140)
messages = Console(stderr=True, highlight=False)


OutOption = Annotated[Path, typer.Option("--out", help="Results folder: runs go to OUT/runs.")]
FormatOption = Annotated[
    Literal["text", "markdown", "latex", "csv", "html"], typer.Option("--format", help="How it is written.")
]
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
QuickGeluOption = Annotated[
    bool | None,
    typer.Option("--quick-gelu/--gelu", help="Activation of an open_clip checkpoint whose file does not tell it."),
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
