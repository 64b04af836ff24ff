"""A small generated world: scenes of textured backgrounds and objects, drawn without any downloaded data.

A ``Scene`` says what is there; everything else is a view of it. The image, the semantic mask and the
visible part of each instance are here. Boxes, instance masks, captions and class folders follow from the
same fields.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import ceil, floor

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from benchmarks.data.shapes import COLOURS, RECIPES, Part, Point, jitter, place, rectangle, tint
from benchmarks.data.textures import Paint, fill

LABELS: dict[str, int] = {
    "wall": 1, "building": 2, "sky": 3, "floor": 4, "tree": 5, "road": 7, "windowpane": 9, "grass": 10,
    "person": 13, "door": 15, "table": 16, "mountain": 17, "chair": 20, "car": 21, "water": 22, "lamp": 37,
    "cushion": 40, "sand": 47, "boat": 77, "ball": 120, "clock": 149,
}  # fmt: skip
"""The mask value that ADE20K gives each category of this world. What is not named here is unlabelled: 0."""

SPLITS = ("training", "validation")
THINGS = tuple(category for category in RECIPES if category in LABELS)
"""The countable categories."""

EYE = 1.65  # metres above the road: where a driver's camera is, as KITTI's
FOCAL = 0.58  # of that camera, as a share of the picture's width, as KITTI's
_TALL = {"car": 1.5, "person": 1.7, "tree": 5.0, "building": 9.0}  # metres
_BESIDE = {"person": (6, 30), "tree": (10, 50), "building": (25, 60)}  # metres at which they stand by the street

_OVERSAMPLING = 2
_OVERHANG = 2  # pixels by which a background reaches beyond the frame or beneath the next one: no seam shows


@dataclass(frozen=True)
class Instance:
    """One object, or one stretch of background: what it is, its colour by name, and its painted polygons."""

    category: str
    colour: str
    parts: tuple[Part, ...]

    @property
    def label(self) -> int:
        """The mask value, 0 for things of no class."""
        return LABELS.get(self.category, 0)

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels, of the whole object: covered parts and those beyond the
        frame too.
        """
        xs, ys = zip(*(point for part in self.parts for point in part.outline), strict=True)
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True)
class Scene:
    """What there is to see, from the farthest to the nearest; ``width`` and ``height`` are in pixels.

    ``background`` is stuff that fills the frame, ``instances`` are the countable things before it.
    """

    width: int
    height: int
    setting: str
    background: tuple[Instance, ...]
    instances: tuple[Instance, ...]

    @property
    def layers(self) -> tuple[Instance, ...]:
        """Background and instances in the order in which they are painted."""
        return self.background + self.instances


def ownership(scene: Scene) -> npt.NDArray[np.int32]:
    """(H, W): for each pixel the index into ``scene.layers`` of the layer seen there, -1 where there is
    none.
    """
    owner = np.full((scene.height, scene.width), -1, np.int32)
    for index, layer in enumerate(scene.layers):
        for part in layer.parts:
            window, alpha = _coverage(part.outline, scene.width, scene.height)
            owner[window][alpha >= 0.5] = index
    return owner


def semantic_mask(scene: Scene) -> npt.NDArray[np.uint8]:
    """(H, W) values as in ADE20K's masks: 0 unlabelled, else ``LABELS``."""
    labels = np.array([layer.label for layer in scene.layers] + [0], np.uint8)
    return labels[ownership(scene)]


def visible_masks(scene: Scene) -> npt.NDArray[np.bool_]:
    """(N, H, W): which pixels show each of the N ``instances``. All False where one is wholly covered."""
    indices = np.arange(len(scene.background), len(scene.layers))
    visible: npt.NDArray[np.bool_] = ownership(scene)[None] == indices[:, None, None]
    return visible


def visible_shares(scene: Scene) -> npt.NDArray[np.float64]:
    """(N,): the share of the frame, 0 to 1, that each of the N ``instances`` is seen in."""
    pixels = np.bincount(ownership(scene).ravel() + 1, minlength=len(scene.layers) + 1)
    return pixels[1 + len(scene.background) :] / (scene.height * scene.width)


def render(scene: Scene) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The picture, RGB (H, W, 3), and its semantic mask, (H, W)."""
    return paint(scene), semantic_mask(scene)


def paint(scene: Scene) -> npt.NDArray[np.uint8]:
    """The picture alone, RGB (H, W, 3)."""
    canvas = np.zeros((3, scene.height, scene.width), np.float32).transpose(1, 2, 0)  # planes in memory, as paints are
    for layer in scene.layers:
        for part in layer.parts:
            window, alpha = _coverage(part.outline, scene.width, scene.height)
            if alpha.size:
                below, pixels = canvas[window], fill(part.paint, *alpha.shape)
                pixels -= below
                pixels *= alpha[:, :, None]
                below += pixels
    return np.ascontiguousarray(np.rint(canvas), np.uint8)


@lru_cache(maxsize=256)  # the picture, the mask and the caption of a scene all ask for the same polygons
def _coverage(
    outline: tuple[Point, ...], width: int, height: int
) -> tuple[tuple[slice, slice], npt.NDArray[np.float32]]:
    """Rows and columns of the frame that a polygon touches, and how much of each pixel there it covers, 0
    to 1.
    """
    xs, ys = zip(*outline, strict=True)
    left, top = min(max(floor(min(xs)), 0), width), min(max(floor(min(ys)), 0), height)
    right, bottom = min(max(ceil(max(xs)), left), width), min(max(ceil(max(ys)), top), height)
    window = slice(top, bottom), slice(left, right)
    if right == left or bottom == top:
        return window, np.zeros((bottom - top, right - left), np.float32)
    fine = Image.new("L", ((right - left) * _OVERSAMPLING, (bottom - top) * _OVERSAMPLING))
    corners = [((x - left) * _OVERSAMPLING - 0.5, (y - top) * _OVERSAMPLING - 0.5) for x, y in outline]
    ImageDraw.Draw(fine).polygon(corners, fill=255)
    covered = np.asarray(fine.reduce(_OVERSAMPLING), np.float32)
    return window, covered / np.float32(255)


@dataclass(frozen=True)
class _Setting:
    """A kind of place.

    ``background`` paints it for a width, a height and a horizon (pixels from the top). ``stands`` says
    which things are found there, and where the foot of each is: 0 at the horizon, 1 at the lower edge, -1
    at the upper.
    """

    background: Callable[[np.random.Generator, int, int, float], list[Instance]]
    horizon: tuple[float, float]
    stands: dict[str, tuple[float, float]]


def draw_scene(seed: int, split: str, index: int) -> Scene:
    """Invent a scene. It depends on these three alone, not on how many others are drawn.

    Args:
        seed: any number from 0.
        split: one of ``SPLITS``.
        index: from 0.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), index)))
    width, height = (int(side) for side in rng.integers(160, 321, 2))
    name = _TURNS[index % len(_TURNS)]
    setting = _SETTINGS[name]
    horizon = rng.uniform(*setting.horizon) * height
    background = setting.background(rng, width, height, horizon)
    count = int(rng.integers(4, 8))
    chosen = _choose(rng, list(setting.stands), count)
    if rng.random() < 0.6:
        chosen.append("clutter")
    placed = [_put(rng, category, setting, width, height, horizon) for category in chosen]
    placed.sort(key=lambda pair: pair[0])
    return Scene(width, height, name, tuple(background), tuple(instance for _, instance in placed))


def draw_portrait(
    seed: int,
    split: str,
    index: int,
    category: str,
    side: int,
    place: str | None = None,
    colour: str | None = None,
) -> tuple[Scene, Instance]:
    """Invent a small square scene around one thing, and say which of its instances that is.

    It stands near the middle, larger than in other scenes, in a setting where it is found, and the one or two other
    things leave most of it to be seen. Everything depends on the arguments alone.

    Args:
        seed: any number from 0.
        split: one of ``SPLITS``.
        index: from 0.
        category: one of ``THINGS``.
        side: width and height in pixels.
        place: the setting, one of ``settings_of(category)``. Default: any of them.
        colour: one of the category's. Default: any of them.
    """
    key = (SPLITS.index(split), index, THINGS.index(category), side)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
    (name,) = _choose(rng, settings_of(category) if place is None else (place,))
    setting = _SETTINGS[name]
    horizon = rng.uniform(*setting.horizon) * side
    background = setting.background(rng, side, side, horizon)
    recipe = RECIPES[category]
    zoom = min(rng.uniform(0.6, 0.85) / max(recipe.height), 0.85 / (max(recipe.height) * max(recipe.aspect)))
    depth, main = _put(rng, category, setting, side, side, horizon, across=(0.35, 0.65), zoom=zoom, colour=colour)
    others = _choose(rng, [*setting.stands, "clutter"], int(rng.integers(1, 3)))
    placed = [_put(rng, other, setting, side, side, horizon) for other in others if other != category]
    placed = [pair for pair in placed if _overlap(main.box, pair[1].box) < 0.25]
    placed = sorted([*placed, (depth, main)], key=lambda pair: pair[0])
    return Scene(side, side, name, tuple(background), tuple(instance for _, instance in placed)), main


def draw_traffic(
    seed: int, split: str, index: int, metres: tuple[float, float] | None, width: int, height: int
) -> Scene:
    """Invent a street as a driver sees it: how large a thing is and where it stands follow from its distance.

    Args:
        seed: any number from 0.
        split: one of ``SPLITS``.
        index: from 0.
        metres: the range of the nearest car's distance, from 3.5, or None for a street without cars. That car stands
            near the middle, and nothing hides it.
        width: in pixels.
        height: in pixels; at least half the width.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), index, width, height, 0)))
    horizon = rng.uniform(0.4, 0.48) * height
    background = _street(rng, width, height, horizon)

    def stand(category: str, away: float, across: tuple[float, float]) -> tuple[float, Instance]:
        scale = FOCAL * width / away  # pixels a metre
        return away, _build(rng, category, scale * _TALL[category], horizon + scale * EYE, width, across)

    placed = []
    if metres is not None:
        placed.append(stand("car", float(rng.uniform(*metres)), (0.4, 0.6)))
        if rng.random() < 0.4:
            placed.append(stand("car", placed[0][0] + float(rng.uniform(4, 30)), (0.2, 0.8)))
    for _ in range(int(rng.integers(2, 5))):
        (category,) = _choose(rng, list(_BESIDE))
        other = stand(category, float(rng.uniform(*_BESIDE[category])), (0.05, 0.95))
        if all(other[0] > away or _apart(thing, other[1]) for away, thing in placed):
            placed.append(other)
    placed.sort(key=lambda pair: -pair[0])
    return Scene(width, height, "street", tuple(background), tuple(thing for _, thing in placed))


def metres_away(thing: Instance, width: int) -> float:
    """How far from the driver a car, person, tree or building of a scene of :func:`draw_traffic` stands.

    It follows from how high the thing is drawn; ``width`` is the scene's in pixels.
    """
    return FOCAL * width * _TALL[thing.category] / (thing.box[3] - thing.box[1])


def draw_group(seed: int, split: str, index: int, count: int, width: int, height: int) -> Scene:
    """Invent a room with balls and cushions on its floor, all of which are wholly seen.

    Args:
        seed: any number from 0.
        split: one of ``SPLITS``.
        index: from 0.
        count: how many things, 1 to 12.
        width: in pixels; 1.5 times the height or more, so that there is room for them.
        height: in pixels.
    """
    key = (SPLITS.index(split), index, width, height, count)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
    horizon = rng.uniform(0.25, 0.35) * height
    background = _room(rng, width, height, horizon)
    things: list[Instance] = []
    while len(things) < count:
        tall, foot = rng.uniform(0.1, 0.16) * height, rng.uniform(horizon + 0.1 * height, 0.97 * height)
        (category,) = _choose(rng, ("ball", "cushion"))
        thing = _build(rng, category, tall, foot, width, (0.1, 0.9))
        left, top, right, bottom = thing.box
        inside = left >= 0 and top >= 0 and right <= width and bottom <= height
        if inside and all(_apart(thing, other) for other in things):
            things.append(thing)
    return Scene(width, height, "room", tuple(background), tuple(things))


def settings_of(category: str) -> tuple[str, ...]:
    """Where a thing is found."""
    return tuple(name for name, setting in _SETTINGS.items() if category in setting.stands)


def _choose(rng: np.random.Generator, names: Sequence[str], count: int = 1) -> list[str]:
    """Some of these names, with repetitions: what ``rng.choice`` draws, which takes ten times as long."""
    return [names[index] for index in rng.integers(len(names), size=count)]


def _apart(thing: Instance, other: Instance) -> bool:
    """Whether the boxes of two things leave a pixel between them, so that not even their edges share one."""
    left, top, right, bottom = thing.box
    return _overlap((left - 1, top - 1, right + 1, bottom + 1), other.box) == 0


def _overlap(box: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """The share of a box that another one covers."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(width, 0.0) * max(height, 0.0) / ((box[2] - box[0]) * (box[3] - box[1]))


def _put(
    rng: np.random.Generator,
    category: str,
    setting: _Setting,
    width: int,
    height: int,
    horizon: float,
    across: tuple[float, float] = (0.05, 0.95),
    zoom: float = 1.0,
    colour: str | None = None,
) -> tuple[float, Instance]:
    """One object in its place, with its depth: larger is nearer.

    ``across`` is where its foot may stand as a share of the width, ``zoom`` enlarges it.
    """
    recipe = RECIPES[category]
    depth = rng.uniform(*setting.stands.get(category, (0.2, 0.9)))
    foot = horizon + depth * (height - horizon if depth > 0 else horizon)
    nearness = 0.75 + 0.4 * max(depth, 0.0)
    tall = zoom * rng.uniform(*recipe.height) * min(width, height) * nearness
    return depth, _build(rng, category, tall, foot, width, across, colour)


def _build(
    rng: np.random.Generator,
    category: str,
    tall: float,
    foot: float,
    width: int,
    across: tuple[float, float],
    colour: str | None = None,
) -> Instance:
    """One object, ``tall`` pixels high, that stands on row ``foot`` somewhere ``across`` the width."""
    recipe = RECIPES[category]
    wide = tall * rng.uniform(*recipe.aspect)
    (colour,) = _choose(rng, recipe.colours if colour is None else (colour,))
    parts = recipe.parts(rng, jitter(rng, COLOURS[colour]))
    tilt = np.radians(rng.uniform(-recipe.tilt, recipe.tilt))
    base = float(rng.uniform(*across) * width), float(foot)
    return Instance(category, colour, place(rng, parts, base, wide, tall, tilt))


def _strip(rng: np.random.Generator, category: str, colour: str, outline: tuple[Point, ...], paint: Paint) -> Instance:
    """A stretch of background; its colours are jittered and its paint gets a seed."""
    fresh = replace(
        paint,
        first=jitter(rng, paint.first, 6),
        second=jitter(rng, paint.second, 6),
        seed=int(rng.integers(2**32)),
    )
    return Instance(category, colour, (Part(outline, fresh),))


def _band(top: float, width: int, bottom: float) -> tuple[Point, ...]:
    """The whole width of the frame from ``top`` to a little below ``bottom``."""
    return rectangle(-_OVERHANG, top - _OVERHANG * (top == 0), width + _OVERHANG, bottom + _OVERHANG)


def _sky(rng: np.random.Generator, width: int, bottom: float) -> Instance:
    """Blue with clouds, or the orange of an evening."""
    evening = rng.random() < 0.2
    first, second = ((95, 110, 170), (250, 190, 130)) if evening else ((90, 150, 225), (235, 242, 250))
    paint = Paint("clouds", first, second, scale=rng.uniform(20, 40), grain=2)
    return _strip(rng, "sky", "orange" if evening else "blue", _band(0, width, bottom), paint)


def _mountain(rng: np.random.Generator, width: int, foot: float) -> Instance:
    """A jagged ridge of grey or bluish rock."""
    xs = np.linspace(-0.1, 1.1, 9) * width
    ys = foot * (1 - rng.uniform(0.15, 0.75, 9))
    ridge = tuple(zip(xs.tolist(), ys.tolist(), strict=True))
    paint = Paint("noise", (70, 75, 92), (178, 178, 188), scale=22, shade=0.25, grain=8)
    return _strip(
        rng,
        "mountain",
        "grey",
        ((-0.1 * width, foot + _OVERHANG), *ridge, (1.1 * width, foot + _OVERHANG)),
        paint,
    )


def _street(rng: np.random.Generator, width: int, height: int, horizon: float) -> list[Instance]:
    grass = Paint("blades", (40, 85, 30), (135, 175, 75), scale=9, grain=9)
    asphalt = Paint("noise", (85, 85, 90), (118, 116, 118), scale=5, grain=10)
    middle, far, near = rng.uniform(0.3, 0.7) * width, 0.06 * width, rng.uniform(0.35, 0.7) * width
    road = (
        (middle - far, horizon),
        (middle + far, horizon),
        (middle + near, height + _OVERHANG),
        (middle - near, height + _OVERHANG),
    )
    return [
        _sky(rng, width, horizon),
        _strip(rng, "grass", "green", _band(horizon, width, height), grass),
        _strip(rng, "road", "grey", road, asphalt),
    ]


def _meadow(rng: np.random.Generator, width: int, height: int, horizon: float) -> list[Instance]:
    grass = Paint("blades", (45, 90, 32), (150, 180, 80), scale=rng.uniform(7, 12), grain=9)
    return [
        _sky(rng, width, horizon),
        _mountain(rng, width, horizon),
        _strip(rng, "grass", "green", _band(horizon, width, height), grass),
    ]


def _shore(rng: np.random.Generator, width: int, height: int, horizon: float) -> list[Instance]:
    water = Paint("ripples", (35, 85, 125), (100, 160, 190), scale=rng.uniform(6, 10), grain=5)
    sand = Paint("noise", (196, 168, 118), (232, 210, 165), scale=7, grain=11)
    left, right = (horizon + rng.uniform(0.5, 0.75) * (height - horizon) for _ in range(2))
    low, far = height + _OVERHANG, width + _OVERHANG
    beach = (
        (-_OVERHANG, left),
        (width / 2, (left + right) / 2 + 6),
        (far, right),
        (far, low),
        (-_OVERHANG, low),
    )
    scene = [_sky(rng, width, horizon)]
    if rng.random() < 0.5:
        scene.append(_mountain(rng, width, horizon))
    scene.append(_strip(rng, "water", "blue", _band(horizon, width, height), water))
    return [*scene, _strip(rng, "sand", "beige", beach, sand)]


def _room(rng: np.random.Generator, width: int, height: int, horizon: float) -> list[Instance]:
    (colour,) = _choose(rng, ("beige", "white", "green", "pink", "blue"))
    red, green, blue = COLOURS[colour]
    pale = 0.5 * red + 110, 0.5 * green + 110, 0.5 * blue + 110
    paper = Paint("stripes", pale, tint(pale, 0.88), scale=rng.uniform(10, 24), shade=0.1, grain=3)
    wooden = rng.random() < 0.6
    planks = Paint("planks", (165, 115, 70), (95, 62, 38), scale=rng.uniform(14, 22), grain=6)
    tiles = Paint("tiles", (205, 195, 185), (120, 105, 100), scale=rng.uniform(18, 30), grain=5)
    return [
        _strip(rng, "wall", colour, _band(0, width, horizon), paper),
        _strip(rng, "floor", "brown" if wooden else "grey", _band(horizon, width, height),
               planks if wooden else tiles),
    ]  # fmt: skip


_SETTINGS: dict[str, _Setting] = {
    "room": _Setting(
        _room,
        (0.5, 0.65),
        {"windowpane": (-0.45, -0.2), "clock": (-0.6, -0.4), "door": (0.0, 0.05), "table": (0.25, 0.8),
         "chair": (0.25, 0.9), "lamp": (0.1, 0.5), "cushion": (0.5, 0.95), "person": (0.3, 0.95),
         "ball": (0.5, 0.95)},
    ),
    "street": _Setting(
        _street,
        (0.4, 0.55),
        {"building": (0.02, 0.2), "tree": (0.05, 0.6), "car": (0.35, 0.95), "person": (0.3, 0.95)},
    ),
    "shore": _Setting(
        _shore,
        (0.35, 0.5),
        {"boat": (0.12, 0.5), "person": (0.75, 0.97), "ball": (0.75, 0.97), "tree": (0.75, 0.95)},
    ),
    "meadow": _Setting(
        _meadow,
        (0.4, 0.55),
        {"building": (0.02, 0.2), "tree": (0.05, 0.6), "person": (0.3, 0.95), "ball": (0.5, 0.97)},
    ),
}  # fmt: skip

_TURNS = ("room", "street", "shore", "room", "meadow")  # a handful of scenes shows every setting
