"""The surfaces of the generated world: what makes grass look unlike water to a network.

A paint is plain data and draws the same pixels every time; its randomness comes from the seed it holds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

Floating = TypeVar("Floating", np.float32, np.float64)

Colour = tuple[float, float, float]
"""RGB, each 0 to 255."""

Plane = npt.NDArray[np.float32]
"""(H, W) weights of a paint's second colour, 0 to 1; (H, 1) or (1, W) where those of a row or a column are the same."""

Pixels = npt.NDArray[np.float32]
"""(H, W, 3) RGB, 0 to 255. In memory each colour is a plane, for arithmetic on rows of three numbers is slow."""


@dataclass(frozen=True)
class Paint:
    """A surface: a pattern that mixes two colours.

    ``scale`` is the pattern's period in pixels, ``angle`` its direction in radians where it has one.
    ``shade`` darkens the surface from its top (0) to its bottom, as a share of its brightness; ``grain`` is
    the standard deviation of the noise that every pixel gets, in grey levels.
    """

    pattern: str
    first: Colour
    second: Colour
    scale: float = 8.0
    angle: float = 0.0
    shade: float = 0.0
    grain: float = 4.0
    seed: int = 0


def fill(paint: Paint, height: int, width: int) -> Pixels:
    """Draw a paint over a (height, width) box: float32 (H, W, 3), 0 to 255."""
    rng = np.random.default_rng(paint.seed)
    weight = PATTERNS[paint.pattern](paint, height, width, rng)
    first, second = np.array((paint.first, paint.second), np.float64)[:, :, None, None]
    pixels = first * (1 - weight)
    pixels += second * weight
    if paint.shade:
        pixels = pixels * _ramp(1, 1 - paint.shade, height)
    pixels = _limited(pixels + rng.normal(0, paint.grain, (height, width)), 255)
    return pixels.astype(np.float32).transpose(1, 2, 0)


def _weights(values: npt.NDArray[Any]) -> Plane:
    """Values limited to 0 to 1."""
    return _limited(values.astype(np.float32), 1)


def _limited(values: npt.NDArray[Floating], most: float) -> npt.NDArray[Floating]:
    """The same array, in which nothing is below 0 or above ``most``; ``np.clip`` takes longer for small ones."""
    limited: npt.NDArray[Floating] = np.minimum(np.maximum(values, 0, out=values), most, out=values)
    return limited


@lru_cache
def _ramp(start: float, stop: float, height: int) -> npt.NDArray[np.float64]:
    """A column (H, 1) of even steps; the same few are asked for all the time."""
    return np.linspace(start, stop, height)[:, None]


def smooth_noise(rng: np.random.Generator, height: int, width: int, scale_y: float, scale_x: float) -> Plane:
    """Random values on a grid of ``scale`` pixels, interpolated between: (H, W), 0 to 1."""
    grid = rng.random((int(height / scale_y) + 2, int(width / scale_x) + 2), dtype=np.float32)
    big = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    return _weights(np.asarray(big))


def _coordinates(height: int, width: int) -> tuple[Plane, Plane]:
    """The rows as (H, 1) and the columns as (1, W)."""
    return np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]


def _plain(paint: Paint, height: int, width: int, rng: np.random.Generator) -> Plane:
    return np.zeros((height, 1), np.float32)


def _gradient(paint: Paint, height: int, width: int, rng: np.random.Generator) -> Plane:
    """From the first colour at the top to the second at the bottom."""
    return _ramp(0, 1, height).astype(np.float32)


def _clouds(paint: Paint, height: int, width: int, rng: np.random.Generator) -> Plane:
    """A gradient with soft wide patches of the second colour."""
    noise = smooth_noise(rng, height, width, paint.scale, 2.5 * paint.scale)
    noise = 0.7 * noise + 0.3 * smooth_noise(rng, height, width, paint.scale / 3, paint.scale)
    return _weights(np.maximum(3 * noise - 1.4, 0.7 * _gradient(paint, height, width, rng)))


def _noise(paint: Paint, height: int, width: int, rng: np.random.Generator) -> Plane:
    """Blotches of three sizes: leaves, rock, plaster."""
    planes = [smooth_noise(rng, height, width, paint.scale / k, paint.scale / k) for k in (1, 2, 4)]
    return _weights(0.5 * planes[0] + 0.3 * planes[1] + 0.2 * planes[2])


def _blades(paint: Paint, height: int, width: int, rng: np.random.Generator) -> Plane:
    """Short upright strokes: grass."""
    strokes = smooth_noise(rng, height, width, paint.scale, paint.scale / 4)
    return _weights(0.8 * strokes + 0.2 * _noise(paint, height, width, rng))


def _ripples(paint: Paint, height: int, width: int, rng: np.random.Generator) -> Plane:
    """Flat bent waves that grow towards the viewer: water."""
    rows, _ = _coordinates(height, width)
    bend = smooth_noise(rng, height, width, paint.scale, 5 * paint.scale)
    depth = np.sqrt(rows / max(height, 1) + 0.02)
    return _weights(0.5 + 0.5 * np.sin(2 * np.pi * (depth * height / paint.scale + 2 * bend)))


def _stripes(paint: Paint, height: int, width: int, rng: np.random.Generator) -> Plane:
    """Even stripes with soft edges."""
    rows, columns = _coordinates(height, width)
    along = columns * np.cos(paint.angle)
    if paint.angle:
        along = along + rows * np.sin(paint.angle)
    return _weights(0.5 + 1.5 * np.sin(2 * np.pi * along / paint.scale))


def _checks(paint: Paint, height: int, width: int, rng: np.random.Generator) -> Plane:
    """A checkerboard, turned by the angle."""
    rows, columns = _coordinates(height, width)
    cosine, sine = np.cos(paint.angle), np.sin(paint.angle)
    across = np.floor((columns * cosine + rows * sine) / paint.scale)
    down = np.floor((rows * cosine - columns * sine) / paint.scale)
    return _weights((across + down) % 2)


def _bricks(paint: Paint, height: int, width: int, rng: np.random.Generator) -> Plane:
    """Bricks in the first colour, each a little different, with joints in the second."""
    rows, columns = _coordinates(height, width)
    course = np.floor(rows / paint.scale)
    shifted = columns / (2 * paint.scale) + 0.5 * (course % 2)
    tones = rng.random((int(height / paint.scale) + 1, int(width / (2 * paint.scale)) + 3))
    tone = 0.35 * tones[course.astype(int), np.floor(shifted).astype(int)]
    joint = (rows % paint.scale < 1) | (shifted % 1 < 1 / (2 * paint.scale))
    return _weights(np.where(joint, 1, tone))


def _wood(paint: Paint, height: int, width: int, rng: np.random.Generator) -> Plane:
    """Long grain; an angle of 0 is upright, any other lies flat."""
    across, along = paint.scale / 3, paint.scale * 8
    scales = (across, along) if paint.angle else (along, across)
    grain = smooth_noise(rng, height, width, *scales)
    return _weights(0.5 + 0.5 * np.sin(8 * grain))


def _planks(paint: Paint, height: int, width: int, rng: np.random.Generator) -> Plane:
    """Boards that widen towards the viewer, with dark joints: a wooden floor."""
    rows, columns = _coordinates(height, width)
    spread = (columns - width / 2) / (0.5 + rows / max(height, 1))
    board = spread / paint.scale
    tones = rng.random(1 + int(np.ptp(np.floor(board))), dtype=np.float32)
    index = (np.floor(board) - np.floor(board).min()).astype(int)
    return _weights(np.where(board % 1 < 0.1, 1, 0.5 * tones[index]))


def _tiles(paint: Paint, height: int, width: int, rng: np.random.Generator) -> Plane:
    """A checkerboard seen in perspective: a tiled floor."""
    rows, columns = _coordinates(height, width)
    near = 0.4 + rows / max(height, 1)
    across = np.floor((columns - width / 2) / (near * paint.scale))
    down = np.floor(height / paint.scale * 2.5 * np.log(near))
    return _weights((across + down) % 2)


def _sphere(paint: Paint, height: int, width: int, rng: np.random.Generator) -> Plane:
    """Lit from the upper left: a ball."""
    rows, columns = _coordinates(height, width)
    distance = np.hypot(rows / max(height, 1) - 0.3, columns / max(width, 1) - 0.35)
    return _weights(1.3 * distance)


PATTERNS: dict[str, Callable[[Paint, int, int, np.random.Generator], Plane]] = {
    "plain": _plain,
    "gradient": _gradient,
    "clouds": _clouds,
    "noise": _noise,
    "blades": _blades,
    "ripples": _ripples,
    "stripes": _stripes,
    "checks": _checks,
    "bricks": _bricks,
    "wood": _wood,
    "planks": _planks,
    "tiles": _tiles,
    "sphere": _sphere,
}
"""Every pattern by the name that a paint calls it; each returns the weight of the second colour."""
