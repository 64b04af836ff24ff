"""Captions say what can be seen, where it is, and nothing else; portraits show what they are of."""

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.data import captions, shapes, textures, world
from benchmarks.data.world import THINGS, Instance, Scene

few = settings(max_examples=25)
indices = st.integers(0, 10_000)


def square(category: str, colour: str, left: float, right: float, bottom: float = 8) -> Instance:
    paint = textures.Paint("plain", shapes.COLOURS[colour], shapes.COLOURS[colour])
    return Instance(category, colour, (shapes.Part(shapes.rectangle(left, 2, right, bottom), paint),))


def scene_of(*things: Instance) -> Scene:
    sky = square("sky", "blue", -2, 42, 12)
    return Scene(40, 10, "street", (sky, square("grass", "green", -2, 42), square("road", "grey", 0, 0)), things)


def portrait(index: int, split: str = "training", seed: int = 0) -> tuple[Scene, Instance]:
    return world.draw_portrait(seed, split, index, THINGS[index % len(THINGS)], 96)


def test_seen_are_the_visible_things_by_size() -> None:
    small, large = square("ball", "red", 1, 3), square("car", "blue", 10, 30)
    hidden, clutter = square("chair", "red", 12, 20), square("clutter", "pink", 33, 38)
    outside = square("tree", "green", 60, 70)
    assert captions.seen(scene_of(small, hidden, large, clutter, outside)) == [large, small]


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (square("car", "red", 0, 1), "a red car"),
        (square("ball", "orange", 0, 1), "an orange ball"),
        (square("person", "blue", 0, 1), "a person in blue"),
    ],
)
def test_thing_is_named_with_its_article_and_colour(thing: Instance, name: str) -> None:
    assert captions.name_thing(thing) == name


def test_neighbour_is_named_on_its_side() -> None:
    main, left, right = square("car", "red", 15, 25), square("tree", "green", 2, 8), square("door", "white", 30, 36)
    for other, side, wrong in ((left, "left", "right"), (right, "right", "left")):
        texts = {
            captions.write_caption(scene_of(main, other), main, np.random.default_rng(s)).description for s in range(30)
        }
        assert all("a red car" in text and captions.name_thing(other) in text for text in texts)
        assert any(side in text for text in texts)
        assert not any(wrong in text for text in texts)


def test_what_cannot_be_seen_is_not_said() -> None:
    main, hidden = square("car", "red", 10, 30), square("chair", "blue", 12, 20)
    for seed in range(30):
        said = captions.write_caption(scene_of(hidden, main), main, np.random.default_rng(seed))
        assert "chair" not in " ".join(said)


def test_caption_of_a_scene_is_led_by_its_largest_thing() -> None:
    small, large = square("ball", "red", 1, 3), square("car", "blue", 10, 30)
    assert "a blue car" in captions.caption(scene_of(small, large), np.random.default_rng(0))
    assert captions.caption(scene_of(), np.random.default_rng(0)) == "a picture of the road."


@few
@given(indices)
def test_caption_of_any_scene_is_one_clean_sentence(index: int) -> None:
    text = captions.caption(world.draw_scene(0, "training", index), np.random.default_rng(index))
    assert re.fullmatch(r"[a-z ,]+\.", text)
    assert "  " not in text
    assert " ," not in text


@few
@given(indices)
def test_title_and_description_name_the_main_thing(index: int) -> None:
    scene, main = portrait(index)
    title, description = captions.write_caption(scene, main, np.random.default_rng(index))
    assert captions.name_thing(main) in title
    assert captions.name_thing(main) in description
    assert len(description) > len(captions.name_thing(main))


def test_words_vary_with_the_generator_alone() -> None:
    scene, main = portrait(3)
    said = [captions.write_caption(scene, main, np.random.default_rng(seed)) for seed in range(40)]
    assert len(set(said)) > 10
    assert said[7] == captions.write_caption(scene, main, np.random.default_rng(7))


def test_several_people_say_different_things_of_the_same_scene() -> None:
    for index in range(len(THINGS)):
        scene, main = portrait(index)
        said = captions.write_sentences(scene, main, 10, np.random.default_rng(index))
        assert len(set(said)) == 10
        assert all(captions.name_thing(main) in text for text in said)
        assert said[:5] == captions.write_sentences(scene, main, 5, np.random.default_rng(index))


# Portraits


@few
@given(indices)
def test_portrait_shows_its_thing(index: int) -> None:
    scene, main = portrait(index)
    assert main in scene.instances
    assert main.category == THINGS[index % len(THINGS)]
    visible = world.visible_masks(scene)[scene.instances.index(main)]
    assert visible.mean() > 0.01
    columns = np.flatnonzero(visible.any(axis=0))
    assert 0.2 * 96 < columns.mean() < 0.8 * 96


def test_the_thing_of_most_portraits_is_the_largest_in_them() -> None:
    led = Counter(captions.seen(scene)[0] is main for scene, main in map(portrait, range(130)))
    assert led[True] > 100


@few
@given(indices)
def test_portrait_depends_on_each_argument(index: int) -> None:
    scene, _ = portrait(index)
    assert scene == portrait(index)[0]
    assert scene != portrait(index + len(THINGS))[0]
    assert scene != portrait(index, "validation")[0]
    assert scene != portrait(index, seed=1)[0]
    assert world.paint(scene).shape == (96, 96, 3)


def test_things_are_the_countable_classes() -> None:
    assert len(THINGS) == 13
    assert set(THINGS) == set(shapes.RECIPES) - {"clutter"}
