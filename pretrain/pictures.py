"""Pictures of what the student sees (the paper's Figure 1): view | attention | kept patches | reconstruction."""

import csv
import io
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import isqrt
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine.registry import DATASETS, MODELS
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from benchmarks.checkpoints.architecture import Preprocessing
from benchmarks.data.root import require_root
from benchmarks.engine.device import choose_device
from benchmarks.engine.sampling import EndlessShuffleSampler, SampleKey
from benchmarks.errors import OptionError
from benchmarks.files import atomic_path, write_text
from pretrain.checkpoint import load_pretrained, load_released
from pretrain.data import ImageTextPairs, collate_pairs
from pretrain.fields import load_fields
from pretrain.methods.base import Batch, Look, Method
from pretrain.training import CHECKPOINT, PretrainJob, Say, dataset_config, model_config

FOLDER = "masks"
TABLE = "masks.csv"
COLUMNS = ("file", "pair", "caption", "patches", "removed", "attention_min", "attention_max")

GREY = np.full(3, 128, dtype=np.uint8)
"""Of a removed patch."""
SIDE = 224
"""Pixels that a panel has at least: smaller views are enlarged by a whole number."""
GAP = 8
LINE = 20
"""Height of a line of text."""
OPACITY = 0.65
"""Of the heat map over the view."""
HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float64)
"""From low to high attention, evenly spaced: dark violet, red, orange, light yellow (brightness rises throughout)."""
END_OF_TEXT = 49407


@dataclass(frozen=True)
class Panel:
    """One square of a picture.

    Attributes:
        title: above it.
        pixels: uint8 (S, S, 3).
        scale: the values that the ends of the heat map's colours stand for, if it is one.
    """

    title: str
    pixels: np.ndarray
    scale: tuple[float, float] | None = None


def show_masks(job: PretrainJob, checkpoint: Path | None, count: int, say: Say) -> Path:
    """Draw the first views of the first ``count`` pairs that a training of ``job`` would see; nothing is trained.

    Args:
        job: config, data, seed and folder, as for a training; on one process.
        checkpoint: weights to draw with: a file of this project or of the released code. None takes the result in the
            job's folder, and where there is none the random weights that a training begins with.
        count: pictures, at least 1; fewer if the data set has fewer usable pairs.
        say: called with one line for the user.

    Returns:
        The folder ``masks`` in the job's, with ``0000.png`` … and ``masks.csv``.

    Raises:
        BenchError: config, data, device or checkpoint cannot be used, or the method removes no patches.
    """
    if job.launcher != "none":
        raise OptionError(f"--launcher {job.launcher}: pictures are drawn by one process; leave it away")
    fields, device = load_fields(job.config, job.overrides), choose_device(job.device)
    require_root(job.data_root)
    model = chosen_model(job, checkpoint, model_config(fields), say).to(device).eval()
    pairs = {
        **dataset_config(fields, job.data_root, job.seed),
        "count": model.views,
        "size": model.image.image_size,
    }
    folder, rows = job.folder / FOLDER, list[tuple[Any, ...]]()
    for name, sample in islice(_usable(DATASETS.build(pairs), job.seed, say), count):
        look = _look(model, sample)
        if not rows:
            _clear(folder)
        file, caption = f"{len(rows):04d}.png", caption_of(sample["tokens"])
        picture = compose(panels(sample["views"][0], look, model.preprocessing), caption)
        with atomic_path(folder / file) as temporary:
            picture.save(temporary)
        low, high = look.attention.aminmax()
        removed = int(look.removed.sum())
        rows.append((file, name, caption, look.removed.numel(), removed, f"{low.item():.6g}", f"{high.item():.6g}"))
    _write_table(folder / TABLE, rows)
    say(f"{folder}: {len(rows)} pictures")
    return folder


def chosen_model(job: PretrainJob, checkpoint: Path | None, config: dict[str, Any], say: Say) -> Method:
    """The method with the weights to draw with, and a line about where they come from; see :func:`show_masks`.

    Args:
        job: its folder and seed.
        checkpoint: see there.
        config: of the model, for MMEngine's registry; only used where there is no file.
        say: called with the line.

    Raises:
        CheckpointError: the file cannot be used.
    """
    path = checkpoint or job.folder / CHECKPOINT
    if checkpoint is None and not path.exists():
        say(f"{path}: not there and no --checkpoint: drawing with random weights, which say nothing about a method")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(job.seed)
            return cast(Method, MODELS.build(config))
    if path.suffix == ".safetensors":
        say(f"weights: {path}")
        return load_pretrained(path)
    say(f"weights: {path}, with width/64 heads in the towers and width/48 in the decoder")
    return load_released(path, None, None, None)


def _usable(pairs: ImageTextPairs, seed: int, say: Say) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pairs of the first epoch in their seeded order, by name; a pair that another one replaces is left out."""
    order: Iterator[SampleKey] = iter(EndlessShuffleSampler(pairs, seed))
    for key in islice(order, len(pairs)):
        sample, name = pairs[key], pairs.source.name(key.index)
        if sample["broken"]:
            say(f"{name}: has no readable image or no text, skipped")
        else:
            yield name, sample


def _look(model: Method, sample: dict[str, Any]) -> Look:
    """What the method does with one sample, on the CPU, without the batch dimension."""
    batch = Batch(**model.data_preprocessor(collate_pairs([sample])))
    look = model.look(batch)
    predicted = None if look.predicted is None else look.predicted[0].cpu()
    return Look(look.attention[0].cpu(), look.removed[0].cpu(), predicted)


def caption_of(tokens: Tensor) -> str:
    """The text in these tokens (T,), as the text tower reads it: cleaned, lower-cased and cut."""
    from open_clip.tokenizer import decode

    ends = (tokens == END_OF_TEXT).nonzero()
    words = tokens[1 : int(ends[0]) if len(ends) else None]
    return str(decode(words)).strip()


def panels(view: Tensor, look: Look, preprocessing: Preprocessing) -> list[Panel]:
    """The squares of a picture, from left to right.

    Args:
        view: uint8 (3, S, S).
        look: of this view, without batch dimension: N patches.
        preprocessing: whose mean and deviation the predicted pixels are normalised with.

    Returns:
        View, attention, kept patches, and where there is a prediction: it alone, and it in place of what is removed.
    """
    pixels = view.permute(1, 2, 0).numpy()
    attention, removed = look.attention.double().numpy(), look.removed.numpy()
    hidden = _per_pixel(removed, len(pixels))[:, :, None]
    made = [
        Panel("view", pixels),
        Panel("teacher's attention", heat_map(pixels, attention), (attention.min(), attention.max())),
        Panel(f"{removed.sum()} of {removed.size} patches removed", np.where(hidden, GREY, pixels)),
    ]
    if look.predicted is not None:
        predicted = to_pixels(look.predicted, preprocessing)
        made += [
            Panel("decoder's prediction", predicted),
            Panel("removed patches predicted", np.where(hidden, predicted, pixels)),
        ]
    return made


def to_pixels(patches: Tensor, preprocessing: Preprocessing) -> np.ndarray:
    """Normalised patches (N, 3 p²), each as (row, column, channel), to uint8 (S, S, 3); what is out of range is cut."""
    grid, patch = isqrt(patches.shape[0]), isqrt(patches.shape[1] // 3)
    square = patches.view(grid, grid, patch, patch, 3).transpose(1, 2).reshape(grid * patch, grid * patch, 3)
    shown = square * torch.tensor(preprocessing.std) + torch.tensor(preprocessing.mean)
    levels: np.ndarray = (shown * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return levels


def heat_map(pixels: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """Attention (N,) in colours over the grey picture uint8 (S, S, 3): its least and its most get the ends' colours."""
    low, high = attention.min(), attention.max()
    shares = (attention - low) / max(high - low, np.finfo(np.float64).tiny)
    colours = _per_pixel(heat_colours(shares), len(pixels))
    grey = pixels.mean(axis=2, keepdims=True)
    blended: np.ndarray = (OPACITY * colours + (1 - OPACITY) * grey).round().astype(np.uint8)
    return blended


def heat_colours(shares: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1], (M,), to colours (M, 3) from 0 to 255."""
    places = np.linspace(0, 1, len(HEAT))
    return np.stack([np.interp(shares, places, channel) for channel in HEAT.T], axis=1)


def _per_pixel(values: np.ndarray, side: int) -> np.ndarray:
    """One value for each patch, (N, ...), to one for each pixel, (side, side, ...)."""
    grid = isqrt(len(values))
    square = values.reshape(grid, grid, *values.shape[1:])
    return square.repeat(side // grid, axis=0).repeat(side // grid, axis=1)


def compose(squares: list[Panel], caption: str) -> Image.Image:
    """The panels side by side, titles above, a colour bar under a heat map, the caption at the bottom."""
    enlarged = -(-SIDE // len(squares[0].pixels))
    side = enlarged * len(squares[0].pixels)
    width = len(squares) * (side + GAP) + GAP
    lines = textwrap.wrap(caption, width // 8)  # a letter is about 7 pixels wide
    canvas = Image.new("RGB", (width, GAP + LINE + side + LINE * (1 + len(lines)) + GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for number, panel in enumerate(squares):
        left, top = corner(number, side)
        draw.text((left, GAP), panel.title, "black", font)
        canvas.paste(Image.fromarray(panel.pixels).resize((side, side), Image.Resampling.NEAREST), (left, top))
        if panel.scale:
            _draw_scale(canvas, (left, top + side), side, panel.scale)
    for number, line in enumerate(lines):
        draw.text((GAP, GAP + LINE + side + LINE * (1 + number)), line, "black", font)
    return canvas


def corner(number: int, side: int) -> tuple[int, int]:
    """Where the panel of this number begins: left and top, in pixels of the picture."""
    return GAP + number * (side + GAP), GAP + LINE


def _draw_scale(canvas: Image.Image, corner: tuple[int, int], side: int, scale: tuple[float, float]) -> None:
    """A bar of the heat map's colours between the two values that its ends stand for."""
    draw, font, (left, top) = ImageDraw.Draw(canvas), ImageFont.load_default(13), corner
    low, high = (f"{value:.3g}" for value in scale)
    start, end = left + draw.textlength(low, font) + GAP, left + side - draw.textlength(high, font) - GAP
    draw.text((left, top + 2), low, "black", font)
    draw.text((end + GAP, top + 2), high, "black", font)
    colours = heat_colours(np.linspace(0, 1, int(end - start))).astype(np.uint8)
    canvas.paste(Image.fromarray(colours[None].repeat(LINE // 2, axis=0)), (int(start), top + LINE // 4))


def _clear(folder: Path) -> None:
    """Remove the pictures of an earlier call: they may be of other weights."""
    for file in (folder / TABLE, *folder.glob("[0-9][0-9][0-9][0-9]*.png")):
        file.unlink(missing_ok=True)


def _write_table(path: Path, rows: list[tuple[Any, ...]]) -> None:
    """The CSV beside the pictures."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    write_text(path, text.getvalue())
