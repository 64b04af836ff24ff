"""Preprocessing: equal to the published pipelines, and every kind of picture does what the docstring says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip import image_transform
from PIL import Image
from torch import Tensor
from torchvision import transforms as v1

from benchmarks.checkpoints import IMAGENET, Preprocessing
from benchmarks.zeroshot.preprocessing import crop_transform, normalise, picture_transform

CLIP = Preprocessing(
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    resize=224,
    interpolation="bicubic",
    crop=224,
)
UNIT = replace(IMAGENET, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
SIZES = [(500, 375), (375, 500), (333, 227), (224, 224), (97, 641), (640, 225), (100, 60), (7, 5), (1, 3)]


def noise(size: tuple[int, int], mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Smooth enough for interpolation to matter, and rough enough for every step to show."""
    width, height = size
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values.squeeze(2) if channels == 1 else values, mode)


def slip(picture: Image.Image) -> Tensor:
    """SLIP's evaluation, step by step."""
    resized = v1.CenterCrop(224)(v1.Resize(224)(picture)).convert("RGB")
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    normalised: Tensor = v1.Normalize(mean=mean, std=std)(v1.ToTensor()(resized))
    return normalised


def levels(picture: Image.Image) -> Tensor:
    """Pixels in [0, 255] as floats, without the statistics."""
    return picture_transform(UNIT)(picture) * 255


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", SIZES)
def test_it_is_slips_pipeline(size: tuple[int, int], mode: str) -> None:
    picture = noise(size, mode)
    ours = picture_transform(IMAGENET)(picture)
    assert (ours.shape, ours.dtype) == ((3, 224, 224), torch.float32)
    assert torch.equal(ours, slip(picture))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", SIZES)
def test_with_clips_statistics_it_is_open_clips(size: tuple[int, int], mode: str) -> None:
    picture = noise(size, mode)
    theirs: Tensor = image_transform(224, is_train=False)(picture)
    assert torch.equal(picture_transform(CLIP)(picture), theirs)


@pytest.mark.parametrize(
    "change",
    [
        {"mean": (0.1, 0.2, 0.3)},
        {"std": (0.5, 0.5, 0.5)},
        {"resize": 256},
        {"interpolation": "bicubic"},
        {"crop": 192},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_acts(change: dict[str, object]) -> None:
    picture = noise((300, 260))
    plain = picture_transform(IMAGENET)(picture)
    other = picture_transform(replace(IMAGENET, **change))(picture)  # type: ignore[arg-type]
    assert plain.shape != other.shape or not torch.allclose(plain, other, atol=1e-3)


def test_a_batch_is_normalised_as_each_picture_is() -> None:
    """The division is left to the device that computes; the worker hands on a byte a value."""
    pictures = [noise((300, 260), seed=seed) for seed in range(3)]
    crops = torch.stack([crop_transform(CLIP)(picture) for picture in pictures])
    assert crops.dtype == torch.uint8
    alone = torch.stack([picture_transform(CLIP)(picture) for picture in pictures])
    assert torch.equal(normalise(crops, CLIP), alone)
    assert crops.dtype == torch.uint8


def test_a_grey_picture_fills_three_channels() -> None:
    seen = levels(noise((300, 300), "L"))
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    assert seen[0].std() > 1


def test_a_palette_becomes_colours_before_it_is_resized() -> None:
    """Indices cannot be interpolated: torchvision would take the nearest and lose the antialiasing."""
    colours = noise((500, 375)).quantize(16)
    assert colours.mode == "P"
    seen = picture_transform(IMAGENET)(colours)
    assert torch.equal(seen, picture_transform(IMAGENET)(colours.convert("RGB")))
    assert (seen - slip(colours)).abs().max() > 0.1


def test_cmyk_is_converted_by_pillow() -> None:
    ink = noise((300, 280), "CMYK")
    assert torch.equal(levels(ink), levels(ink.convert("RGB")))
    cyan = Image.new("CMYK", (300, 300), (255, 0, 0, 0))
    assert levels(cyan)[:, 0, 0].round().tolist() == [0, 255, 255]


def test_the_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    picture = noise((300, 240))
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn a quarter to the right"
    picture.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as stored:
        assert stored.getexif()[0x0112] == 6
        assert torch.equal(levels(stored), levels(picture))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped_and_hides_nothing(mode: str) -> None:
    """Resized with its alpha, Pillow would weigh each pixel by it."""
    opaque = noise((300, 240), "RGB" if mode == "RGBA" else "L")
    with_alpha = opaque.copy()
    with_alpha.putalpha(noise((300, 240), "L", seed=1))
    assert with_alpha.mode == mode
    assert torch.equal(levels(with_alpha), levels(opaque))


def test_transparent_colour_of_a_palette_is_a_colour() -> None:
    palette = Image.new("P", (230, 230), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    palette.info["transparency"] = 1
    assert levels(palette)[:, 100, 100].round().tolist() == [10, 200, 30]


def test_black_and_white_are_the_ends_of_the_range() -> None:
    checks = Image.new("1", (300, 300))
    checks.paste(1, (0, 0, 150, 300))
    seen = levels(checks)
    assert seen[:, 112, 20].tolist() == pytest.approx([255, 255, 255], abs=1e-3)
    assert seen[:, 112, 200].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("dtype", "mode"), [(np.uint16, "I;16"), (np.int32, "I"), (np.float32, "F")])
def test_deep_pictures_are_cut_off_at_255(dtype: type[np.generic], mode: str) -> None:
    """Pillow's conversion, and so what SLIP and open_clip evaluate on."""
    values = np.full((300, 300), 100, dtype=dtype)
    values[:, 150:] = 4000
    picture = Image.fromarray(values)
    assert picture.mode == mode
    seen = levels(picture)
    assert seen[0, 112, 20] == pytest.approx(100, abs=1e-3)
    assert seen[0, 112, 200] == pytest.approx(255, abs=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (20, 90), (223, 223)])
def test_a_small_picture_is_enlarged_and_nothing_is_padded(size: tuple[int, int]) -> None:
    seen = levels(Image.new("RGB", size, (200, 100, 50)))
    assert seen.shape == (3, 224, 224)
    assert (seen - torch.tensor([200.0, 100.0, 50.0])[:, None, None]).abs().max() < 1e-3


def test_large_pictures_are_antialiased() -> None:
    """One-pixel checks become grey; without antialiasing they would flicker between black and white."""
    checks = Image.fromarray(((np.indices((896, 896)).sum(axis=0) % 2) * 255).astype(np.uint8))
    seen = levels(checks)
    assert seen.min() > 120
    assert seen.max() < 135
