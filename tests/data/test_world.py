"""The generated world keeps its own laws: what a scene says is what every view of it shows."""

import hashlib
import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from benchmarks.data import ade20k, shapes, textures, world
from benchmarks.data.world import Instance, Scene

scenes = st.builds(world.draw_scene, st.integers(0, 2**40), st.sampled_from(world.SPLITS), st.integers(0, 20_000))
few = settings(max_examples=25, deadline=None)


def square(category: str, left: float, top: float, right: float, bottom: float) -> Instance:
    """A single-coloured rectangle, whose colour is its label three times."""
    grey = (float(world.LABELS.get(category, 0)),) * 3
    paint = textures.Paint("plain", grey, grey, grain=0)
    return Instance(category, "grey", (shapes.Part(shapes.rectangle(left, top, right, bottom), paint),))


def simple_scene() -> Scene:
    """A sky of 12 × 8, before it a car, before that a person who hides a part of the car."""
    car, person = square("car", 2, 2, 8, 6), square("person", 5, 1, 7, 8)
    return Scene(12, 8, "test", (square("sky", -2, -2, 14, 10),), (car, person))


# A scene small enough to work out by hand


def test_hand_worked_scene() -> None:
    mask = world.semantic_mask(simple_scene())
    expected = np.full((8, 12), world.LABELS["sky"])
    expected[2:6, 2:8] = world.LABELS["car"]
    expected[1:8, 5:7] = world.LABELS["person"]
    np.testing.assert_array_equal(mask, expected)


def test_hand_worked_picture_shows_what_the_mask_says() -> None:
    image, mask = world.render(simple_scene())
    np.testing.assert_array_equal(image[:, :, 1], mask)


def test_hand_worked_visible_masks() -> None:
    car, person = world.visible_masks(simple_scene())
    assert person.sum() == 2 * 7
    assert car.sum() == 6 * 4 - 2 * 4
    assert car[2:6, 2:5].all()
    assert car[2:6, 7].all()


def test_box_is_that_of_the_whole_object() -> None:
    assert simple_scene().instances[0].box == (2, 2, 8, 6)
    assert square("sky", -2, -2, 14, 10).box == (-2, -2, 14, 10)


def test_covered_instance_has_an_empty_mask() -> None:
    scene = Scene(12, 8, "test", (), (square("car", 2, 2, 4, 4), square("person", 1, 1, 6, 6)))
    car, _ = world.visible_masks(scene)
    assert not car.any()


def test_instance_outside_the_frame_harms_nothing() -> None:
    scene = Scene(12, 8, "test", (square("sky", 0, 0, 12, 8),), (square("car", 40, 2, 50, 6),))
    image, mask = world.render(scene)
    assert set(np.unique(mask)) == {world.LABELS["sky"]}
    assert image.shape == (8, 12, 3)


def test_things_of_no_class_and_bare_frame_are_unlabelled() -> None:
    scene = Scene(12, 8, "test", (square("sky", 0, 0, 6, 8),), (square("clutter", 1, 1, 3, 3),))
    mask = world.semantic_mask(scene)
    assert not mask[1:3, 1:3].any()
    assert not mask[:, 6:].any()


# Laws of every scene


@few
@given(scenes)
def test_views_have_the_size_of_the_scene(scene: Scene) -> None:
    image, mask = world.render(scene)
    assert image.shape == (scene.height, scene.width, 3)
    assert mask.shape == (scene.height, scene.width)
    assert image.dtype == mask.dtype == np.uint8
    assert 160 <= min(mask.shape) <= max(mask.shape) <= 320
    np.testing.assert_array_equal(mask, world.semantic_mask(scene))


@few
@given(scenes)
def test_mask_values_are_unlabelled_or_classes_of_the_world(scene: Scene) -> None:
    present = set(np.unique(world.semantic_mask(scene)).tolist())
    assert present <= {0, *world.LABELS.values()}
    assert max(present) <= 150


@few
@given(scenes)
def test_visible_masks_are_disjoint_and_carry_their_label(scene: Scene) -> None:
    visible, mask = world.visible_masks(scene), world.semantic_mask(scene)
    assert visible.shape == (len(scene.instances), *mask.shape)
    assert visible.sum(axis=0).max() <= 1
    for instance, seen in zip(scene.instances, visible, strict=True):
        assert set(np.unique(mask[seen])) <= {instance.label}


def silhouette(instance: Instance, scene: Scene) -> npt.NDArray[np.bool_]:
    """Another way to rasterise: each polygon over the whole frame, 4 times finer, over half covered."""
    covered = np.zeros((scene.height, scene.width), bool)
    for part in instance.parts:
        fine = Image.new("L", (scene.width * 4, scene.height * 4))
        corners = [(4 * x - 0.5, 4 * y - 0.5) for x, y in part.outline]
        ImageDraw.Draw(fine).polygon(corners, fill=255)
        covered |= np.asarray(fine.reduce(4)) >= 128
    return covered


@settings(max_examples=10, deadline=None)
@given(scenes)
def test_mask_is_the_painters_order_of_the_layers(scene: Scene) -> None:
    expected = np.zeros((scene.height, scene.width), int)
    for layer in scene.layers:
        expected[silhouette(layer, scene)] = layer.label
    assert (expected != world.semantic_mask(scene)).mean() < 0.03  # the two differ along edges alone


@few
@given(scenes)
def test_background_leaves_no_seam(scene: Scene) -> None:
    """Where painted coverages do not add up to one, the black canvas would shine through as a line."""
    bare = np.ones((scene.height, scene.width))
    for layer in scene.background:
        for part in layer.parts:
            window, alpha = world._coverage(part.outline, scene.width, scene.height)
            bare[window] *= 1 - alpha
    assert bare.max() < 0.01
    assert (world.ownership(scene) >= 0).all()


@few
@given(scenes)
def test_nearer_things_stand_lower(scene: Scene) -> None:
    """Painter's order is the order of depth: feet on the ground come down the picture."""
    upright = [i for i in scene.instances if shapes.RECIPES[i.category].tilt == 0 and i.category != "ball"]
    feet = [instance.box[3] for instance in upright]
    assert feet == pytest.approx(sorted(feet), abs=1)


# Seeds


@few
@given(st.integers(0, 2**40), st.integers(0, 1000))
def test_seed_split_and_index_each_change_the_scene(seed: int, index: int) -> None:
    scene = world.draw_scene(seed, "training", index)
    assert scene == world.draw_scene(seed, "training", index)
    assert scene != world.draw_scene(seed + 1, "training", index)
    assert scene != world.draw_scene(seed, "validation", index)
    assert scene != world.draw_scene(seed, "training", index + 1)


def test_no_two_scenes_of_a_sample_are_alike() -> None:
    drawn = [world.draw_scene(s, split, i) for s in range(2) for split in world.SPLITS for i in range(20)]
    sizes = {(scene.width, scene.height) for scene in drawn}
    assert len({repr(scene) for scene in drawn}) == len(drawn)
    assert len(sizes) > 70


def test_another_process_draws_the_same_pixels() -> None:
    code = (
        "import hashlib; from benchmarks.data import world\n"
        "for i in range(4):\n"
        "    image, mask = world.render(world.draw_scene(5, 'training', i))\n"
        "    print(hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest())"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(set(runs[0].split())) == 4


# What a network needs to learn from it


@pytest.mark.parametrize(("split", "count"), [("training", 64), ("validation", 24)])
def test_default_sample_shows_every_class_and_some_unlabelled_pixels(split: str, count: int) -> None:
    images_with = dict.fromkeys([0, *world.LABELS.values()], 0)
    for index in range(count):
        for value in np.unique(world.semantic_mask(world.draw_scene(0, split, index))).tolist():
            images_with[value] += 1
    assert min(images_with.values()) >= 2, images_with


def test_labels_are_those_of_ade20k() -> None:
    names = ade20k.classes()
    assert {name: names.index(name) + 1 for name in world.LABELS} == world.LABELS


def test_every_labelled_thing_has_a_recipe_and_a_place() -> None:
    found = {category for setting in world._SETTINGS.values() for category in setting.stands}
    assert found | {"clutter"} == set(shapes.RECIPES)
    assert found <= set(world.LABELS)


@pytest.mark.parametrize("category", shapes.RECIPES)
def test_recipe_keeps_to_its_square_and_varies(category: str) -> None:
    recipe = shapes.RECIPES[category]
    drawn = [recipe.parts(np.random.default_rng(seed), shapes.COLOURS["red"]) for seed in range(6)]
    for parts in drawn:
        points = np.array([point for part in parts for point in part.outline])
        assert -0.3 <= points.min() <= points.max() <= 1.3
        assert np.ptp(points[:, 1]) > 0.5
    if category != "windowpane":  # its variety is that of size and colour
        assert len({repr(parts) for parts in drawn}) > 1


def test_place_puts_an_object_on_its_foot_in_its_size() -> None:
    rng = np.random.default_rng(0)
    parts = shapes.RECIPES["door"].parts(rng, shapes.COLOURS["brown"])
    placed = Instance("door", "brown", shapes.place(rng, parts, (50.0, 80.0), 20, 40, 0.0))
    assert placed.box == pytest.approx((40, 40, 60, 80))
    assert len({part.paint.seed for part in placed.parts}) == len(placed.parts)


@pytest.mark.parametrize("pattern", textures.PATTERNS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 60), (60, 1), (47, 83)])
def test_pattern_fills_any_box_with_colours_in_range(pattern: str, shape: tuple[int, int]) -> None:
    for angle in (0.0, 1.0):
        paint = textures.Paint(pattern, (250, 10, 20), (10, 240, 30), scale=7, angle=angle, seed=3)
        pixels = textures.fill(paint, *shape)
        assert pixels.shape == (*shape, 3)
        assert pixels.dtype == np.float32
        assert 0 <= pixels.min() <= pixels.max() <= 255
        np.testing.assert_array_equal(pixels, textures.fill(paint, *shape))


@pytest.mark.parametrize("pattern", sorted(set(textures.PATTERNS) - {"plain"}))
def test_pattern_uses_both_colours(pattern: str) -> None:
    paint = textures.Paint(pattern, (255, 0, 0), (0, 0, 255), scale=8, grain=0, seed=1)
    blue = textures.fill(paint, 80, 80)[:, :, 2]
    assert blue.min() < 100
    assert blue.max() > 150
    assert blue.std() > 15


def test_shade_darkens_downwards() -> None:
    pixels = textures.fill(textures.Paint("plain", (200,) * 3, (0,) * 3, shade=0.5, grain=0), 10, 4)
    assert pixels[0].mean() == pytest.approx(200)
    assert pixels[-1].mean() == pytest.approx(100)


# Scenes that are asked for


def geometry(scene: Scene) -> str:
    """Where everything is, to a hundredth of a pixel."""
    return repr([(layer.category, layer.colour, [round(edge, 2) for edge in layer.box]) for layer in scene.layers])


def test_scenes_of_earlier_versions_are_drawn_as_ever() -> None:
    scenes = [world.draw_scene(3, split, index) for split in world.SPLITS for index in range(4)]
    scenes += [world.draw_portrait(3, "training", i, thing, 64)[0] for i, thing in enumerate(world.THINGS)]
    digest = hashlib.sha256("".join(map(geometry, scenes)).encode()).hexdigest()
    assert digest[:16] == "42be8fd623e82a42"


def test_portrait_has_the_place_and_the_colour_that_are_asked_for() -> None:
    for index in range(6):
        scene, main = world.draw_portrait(0, "training", index, "person", 48, "shore", "pink")
        assert (scene.setting, main.category, main.colour) == ("shore", "person", "pink")


def test_things_are_found_where_the_settings_say() -> None:
    assert world.settings_of("car") == ("street",)
    assert world.settings_of("person") == ("room", "street", "shore", "meadow")


@few
@given(st.integers(0, 10_000), st.floats(3.5, 60))
def test_street_follows_one_perspective(index: int, away: float) -> None:
    """A thing's foot is on the road that its size says: both follow from its distance."""
    scene = world.draw_traffic(0, "training", index, (away, away), 80, 52)
    cars = [thing for thing in scene.instances if thing.category == "car"]
    assert min(world.metres_away(car, 80) for car in cars) == pytest.approx(away)
    feet = sorted((world.metres_away(car, 80), car.box[3]) for car in cars)
    assert [foot for _, foot in feet] == sorted((foot for _, foot in feet), reverse=True)
    horizon = feet[0][1] - world.EYE * world.FOCAL * 80 / away
    assert 0.4 * 52 - 0.01 <= horizon <= 0.48 * 52 + 0.01


@few
@given(st.integers(0, 10_000))
def test_nothing_hides_the_nearest_car(index: int) -> None:
    with_car = world.draw_traffic(0, "training", index, (5, 30), 96, 64)
    position = next(i for i, thing in reversed(list(enumerate(with_car.instances))) if thing.category == "car")
    alone = Scene(96, 64, "street", with_car.background, with_car.instances[: position + 1])
    np.testing.assert_array_equal(world.visible_masks(with_car)[position], world.visible_masks(alone)[position])


@few
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_group_is_wholly_seen(index: int, count: int) -> None:
    scene = world.draw_group(0, "training", index, count, 96, 64)
    assert len(scene.instances) == count
    assert {thing.category for thing in scene.instances} <= {"ball", "cushion"}
    alone = [world.visible_masks(Scene(96, 64, "room", (), (thing,)))[0].sum() for thing in scene.instances]
    assert world.visible_masks(scene).sum(axis=(1, 2)).tolist() == alone


def test_scenes_that_are_asked_for_depend_on_each_argument() -> None:
    def streets(seed: int = 0, split: str = "training", index: int = 0, width: int = 96) -> str:
        return geometry(world.draw_traffic(seed, split, index, (5, 9), width, 64))

    def groups(seed: int = 0, split: str = "training", index: int = 0, count: int = 4) -> str:
        return geometry(world.draw_group(seed, split, index, count, 96, 64))

    assert streets() == streets()
    assert len({streets(), streets(seed=1), streets(split="validation"), streets(index=1), streets(width=90)}) == 5
    assert groups() == groups()
    assert len({groups(), groups(seed=1), groups(split="validation"), groups(index=1), groups(count=5)}) == 5
