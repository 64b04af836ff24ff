"""`bench data`: the data sets, what of them is there, how to get the rest, and the generated sample."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands.options import DataOption, console, say

app = typer.Typer(help="The data sets: what is there, what is in it, how to get it.", no_args_is_help=True)

RootOption = Annotated[Path, typer.Option("--data-root", envvar="BENCH_DATA_ROOT", help="Data folder.")]
NameArgument = Annotated[str, typer.Argument(help="The data set, e.g. ade20k; `bench data list` shows all.")]


@app.command(name="list")
def list_data(data_root: DataOption = None) -> None:
    """Show which data sets are there. Nothing is opened."""
    from benchmarks.display import data_table

    console.print(data_table(data_root))


@app.command()
def check(
    name: NameArgument,
    data_root: RootOption,
    split: Annotated[str | None, typer.Option(help="Another split than the one that is scored.")] = None,
    decode: Annotated[bool, typer.Option("--decode/--fast", help="Decode every picture, or only list them.")] = True,
    classes: Annotated[bool, typer.Option("--classes", help="Show each class with its number of pictures.")] = False,
    manifest: Annotated[Path | None, typer.Option(help="Write the sha256 of every file, as sha256sum has it.")] = None,
) -> None:
    """Look into a data set: counts, layout, labels, class order, duplicates, every picture decoded."""
    from benchmarks.data.catalogue import find
    from benchmarks.display import working_progress

    data_set = find(name)
    with working_progress(f"checking {name}") as progress:
        lines = data_set.check(data_root, progress, split=split, decode=decode, every_class=classes, manifest=manifest)
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


@app.command()
def prepare(
    name: NameArgument,
    data_root: RootOption,
    only: Annotated[
        list[str] | None, typer.Option(help="Fetch this file alone (several times for several), e.g. val2014.zip.")
    ] = None,
) -> None:
    """Fetch what may be fetched of a data set, unpack it, and say how to get the rest."""
    from benchmarks.data.prepare import prepare as obtain
    from benchmarks.display import bytes_progress

    obtain(data_root, name, say, bytes_progress, tuple(only or ()))


@app.command()
def sample(folder: Annotated[Path, typer.Argument(help="Folder to write, new or empty.")]) -> None:
    """Write the generated sample data in the official layouts."""
    from benchmarks.data.sample import generate

    generate(folder)
    console.print(str(folder), highlight=False, soft_wrap=True)


@app.command(name="convert-yfcc")
def convert_yfcc(
    metadata: Annotated[Path, typer.Argument(help="The released pickle file of (id, hash, title, description).")],
    out: Annotated[Path, typer.Argument(help="Table to write, .parquet or .csv.")],
) -> None:
    """Write YFCC15M's released metadata as a table for pretraining. Nothing in the pickle file is executed."""
    from pretrain.data import convert_metadata

    rows = convert_metadata(metadata, out)
    console.print(f"{out}: {rows:,} rows", highlight=False, soft_wrap=True)
