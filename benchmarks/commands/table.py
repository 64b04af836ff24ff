"""`bench table`: a table of the paper with our numbers beside its own."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands.options import FormatOption, OutOption


def table(
    number: Annotated[int, typer.Argument(min=1, max=4, help="Table of the paper, 1 to 4.")],
    out: OutOption = Path("results"),
    form: FormatOption = "text",
) -> None:
    """Print a table of the paper with our numbers beside its own (docs/tables.md)."""
    show_tables((number,), out, form)


def show_tables(numbers: Iterable[int], out: Path, form: str = "text") -> None:
    """Print some tables of the paper with what was recorded below ``out``.

    Raises:
        RecordError: a record is damaged, or a newer release wrote it.
    """
    from benchmarks.records import Store
    from benchmarks.run import default_fingerprints
    from benchmarks.tables import build, render

    records, defaults = Store(out).load_all(), default_fingerprints()
    for number in numbers:
        sys.stdout.write(render(build(number, records, defaults), form) + "\n")
