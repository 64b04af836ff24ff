"""`bench cache`: the embeddings that were kept, so that nothing is encoded twice."""

from typing import Annotated

import typer

from benchmarks.commands.options import console, say
from benchmarks.errors import OptionError

app = typer.Typer(help="The kept embeddings: show them, remove them.", no_args_is_help=True)


@app.command(name="list")
def list_entries() -> None:
    """Show what is kept: of which checkpoint and data, how much, since when."""
    from benchmarks.display import cache_table
    from benchmarks.zeroshot.embeddings import entries

    console.print(cache_table(entries()))


@app.command()
def clear(
    keys: Annotated[
        list[str] | None, typer.Argument(help="Beginnings of the keys that `bench cache list` shows.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all of them.")] = False,
) -> None:
    """Remove kept embeddings; they are computed again when they are needed."""
    from benchmarks.zeroshot.embeddings import clear as remove
    from benchmarks.zeroshot.embeddings import entries

    if everything == bool(keys):
        raise OptionError("bench cache clear: name the keys to remove, or say --all")
    known = [entry.key for entry in entries()]
    chosen = set(known) if everything else set()
    for beginning in keys or ():
        found = [key for key in known if key.startswith(beginning)]
        if len(found) != 1:
            raise OptionError(f"{beginning}: {len(found)} kept embeddings begin so; `bench cache list` shows all")
        chosen.update(found)
    freed = remove(chosen)
    say(f"{len(chosen)} removed, {freed / 2**20:,.1f} MiB freed")
