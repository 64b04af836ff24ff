"""Pictures of segmentations: image | truth | prediction, in ADE20K's palette (the paper's Figures 3-5)."""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.files import atomic_path

GAP = 8


def colourise(classes: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """(H, W) class ids to (H, W, 3) uint8 colours; ids without a colour (ignored pixels) become black."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(palette)] = palette
    colours: np.ndarray = table[classes]
    return colours


def save_triptych(path: Path, image: Path, truth: np.ndarray, prediction: np.ndarray) -> None:
    """Write ``image`` | ``truth`` | ``prediction`` side by side as a PNG.

    Args:
        path: the PNG to write.
        image: the photograph; shown at the truth's size.
        truth: (H, W) class ids, 255 where nothing is labelled.
        prediction: (H, W) class ids.
    """
    from benchmarks.data.ade20k import palette

    colours = np.asarray(palette(), dtype=np.uint8)
    height, width = truth.shape
    with Image.open(image) as photograph:
        panels = [photograph.convert("RGB").resize((width, height))]
    panels += [Image.fromarray(colourise(classes, colours)) for classes in (truth, prediction)]
    canvas = Image.new("RGB", (3 * width + 2 * GAP, height), "white")
    for number, panel in enumerate(panels):
        canvas.paste(panel, (number * (width + GAP), 0))
    with atomic_path(path) as temporary:
        canvas.save(temporary)
