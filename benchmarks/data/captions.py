"""What there is to say about a scene of the generated world: titles and sentences as people write them.

Only what can be seen is said: things that are wholly covered or beyond the frame are left out.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.data.world import THINGS, Instance, Scene, visible_shares

_SEEN = 0.01
"""The share of the frame that a thing must fill to be spoken of."""

_PLACES: Mapping[str, Sequence[str]] = {
    "room": ("in a room", "inside a house", "in a room with {wall} walls", "on a {floor} floor"),
    "street": ("on a street", "by the road", "next to a grey road", "outdoors on a {sky} day"),
    "shore": ("at the shore", "by the sea", "on a beach", "at the beach under the {sky} sky"),
    "meadow": ("in a meadow", "on the green grass", "in front of mountains", "in the grass under the {sky} sky"),
}
_PLAIN_TITLES = ("{thing}", "a photo of {thing}", "{thing} {place}", "a picture of {thing} {place}")
_SENTENCES = (
    "there is {thing} {place}{beside}.",
    "{thing} {place}{beside}.",
    "this picture shows {thing}{beside}, {place}.",
    "you can see {thing} {place}{beside}.",
    "{place} there is {thing}{beside}.",
)
_ALONE = ("", " and nothing else", "")


class Caption(NamedTuple):
    """A short title and a longer description, both in lower case."""

    title: str
    description: str


def seen(scene: Scene) -> list[Instance]:
    """The things of a class that fill at least a hundredth of the frame, the largest to the eye first."""
    sizes = visible_shares(scene)
    order = np.argsort(-sizes, kind="stable")
    things = [(scene.instances[index], sizes[index]) for index in order]
    return [thing for thing, size in things if size >= _SEEN and thing.category in THINGS]


def name_thing(thing: Instance) -> str:
    """A thing with its colour and article: ``a red car``, ``an orange ball``, ``a person in blue``."""
    if thing.category == "person":
        return f"a person in {thing.colour}"
    article = "an" if thing.colour[0] in "aeiou" else "a"
    return f"{article} {thing.colour} {thing.category}"


def write_caption(scene: Scene, main: Instance, generator: np.random.Generator) -> Caption:
    """A title and a description of a scene in which ``main`` is what matters; the generator chooses the words.

    The description also says what stands beside it, and on which side.
    """
    words = {layer.category: layer.colour for layer in scene.background}
    thing, place = name_thing(main), _choose(generator, _PLACES[scene.setting]).format_map(words)
    others = [other for other in seen(scene) if other is not main]
    beside = _beside(main, others[0], generator) if others else _choose(generator, _ALONE)
    title = _choose(generator, _PLAIN_TITLES).format(thing=thing, place=place)
    return Caption(title, _choose(generator, _SENTENCES).format(thing=thing, place=place, beside=beside))


def write_sentences(scene: Scene, main: Instance, count: int, generator: np.random.Generator) -> tuple[str, ...]:
    """Descriptions as several people write them of the same scene, all different; ``count`` is 1 to 10."""
    said: dict[str, None] = {}
    while len(said) < count:
        said[write_caption(scene, main, generator).description] = None
    return tuple(said)


def caption(scene: Scene, generator: np.random.Generator) -> str:
    """One sentence about any scene, led by the largest visible thing, or by its background if there is none."""
    things = seen(scene)
    if not things:
        return f"a picture of the {scene.background[-1].category}."
    return write_caption(scene, things[0], generator).description


def _beside(main: Instance, other: Instance, generator: np.random.Generator) -> str:
    """Where another thing is, as seen from the main one."""
    distance = (other.box[0] + other.box[2] - main.box[0] - main.box[2]) / 2
    side = "right" if distance > 0 else "left"
    name = name_thing(other)
    return _choose(generator, (f" next to {name}", f" with {name} on the {side}", f" and {name} to its {side}"))


def _choose(generator: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(generator.integers(len(choices)))]
