"""Which classes of the generated world each classification data set of the sample has, and how they are named.

The layouts are the official ones; what the classes are is the world's. They are chosen so that a model that has
learnt from the sample's captions can know them: things, their colours, and places. Three sets ask for what no caption
says, and are expected to be near chance: CLEVR (how many things), KITTI (how far away the nearest car is) and MNIST
(grey pictures of 28 × 28 pixels).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import world
from benchmarks.data.sample_views import layouts
from benchmarks.data.sample_views.draw import Draw, group, portrait, traffic
from benchmarks.data.shapes import RECIPES

_SIDE = 96  # pixels; STL-10's and PCAM's own size
_PHOTO = ("a photo of a {}", "a picture of a {}")
_PLACE = ("{}", "a picture {}")


@dataclass(frozen=True)
class Category:
    """A class: its key on disk, the name for the prompts, and how its pictures come about."""

    key: str
    name: str
    draw: Draw


@dataclass(frozen=True)
class View:
    """A classification data set of the sample.

    Attributes:
        dataset: name of the data set in the suite.
        classes: C, in the order of their labels.
        templates: of its prompts.
        write: lays it out on disk.
        repeats: how many pictures are drawn for one that is to be scored.
    """

    dataset: str
    classes: tuple[Category, ...]
    templates: tuple[str, ...]
    write: Callable[[Path, layouts.Keys, layouts.Pictures], None]
    repeats: int = 1


def _things(things: Sequence[str], keys: Sequence[str], side: int = _SIDE) -> tuple[Category, ...]:
    """A class a thing."""
    return tuple(Category(key, thing, portrait(side, [thing])) for key, thing in zip(keys, things, strict=True))


def _by_colour(things: Sequence[str], keys: Callable[[int, str, str], str], side: int = _SIDE) -> tuple[Category, ...]:
    """A class for each thing in each of its colours; ``keys`` is told the number, the colour and the thing."""
    pairs = [(colour, thing) for thing in things for colour in RECIPES[thing].colours]
    return tuple(
        Category(keys(number, colour, thing), f"{colour} {thing}", portrait(side, [thing], colour))
        for number, (colour, thing) in enumerate(pairs)
    )


def _pet_key(number: int, colour: str, thing: str) -> str:
    """Capitals for one of the two species, as Oxford-IIIT Pet has them for cats."""
    key = f"{colour}_{thing}"
    return key.capitalize() if thing == "chair" else key


_LABELLED = sorted(world.THINGS, key=lambda thing: world.LABELS[thing])
_RAINBOW = ("blue", "green", "orange", "purple", "red", "yellow")
_COUNTRIES = {
    "BB": ("at the beach under the blue sky", portrait(_SIDE, place="shore", sky="blue")),
    "BO": ("at the beach under the orange sky", portrait(_SIDE, place="shore", sky="orange")),
    "MB": ("in the grass under the blue sky", portrait(_SIDE, place="meadow", sky="blue")),
    "MO": ("in the grass under the orange sky", portrait(_SIDE, place="meadow", sky="orange")),
    "RB": ("in a room with blue walls", portrait(_SIDE, place="room", wall="blue")),
    "RE": ("in a room with beige walls", portrait(_SIDE, place="room", wall="beige")),
    "RG": ("in a room with green walls", portrait(_SIDE, place="room", wall="green")),
    "RP": ("in a room with pink walls", portrait(_SIDE, place="room", wall="pink")),
    "RW": ("in a room with white walls", portrait(_SIDE, place="room", wall="white")),
    "SB": ("outdoors on a blue day", portrait(_SIDE, place="street", sky="blue")),
    "SO": ("outdoors on an orange day", portrait(_SIDE, place="street", sky="orange")),
}
"""Countries are places of a colour, called as the captions call them."""

_PETS = sorted(_by_colour(["chair", "cushion"], _pet_key), key=lambda category: category.key)

_STREET = (80, 52)  # width and height in pixels
_DISTANCES = (
    ("above_20", "a photo i took with a car in the distance", (22.0, 35.0)),
    ("below_20", "a photo i took with a car nearby", (9.0, 19.0)),
    ("below_8", "a photo of a car on a street", (3.5, 7.5)),
    ("no_vehicle", "a photo of a street", None),
)

VIEWS: tuple[View, ...] = (
    View(
        "imagenet",
        _things(_LABELLED, [f"n{world.LABELS[thing]:08d}" for thing in _LABELLED]),
        _PHOTO,
        layouts.write_imagenet,
    ),
    View(
        "sun397",
        tuple(
            Category(f"/{name[0]}/{name}", name, portrait(_SIDE, place=place))
            for name, place in (("beach", "shore"), ("meadow", "meadow"), ("room", "room"), ("street", "street"))
        ),
        _PHOTO,
        layouts.write_sun397,
    ),
    View(
        "aircraft",
        _by_colour(["boat", "car"], lambda _, colour, thing: f"{colour} {thing}"),
        _PHOTO,
        layouts.write_aircraft,
    ),
    View(
        "dtd",
        tuple(Category(colour, colour, portrait(_SIDE, colour=colour)) for colour in _RAINBOW),
        ("a photo of a {} thing", "a {} thing"),
        layouts.write_dtd,
    ),
    View("pets", tuple(_PETS), _PHOTO, layouts.write_pets),
    View("flowers", _by_colour(["ball"], lambda number, *_: str(number + 1)), _PHOTO, layouts.write_flowers),
    View(
        "gtsrb",
        _by_colour(["clock", "door", "windowpane"], lambda number, *_: f"{number:05d}", 48),
        _PHOTO,
        layouts.write_gtsrb,
    ),
    View("mnist", _things(world.THINGS[:10], "0123456789", 56), _PHOTO, layouts.write_mnist),
    View("stl10", _things(sorted(world.THINGS)[:10], sorted(world.THINGS)[:10]), _PHOTO, layouts.write_stl10),
    View(
        "kitti",
        tuple(Category(key, name, traffic(metres, *_STREET)) for key, name, metres in _DISTANCES),
        ("{}",),
        layouts.write_kitti,
        repeats=3,  # the default split is a random fifth
    ),
    View(
        "country211",
        tuple(Category(key, name, draw) for key, (name, draw) in _COUNTRIES.items()),
        _PLACE,
        layouts.write_country211,
    ),
    View(
        "pcam",
        tuple(
            Category(key, f"on a {floor} floor", portrait(_SIDE, place="room", floor=floor))
            for key, floor in (("no_tumor", "brown"), ("tumor", "grey"))
        ),
        _PLACE,
        layouts.write_pcam,
    ),
    View(
        "clevr",
        tuple(Category(f"count_{count}", str(count), group(count, 96, 64)) for count in sorted(range(3, 11), key=str)),
        ("a photo of {} things",),
        layouts.write_clevr,
    ),
    View(
        "sst2",
        (
            Category("negative", "inside a house", portrait(64, place="room")),
            Category("positive", "outdoors", portrait(64, place="street")),
        ),
        _PLACE,
        layouts.write_sst2,
    ),
)
"""The data sets that are classified, ImageNet's and those of Table 3; new ones come last."""
