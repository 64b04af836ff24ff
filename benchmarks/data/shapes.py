"""The objects of the generated world: one short recipe for each category.

A recipe draws in the unit square, x to the right and y downwards, standing on y = 1; ``place`` puts what it
drew into a scene. A new category is one function and one line of ``RECIPES``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from benchmarks.data.textures import Colour, Paint

Point = tuple[float, float]
"""(x, y): in the unit square inside a recipe, in pixels inside a scene."""


@dataclass(frozen=True)
class Part:
    """One painted polygon; a later part of the same object covers an earlier one."""

    outline: tuple[Point, ...]
    paint: Paint


@dataclass(frozen=True)
class Recipe:
    """How a category looks and how large it is.

    ``parts`` draws it in the given colour. ``height`` is the range of its height as a share of the scene's
    shorter side, ``aspect`` the range of width over height, ``tilt`` the largest angle by which it leans,
    in degrees.
    """

    parts: Callable[[np.random.Generator, Colour], list[Part]]
    colours: tuple[str, ...]
    height: tuple[float, float]
    aspect: tuple[float, float]
    tilt: float = 0.0


COLOURS: dict[str, Colour] = {
    "red": (190, 50, 45),
    "orange": (225, 130, 50),
    "yellow": (225, 195, 70),
    "green": (70, 140, 75),
    "blue": (60, 95, 175),
    "purple": (120, 75, 150),
    "pink": (220, 140, 165),
    "brown": (125, 85, 55),
    "beige": (212, 190, 155),
    "white": (232, 230, 224),
    "grey": (140, 140, 142),
    "black": (48, 48, 52),
}

_TURNS = np.linspace(0, 2 * np.pi, 32, endpoint=False)  # radians: the corners of an ellipse

_DARK: Colour = (45, 42, 44)
_GLASS: Colour = (70, 90, 115)
_SKIN: tuple[Colour, ...] = ((235, 195, 165), (200, 150, 115), (140, 95, 70), (90, 60, 45))


def tint(colour: Colour, factor: float) -> Colour:
    """A colour made darker (below 1) or brighter (above 1)."""
    red, green, blue = (min(255.0, channel * factor) for channel in colour)
    return red, green, blue


def jitter(rng: np.random.Generator, colour: Colour, spread: float = 12.0) -> Colour:
    """A colour close to the given one; ``spread`` is the standard deviation in grey levels."""
    red, green, blue = np.clip(np.asarray(colour) + rng.normal(0, spread, 3), 0, 255).tolist()
    return red, green, blue


def rectangle(left: float, top: float, right: float, bottom: float) -> tuple[Point, ...]:
    """An upright rectangle."""
    return (left, top), (right, top), (right, bottom), (left, bottom)


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> tuple[Point, ...]:
    """An ellipse as a polygon of 32 corners."""
    xs, ys = x + radius_x * np.cos(_TURNS), y + radius_y * np.sin(_TURNS)
    return tuple(zip(xs.tolist(), ys.tolist(), strict=True))


def place(
    rng: np.random.Generator, parts: list[Part], base: Point, width: float, height: float, tilt: float
) -> tuple[Part, ...]:
    """Put what a recipe drew into a scene.

    Args:
        rng: gives each paint a seed of its own, and decides whether the object is mirrored.
        parts: polygons in the unit square; the scale of their paints is a share of the object's height.
        base: the pixel on which the middle of the lower edge stands.
        width: in pixels.
        height: in pixels.
        tilt: radians, about the base.
    """
    mirror = rng.choice([-1.0, 1.0])
    cosine, sine = np.cos(tilt), np.sin(tilt)

    corners = np.array([corner for part in parts for corner in part.outline])
    x, y = mirror * (corners[:, 0] - 0.5) * width, (corners[:, 1] - 1) * height
    xs, ys = base[0] + cosine * x - sine * y, base[1] + sine * x + cosine * y
    moved = iter(zip(xs.tolist(), ys.tolist(), strict=True))

    def finish(paint: Paint) -> Paint:
        return replace(paint, scale=max(2.0, paint.scale * height), seed=int(rng.integers(2**32)))

    return tuple(Part(tuple(islice(moved, len(part.outline))), finish(part.paint)) for part in parts)


def _flat(colour: Colour, shade: float = 0.15) -> Paint:
    return Paint("plain", colour, colour, shade=shade)


def _building(rng: np.random.Generator, colour: Colour) -> list[Part]:
    top = 0.2 if rng.random() < 0.5 else 0.0
    parts = [Part(rectangle(0, top, 1, 1), Paint("bricks", colour, tint(colour, 0.6), scale=0.035))]
    if top:
        parts.insert(0, Part(((0, top), (0.5, 0), (1, top)), _flat(tint(colour, 0.5))))
    columns, rows = rng.integers(2, 5), rng.integers(3, 6)
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.25) / columns, top + (1 - top) * (row + 0.2) / (rows + 0.3)
            window = rectangle(x, y, x + 0.5 / columns, y + 0.55 * (1 - top) / (rows + 0.3))
            parts.append(Part(window, Paint("gradient", _GLASS, tint(_GLASS, 1.5))))
    return parts


def _tree(rng: np.random.Generator, colour: Colour) -> list[Part]:
    trunk = Paint("wood", (95, 70, 50), (65, 45, 32), scale=0.05)
    leaves = Paint("noise", tint(colour, 0.45), tint(colour, 1.25), scale=0.09, shade=0.25, grain=9)
    parts = [Part(((0.44, 0.5), (0.56, 0.5), (0.6, 1), (0.4, 1)), trunk)]
    if rng.random() < 0.35:
        for top in (0.35, 0.18, 0.0):
            outline = ((0.5, top), (0.75 + 0.5 * top, top + 0.42), (0.25 - 0.5 * top, top + 0.42))
            parts.append(Part(outline, leaves))
        return parts
    for _ in range(5):
        x, y = rng.uniform(0.3, 0.7), rng.uniform(0.22, 0.48)
        parts.append(Part(ellipse(x, y, rng.uniform(0.2, 0.3), rng.uniform(0.15, 0.22)), leaves))
    return parts


def _person(rng: np.random.Generator, colour: Colour) -> list[Part]:
    skin = _flat(_SKIN[rng.integers(len(_SKIN))])
    cloth = Paint("stripes", colour, tint(colour, rng.choice([0.75, 1.0])), scale=0.06, angle=1.57, shade=0.2)
    trousers = _flat(jitter(rng, (50, 55, 85), 18))
    swing, stride = rng.uniform(-0.1, 0.12), rng.uniform(0.0, 0.12)
    return [
        Part(((0.34, 0.5), (0.5, 0.5), (0.44 - stride, 1), (0.28 - stride, 1)), trousers),
        Part(((0.5, 0.5), (0.66, 0.5), (0.72 + stride, 1), (0.56 + stride, 1)), trousers),
        Part(((0.26, 0.2), (0.36, 0.24), (0.2 - swing, 0.55), (0.08 - swing, 0.54)), cloth),
        Part(((0.74, 0.2), (0.64, 0.24), (0.8 + swing, 0.55), (0.92 + swing, 0.54)), cloth),
        Part(((0.26, 0.18), (0.74, 0.18), (0.68, 0.58), (0.32, 0.58)), cloth),
        Part(ellipse(0.5, 0.09, 0.19, 0.09), skin),
        Part(ellipse(0.5, 0.045, 0.19, 0.05), _flat(jitter(rng, (60, 45, 35), 20))),
    ]


def _car(rng: np.random.Generator, colour: Colour) -> list[Part]:
    body = Paint("gradient", tint(colour, 1.25), tint(colour, 0.7), grain=2)
    glass = Paint("gradient", tint(_GLASS, 1.7), _GLASS)
    slope = rng.uniform(0.05, 0.16)
    parts = [
        Part(((0.2, 0.45), (0.2 + slope, 0), (0.75 - slope / 2, 0), (0.86, 0.45)), body),
        Part(((0.25, 0.42), (0.24 + slope, 0.1), (0.49, 0.1), (0.49, 0.42)), glass),
        Part(((0.53, 0.42), (0.53, 0.1), (0.73 - slope / 2, 0.1), (0.8, 0.42)), glass),
        Part(((0.0, 0.55), (0.05, 0.42), (0.95, 0.42), (1, 0.6), (0.98, 0.84), (0.02, 0.84)), body),
        Part(ellipse(0.04, 0.56, 0.035, 0.07), _flat((245, 240, 200))),
    ]
    for x in (0.22, 0.78):
        parts.append(Part(ellipse(x, 0.8, 0.11, 0.2), _flat(_DARK)))
        parts.append(Part(ellipse(x, 0.8, 0.05, 0.09), _flat((170, 170, 175))))
    return parts


def _door(rng: np.random.Generator, colour: Colour) -> list[Part]:
    wood = Paint("wood", tint(colour, 1.1), tint(colour, 0.75), scale=0.06)
    panel = Paint("wood", tint(colour, 0.8), tint(colour, 0.6), scale=0.06)
    frame = Part(rectangle(0, 0, 1, 1), _flat(tint(colour, 0.5)))
    panels = [rectangle(x, y, x + 0.28, y + 0.38) for x in (0.17, 0.55) for y in (0.1, 0.55)]
    parts = [frame, Part(rectangle(0.07, 0.03, 0.93, 1), wood)]
    parts += [Part(outline, panel) for outline in panels[: 4 if rng.random() < 0.7 else 2]]
    return [*parts, Part(ellipse(0.86, 0.52, 0.04, 0.018), _flat((220, 190, 90)))]


def _windowpane(rng: np.random.Generator, colour: Colour) -> list[Part]:
    pane = Paint("clouds", (120, 175, 235), (225, 240, 250), scale=0.3)
    parts = [Part(rectangle(0, 0, 1, 1), _flat(colour, 0.05))]
    for x in (0.08, 0.54):
        for y in (0.08, 0.54):
            parts.append(Part(rectangle(x, y, x + 0.38, y + 0.38), pane))
    return parts


def _table(rng: np.random.Generator, colour: Colour) -> list[Part]:
    wood = Paint("wood", tint(colour, 1.2), tint(colour, 0.85), scale=0.12, angle=1.0)
    legs = _flat(tint(colour, 0.6))
    inset = rng.uniform(0.04, 0.14)
    parts = [
        Part(rectangle(x, 0.25, x + 0.07, y), legs)
        for x, y in ((inset, 1), (0.93 - inset, 1), (0.16 + inset, 0.85), (0.77 - inset, 0.85))
    ]
    parts.append(Part(rectangle(0, 0.24, 1, 0.36), Paint("wood", tint(colour, 0.9), colour, scale=0.1, angle=1.0)))
    return [*parts, Part(((0.14, 0), (0.86, 0), (1, 0.25), (0, 0.25)), wood)]


def _chair(rng: np.random.Generator, colour: Colour) -> list[Part]:
    back = Paint("stripes", colour, tint(colour, 0.55), scale=0.14)
    legs = _flat(tint(colour, 0.5))
    parts = [Part(rectangle(x, 0.5, x + 0.08, y), legs) for x, y in ((0.05, 1), (0.87, 1), (0.2, 0.9), (0.72, 0.9))]
    slant = rng.uniform(-0.04, 0.12)
    parts.append(Part(((0.14 + slant, 0), (0.86 - slant, 0), (0.84, 0.5), (0.16, 0.5)), back))
    return [*parts, Part(((0.14, 0.48), (0.86, 0.48), (1, 0.64), (0, 0.64)), _flat(tint(colour, 1.15)))]


def _lamp(rng: np.random.Generator, colour: Colour) -> list[Part]:
    glow = Paint("gradient", tint(colour, 1.05), (255, 250, 215), grain=1)
    flare, depth = rng.uniform(0.1, 0.25), rng.uniform(0.25, 0.36)
    return [
        Part(rectangle(0.46, depth, 0.54, 0.97), _flat(_DARK)),
        Part(ellipse(0.5, 0.96, 0.3, 0.04), _flat(_DARK)),
        Part(((flare, 0), (1 - flare, 0), (1, depth), (0, depth)), glow),
    ]


def _boat(rng: np.random.Generator, colour: Colour) -> list[Part]:
    sail = Paint("stripes", (245, 243, 235), tint(colour, 1.2), scale=0.22, angle=1.57, shade=0.1)
    hull = Paint("stripes", tint(colour, 0.9), tint(colour, 0.6), scale=0.1, angle=1.57)
    mast = rng.uniform(0.42, 0.55)
    parts = [
        Part(rectangle(mast, 0, mast + 0.03, 0.8), _flat((90, 65, 45))),
        Part(((mast + 0.05, 0.04), (mast + 0.05, 0.68), (0.96, 0.66)), sail),
    ]
    if rng.random() < 0.7:
        parts.append(Part(((mast - 0.02, 0.1), (mast - 0.02, 0.68), (0.1, 0.66)), sail))
    return [*parts, Part(((0, 0.74), (1, 0.74), (0.84, 1), (0.14, 1)), hull)]


def _ball(rng: np.random.Generator, colour: Colour) -> list[Part]:
    lit = Paint("sphere", tint(colour, 1.4), tint(colour, 0.35), grain=2)
    band = Paint("sphere", (255, 255, 250), (110, 110, 115), grain=2)
    turns = rng.uniform(0, np.pi) + np.linspace(0, np.pi / 3, 8)
    wedges = [[(0.5 + 0.5 * np.cos(t + a), 0.5 + 0.5 * np.sin(t + a)) for t in turns] for a in (0, np.pi)]
    parts = [Part(ellipse(0.5, 0.5, 0.5, 0.5), lit)]
    for wedge in wedges:
        corners = tuple((float(x), float(y)) for x, y in wedge)
        parts.append(Part(((0.5, 0.5), *corners), band))
    return parts


def _clock(rng: np.random.Generator, colour: Colour) -> list[Part]:
    parts = [
        Part(ellipse(0.5, 0.5, 0.5, 0.5), _flat(tint(colour, 0.8))),
        Part(ellipse(0.5, 0.5, 0.4, 0.4), _flat((250, 248, 238), 0.05)),
    ]
    for turn in np.arange(12) * np.pi / 6:
        x, y = 0.5 + 0.34 * np.cos(turn), 0.5 + 0.34 * np.sin(turn)
        parts.append(Part(ellipse(float(x), float(y), 0.025, 0.025), _flat(_DARK)))
    for length, turn in ((0.22, rng.uniform(0, 6.28)), (0.32, rng.uniform(0, 6.28))):
        tip = 0.5 + length * float(np.cos(turn)), 0.5 + length * float(np.sin(turn))
        side = 0.04 * float(np.sin(turn)), -0.04 * float(np.cos(turn))
        hand = ((0.5 + side[0], 0.5 + side[1]), tip, (0.5 - side[0], 0.5 - side[1]))
        parts.append(Part(hand, _flat(_DARK, 0)))
    return parts


def _cushion(rng: np.random.Generator, colour: Colour) -> list[Part]:
    pattern = str(rng.choice(["checks", "checks", "stripes"]))
    cloth = Paint(pattern, colour, tint(colour, 1.7), scale=0.16, angle=0.785, shade=0.2, grain=6)
    dent = rng.uniform(0.05, 0.12)
    outline = (
        (0.0, 0.02), (0.25, dent), (0.5, dent), (0.75, dent), (1.0, 0.02), (1 - dent, 0.5),
        (1.0, 1.0), (0.75, 1 - dent / 2), (0.5, 1 - dent / 2), (0.25, 1 - dent / 2), (0.0, 1.0), (dent, 0.5),
    )  # fmt: skip
    return [Part(outline, cloth)]


def _clutter(rng: np.random.Generator, colour: Colour) -> list[Part]:
    """Something of no class: a torn shape, gaudy."""
    turns, radii = np.linspace(0, 2 * np.pi, 11, endpoint=False), rng.uniform(0.25, 0.5, 11)
    xs, ys = 0.5 + radii * np.cos(turns), 0.5 + radii * np.sin(turns)
    cloth = Paint("stripes", colour, tint(colour, 0.3), scale=0.2, angle=rng.uniform(0, 3), grain=14)
    return [Part(tuple(zip(xs.tolist(), ys.tolist(), strict=True)), cloth)]


_BRIGHT = ("red", "orange", "yellow", "green", "blue", "purple", "pink")

RECIPES: dict[str, Recipe] = {
    "building": Recipe(_building, ("red", "brown", "grey", "beige"), (0.5, 0.9), (0.5, 0.9)),
    "tree": Recipe(_tree, ("green", "orange"), (0.45, 0.75), (0.55, 0.85), tilt=4),
    "person": Recipe(_person, _BRIGHT, (0.38, 0.62), (0.38, 0.46), tilt=5),
    "car": Recipe(_car, ("red", "blue", "white", "black", "yellow", "green"), (0.2, 0.32), (1.9, 2.4)),
    "door": Recipe(_door, ("brown", "white", "green", "blue"), (0.55, 0.75), (0.42, 0.52)),
    "windowpane": Recipe(_windowpane, ("white", "brown"), (0.28, 0.42), (0.75, 1.2)),
    "table": Recipe(_table, ("brown", "beige"), (0.25, 0.38), (1.5, 2.3)),
    "chair": Recipe(_chair, ("red", "blue", "brown", "green", "black"), (0.34, 0.5), (0.5, 0.65), tilt=3),
    "lamp": Recipe(_lamp, ("yellow", "orange", "beige"), (0.5, 0.7), (0.3, 0.42)),
    "boat": Recipe(_boat, ("red", "brown", "blue", "white"), (0.32, 0.55), (0.8, 1.1), tilt=6),
    "ball": Recipe(_ball, _BRIGHT, (0.13, 0.22), (0.98, 1.02)),
    "clock": Recipe(_clock, ("black", "brown", "red"), (0.16, 0.26), (0.98, 1.02)),
    "cushion": Recipe(_cushion, ("red", "blue", "purple", "green", "orange"), (0.16, 0.26), (1.0, 1.5), tilt=15),
    "clutter": Recipe(_clutter, ("pink", "purple", "black"), (0.12, 0.25), (0.7, 1.5), tilt=40),
}
