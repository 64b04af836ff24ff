"""Views: every field acts, randomness is torch's alone, and boxes say where a view lies in the enclosing crop."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from pretrain.views import ViewFields, Views, to_rgb
from tests.pretrain.sections import view_fields, view_section

PLAIN: dict[str, Any] = {
    "jitter_probability": 0,
    "grey_probability": 0,
    "blur_probability": 0,
    "solarise_probability": 0,
}


def picture(width: int = 90, height: int = 70) -> Image.Image:
    """Smooth colours: red grows to the right, green downwards, blue is a bump."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    bump = np.exp(-8 * ((rows - 0.5) ** 2 + (columns - 0.5) ** 2))
    return Image.fromarray((255 * np.stack([columns, rows, bump], axis=-1)).astype(np.uint8))


def draw(seed: int = 0, count: int = 2, size: int = 32, **fields: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return Views(view_fields(**fields), count, size)(picture())


def test_shapes_and_types() -> None:
    made = draw(count=3)
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in made.items()} == {
        "views": ((3, 3, 32, 32), torch.uint8)
    }
    made = draw(count=3, teacher_view="enclosing")
    assert (made["enclosing"].shape, made["enclosing"].dtype) == ((3, 32, 32), torch.uint8)
    assert (made["boxes"].shape, made["boxes"].dtype) == ((3, 4), torch.float32)


def test_every_field_must_be_said() -> None:
    """Values are in the configs alone: a default here would be one of a method's."""
    for name in view_section():
        with pytest.raises(ValidationError, match=name):
            ViewFields.model_validate({key: value for key, value in view_section().items() if key != name})


@pytest.mark.parametrize(
    ("base", "changed"),
    [
        ({}, {"crop_scale": (0.9, 1.0)}),
        ({}, {"crop_ratio": (2.0, 2.0)}),
        ({}, {"interpolation": "bilinear"}),
        ({}, {"flip_probability": 1}),
        ({}, {"jitter_probability": 1}),
        ({"jitter_probability": 1}, {"brightness": 0}),
        ({"jitter_probability": 1}, {"contrast": 0}),
        ({"jitter_probability": 1}, {"saturation": 0}),
        ({"jitter_probability": 1}, {"hue": 0}),
        ({}, {"grey_probability": 1}),
        ({"blur_sigma": (4.0, 4.0)}, {"blur_probability": 1}),
        ({"blur_probability": 1}, {"blur_sigma": (5.0, 6.0)}),
        ({}, {"solarise_probability": 1}),
        ({"solarise_probability": 1}, {"solarise_threshold": 30}),
    ],
)
def test_every_field_changes_the_views(base: dict[str, Any], changed: dict[str, Any]) -> None:
    before = draw(**{**PLAIN, **base})["views"]
    assert not torch.equal(before, draw(**{**PLAIN, **base, **changed})["views"])


def test_grey_solarise_and_blur_do_what_they_say() -> None:
    plain = draw(**PLAIN)["views"]
    grey = draw(**{**PLAIN, "grey_probability": 1})["views"]
    assert torch.equal(grey[:, 0], grey[:, 1])
    assert torch.equal(grey[:, 0], grey[:, 2])
    inverted = draw(**{**PLAIN, "solarise_probability": 1, "solarise_threshold": 100})["views"]
    assert inverted.max() <= 155
    assert torch.equal(inverted[plain < 100], plain[plain < 100])
    blurred = draw(**{**PLAIN, "blur_probability": 1, "blur_sigma": (4.0, 4.0)})["views"]
    assert blurred.float().diff(dim=-1).abs().mean() < plain.float().diff(dim=-1).abs().mean()


def test_a_probability_is_that_of_a_single_view() -> None:
    torch.manual_seed(0)
    views = Views(view_fields(**{**PLAIN, "grey_probability": 0.3}), 200, 4)(picture())["views"]
    grey = (views[:, 0] == views[:, 1]).all(dim=-1).all(dim=-1).float().mean()
    assert 0.2 < grey < 0.4


def test_two_views_of_an_image_differ() -> None:
    first, second = draw()["views"]
    assert not torch.equal(first, second)


def test_only_torch_is_asked_for_randomness() -> None:
    first = draw(seed=3, teacher_view="enclosing", flip_probability=0.5)
    random.seed(9)
    np.random.seed(9)
    states = random.getstate(), str(np.random.get_state())
    again = draw(seed=3, teacher_view="enclosing", flip_probability=0.5)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert random.getstate() == states[0]
    assert str(np.random.get_state()) == states[1]
    assert not torch.equal(first["views"], draw(seed=4, flip_probability=0.5)["views"])


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_crops_lie_in_the_enclosing_crop_and_touch_its_sides(seed: int, count: int) -> None:
    boxes = draw(seed, count, 8, teacher_view="enclosing", flip_probability=0.5)["boxes"]
    left, right = boxes[:, [0, 2]].amin(1), boxes[:, [0, 2]].amax(1)
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert (boxes[:, 1] < boxes[:, 3]).all()
    assert left.min() == boxes[:, 1].min() == 0
    assert right.max() == boxes[:, 3].max() == 1


@settings(max_examples=25)
@given(st.integers(0, 2**31))
def test_cropping_the_enclosing_picture_by_a_box_gives_the_view(seed: int) -> None:
    """The view's colours are smooth, so sampling the enclosing picture at its box must give it back."""
    made = draw(seed, 2, 32, **PLAIN, teacher_view="enclosing", flip_probability=0.5)
    for view, (left, top, right, bottom) in zip(made["views"], made["boxes"].tolist(), strict=True):
        centres = (torch.arange(32) + 0.5) / 32
        xs, ys = 2 * (left + (right - left) * centres) - 1, 2 * (top + (bottom - top) * centres) - 1
        grid = torch.stack([xs.expand(32, 32), ys[:, None].expand(32, 32)], dim=-1)
        sampled = torch.nn.functional.grid_sample(
            made["enclosing"][None].float(), grid[None], align_corners=False, padding_mode="border"
        )[0]
        assert (sampled - view.float()).abs().mean() < 4


def test_flipped_view_exchanges_left_and_right() -> None:
    made = draw(**PLAIN, teacher_view="enclosing", flip_probability=1)
    assert (made["boxes"][:, 0] > made["boxes"][:, 2]).all()
    assert (made["views"][:, 0, :, 0].float() > made["views"][:, 0, :, -1].float()).all(), "red no longer grows"


def test_enclosing_crop_keeps_its_colours() -> None:
    plain = draw(seed=5, teacher_view="enclosing", **PLAIN)
    coloured = draw(seed=5, teacher_view="enclosing", **{**PLAIN, "solarise_probability": 1})
    assert torch.equal(plain["enclosing"], coloured["enclosing"])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
def test_any_mode_becomes_rgb(mode: str) -> None:
    source = Image.new("L", (40, 30), 200) if mode in ("I;16", "F", "I") else picture(40, 30)
    image = Image.fromarray(np.full((30, 40), 51_200, np.uint16)) if mode == "I;16" else source.convert(mode)
    assert image.mode == mode
    converted = to_rgb(image)
    assert converted.mode == "RGB"
    assert converted.size == (40, 30)
    assert Views(view_fields(), 1, 16)(image)["views"].shape == (1, 3, 16, 16)


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    ramp = np.arange(0, 65_536, 256, dtype=np.uint16)[None].repeat(4, axis=0)
    assert np.array_equal(np.asarray(to_rgb(Image.fromarray(ramp)))[0, :, 1], np.arange(256))


def test_exif_orientation_is_not_applied() -> None:
    image = picture(40, 30)
    image.getexif()[0x0112] = 6
    assert to_rgb(image).size == (40, 30)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (300, 2), (31, 33)])
def test_any_size_of_image(size: tuple[int, int]) -> None:
    made = Views(view_fields(teacher_view="enclosing"), 2, 16)(picture(*size))
    assert made["views"].shape == (2, 3, 16, 16)
    assert torch.isfinite(made["boxes"]).all()


@pytest.mark.parametrize(
    "fields",
    [
        {"crop_scale": (0.5, 0.2)},
        {"crop_scale": (0.5, 1.2)},
        {"crop_scale": (0, 1)},
        {"blur_sigma": (0, 1)},
        {"hue": 0.6},
        {"grey_probability": 1.5},
        {"brightness": -1},
        {"interpolation": "nearest"},
        {"teacher_view": "larger"},
        {"flip": 0.5},
    ],
)
def test_values_out_of_range_and_unknown_names_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        view_fields(**fields)
