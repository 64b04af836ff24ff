"""Pictures of the generated world that show what a class asks for."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from benchmarks.data import world
from benchmarks.data.shapes import RECIPES

if TYPE_CHECKING:
    from benchmarks.data.world import Scene

Draw = Callable[[int, int], "Scene"]
"""Invents a scene for a seed and an index."""

TRIES = 1_000
"""How many indices a scene may use up, one after the other, until it is as it was asked for."""


def portrait(
    side: int,
    things: Sequence[str] = world.THINGS,
    colour: str | None = None,
    place: str | None = None,
    **background: str,
) -> Draw:
    """A way to draw scenes around one thing.

    Args:
        side: width and height in pixels.
        things: one of these that is found in the place and comes in the colour.
        colour: of the thing. Default: any.
        place: the setting. Default: any.
        background: colours that stretches of the background shall have: ``sky="orange"``.
    """
    fitting = [
        thing
        for thing in things
        if (colour is None or colour in RECIPES[thing].colours) and (place is None or place in world.settings_of(thing))
    ]

    def draw(seed: int, index: int) -> "Scene":
        thing = fitting[index // TRIES % len(fitting)]
        for attempt in range(index, index + TRIES):
            scene, _ = world.draw_portrait(seed, "validation", attempt, thing, side, place, colour)
            if background.items() <= {layer.category: layer.colour for layer in scene.background}.items():
                return scene
        raise AssertionError(f"no {thing} before {background} in {TRIES} scenes")

    return draw


def traffic(metres: tuple[float, float] | None, width: int, height: int) -> Draw:
    """A way to draw streets whose nearest car is that far away."""
    return lambda seed, index: world.draw_traffic(seed, "validation", index, metres, width, height)


def group(count: int, width: int, height: int) -> Draw:
    """A way to draw that many things on a floor."""
    return lambda seed, index: world.draw_group(seed, "validation", index, count, width, height)
