"""`bench report`: everything below a results folder as a page to look at."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands.options import OutOption, console, say


def report(
    out: OutOption = Path("results"),
    to: Annotated[Path | None, typer.Option("--to", help="Folder of the site. Default: OUT/report.")] = None,
    compared: Annotated[
        list[str] | None,
        typer.Option(
            "--compare", metavar="CHECKPOINT", help="Add a comparison, as `bench compare`: the baseline first."
        ),
    ] = None,
) -> None:
    """Make a static site of all results: tables, checkpoints, benchmarks, pictures; open its index.html.

    It needs no network and no server. An older report in the folder is replaced.
    """
    from benchmarks.report import write_report

    index = write_report(out, to or out / "report", say, compared or ())
    console.print(str(index), highlight=False, soft_wrap=True)
