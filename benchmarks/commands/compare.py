"""`bench compare`: two or more checkpoints on the same samples, difference by difference."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands.options import FormatOption, OutOption
from benchmarks.errors import RecordError


def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C...]",
            help="Checkpoints: name, row of the paper, path, or beginning of the sha256; NAME:TOWER where it was run "
            "with several towers. The first is the baseline.",
        ),
    ],
    out: OutOption = Path("results"),
    form: FormatOption = "text",
    only: Annotated[
        list[str] | None, typer.Option(help="Compare this benchmark or group alone (several times for several).")
    ] = None,
) -> None:
    """Compare checkpoints benchmark by benchmark on the same images: what is a real difference, what is noise.

    Runs of different protocols or data are refused, and what differs is named (docs/comparison.md).
    """
    from benchmarks.comparison import compare as compared
    from benchmarks.comparison import render
    from benchmarks.display import working_progress
    from benchmarks.records import Store
    from benchmarks.suite import ALL, resolve

    chosen = resolve(only or [ALL])
    with working_progress("comparing") as progress:
        found = compared(Store(out), names, chosen, report=progress)
    sys.stdout.write(render(found, form) + "\n")
    refused = sum(len(pair.refused) for pair in found.pairs)
    if refused:
        sys.stdout.flush()
        raise RecordError(f"{refused} refused, for these runs are not comparable; the result above says why")
