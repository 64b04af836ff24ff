"""`bench results`: take results elsewhere, or in from elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.commands.options import OutOption, say
from benchmarks.errors import RecordError

app = typer.Typer(help="Results that leave as one table, and runs that come in.", no_args_is_help=True)


@app.command()
def export(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="File to write: .csv or .parquet.")],
    out: OutOption = Path("results"),
) -> None:
    """Write all results as one table: a row for each metric of each run, with where it came from."""
    from benchmarks.moving import export_table

    rows = export_table(out, target)
    say(f"{target}: {rows:,} rows")


@app.command(name="import")
def bring_in(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER|ZIP...", help="A results folder, the folder of one run, or a ZIP of either."),
    ],
    out: OutOption = Path("results"),
) -> None:
    """Take over runs from another machine, each checked first; those that are here already are left alone."""
    from benchmarks.moving import import_runs

    outcomes: list[str | RecordError] = []
    for source in sources:
        for name, outcome in import_runs(out, source):
            say(f"{name}: {outcome}" if isinstance(outcome, str) else f"refused: {outcome}")
            outcomes.append(outcome)
    errors = [outcome for outcome in outcomes if isinstance(outcome, RecordError)]
    if errors and len(outcomes) == 1:
        raise errors[0]
    say(f"{outcomes.count('imported')} imported, {outcomes.count('already there')} already there")
    if errors:
        raise RecordError(f"{len(errors)} of {len(outcomes)} runs were refused; the lines above say why")
