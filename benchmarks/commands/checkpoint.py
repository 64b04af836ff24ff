"""`bench checkpoint`: look into a checkpoint, or write it in another form."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.commands.options import (
    ImageHeadsOption,
    QuickGeluOption,
    TextHeadsOption,
    TowerOption,
    console,
    say,
)
from benchmarks.errors import OptionError

app = typer.Typer(help="Look into a checkpoint, or write it in another form.", no_args_is_help=True)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Checkpoint file, exported folder, or name.")],
    tower: TowerOption = None,
    image_heads: ImageHeadsOption = None,
    text_heads: TextHeadsOption = None,
    quick_gelu: QuickGeluOption = None,
) -> None:
    """Show what a checkpoint is and what of it would be loaded. Nothing in it is executed."""
    from benchmarks.checkpoints import inspect_checkpoint, resolve
    from benchmarks.display import bytes_progress, inspection_tables

    for part in inspection_tables(
        inspect_checkpoint(resolve(path, say, bytes_progress), tower, image_heads, text_heads, quick_gelu)
    ):
        console.print(part)


@app.command()
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
    quick_gelu: QuickGeluOption = None,
    relocate: Annotated[
        bool, typer.Option("--relocate", help="Only rewrite the path inside an export that was moved.")
    ] = False,
) -> None:
    """Write a checkpoint as safetensors that plain open_clip or timm can load, or as DetailCLIP's code has it."""
    from benchmarks.checkpoints import export_checkpoint, relocate_export, resolve
    from benchmarks.display import bytes_progress

    if relocate:
        relocate_export(path)
        say(f"{path}: paths inside now point here")
        return
    if to is None:
        raise OptionError("--to: choose open_clip, backbone or released")
    path = resolve(path, say, bytes_progress)
    if to == "released":
        told = {"--tower": tower, "--image-heads": image_heads, "--text-heads": text_heads, "--quick-gelu": quick_gelu}
        written = _export_released(path, out or Path(f"{path.stem}-released.pt"), told)
    else:
        place = out or Path(f"{path.stem}-{to}")
        written = export_checkpoint(path, to, place, tower, image_heads, text_heads, quick_gelu)
    console.print(str(written), highlight=False, soft_wrap=True)


def _export_released(path: Path, out: Path, told: dict[str, str | int | bool | None]) -> Path:
    """A pretraining checkpoint, whole, as the released code keeps it.

    Raises:
        OptionError: a part or its heads were asked for.
    """
    from pretrain.checkpoint import export_released

    for option, value in told.items():
        if value is not None:
            raise OptionError(f"{option} {value}: --to released writes both towers as they are; leave it out")
    return export_released(path, out)
