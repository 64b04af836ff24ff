"""The augmented views of an image that the methods compare."""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
import torch
from PIL import Image, ImageFilter
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torchvision.transforms import InterpolationMode, v2

Probability = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0)]
Range = tuple[float, float]


class ViewFields(BaseModel):
    """How a view is drawn: crop, flip, colour jitter, grey, blur, solarise, in this order, each by its own chance.

    The values are in the presets of the methods (``mm_configs/pretrain/presets``).

    Attributes:
        crop_scale: smallest and largest area of the crop as a share of the image's.
        crop_ratio: smallest and largest width over height of the crop.
        interpolation: how a crop is resized.
        flip_probability: chance of a horizontal flip.
        jitter_probability: chance of the colour jitter, whose four parts come in random order.
        brightness: the factor is uniform in [1 - b, 1 + b], not below 0; contrast and saturation likewise.
        contrast: see brightness.
        saturation: see brightness.
        hue: the shift is uniform in [-h, h] of the colour circle; at most 0.5.
        grey_probability: chance to lose all colour.
        blur_probability: chance of the Gaussian blur.
        blur_sigma: its standard deviation is uniform in this range, in pixels of the view.
        solarise_probability: chance that pixel values from the threshold on are inverted.
        solarise_threshold: 0 to 255.
        teacher_view: ``same``: the teacher's attention is that on the very views of the student (released).
            ``enclosing``: it is that on the smallest crop that contains all crops, without colour changes (A-CLIP's
            form, which the paper describes). The teacher's outputs, which the student is compared with, come from
            the views either way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    crop_scale: Range
    crop_ratio: Range
    interpolation: Literal["bicubic", "bilinear"]
    flip_probability: Probability
    jitter_probability: Probability
    brightness: Strength
    contrast: Strength
    saturation: Strength
    hue: Annotated[float, Field(ge=0, le=0.5)]
    grey_probability: Probability
    blur_probability: Probability
    blur_sigma: Range
    solarise_probability: Probability
    solarise_threshold: Annotated[int, Field(ge=0, le=255)]
    teacher_view: Literal["same", "enclosing"]

    @model_validator(mode="after")
    def _ordered_ranges(self) -> Self:
        for name in ("crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be two positive numbers, the smaller first")
        if self.crop_scale[1] > 1:
            raise ValueError("crop_scale must not exceed 1: a crop cannot be larger than the image")
        return self


class Views:
    """Draws augmented views of an image.

    Everything random comes from torch's global generator, none from ``random`` or numpy's. The operations are
    torchvision's on Pillow images: on one core they make 1.6 times as many views a second as the same operations on
    uint8 tensors (hue and blur are what tensors are slow at), and they are those of the released code.

    Args:
        fields: how views are drawn.
        count: V, the number of views.
        size: S, the side of a view in pixels.
    """

    def __init__(self, fields: ViewFields, count: int, size: int) -> None:
        self.fields = fields
        self.count = count
        self.size = [size, size]
        self._interpolation = InterpolationMode(fields.interpolation)
        jitter = v2.ColorJitter(fields.brightness, fields.contrast, fields.saturation, fields.hue)
        self._colours = v2.Compose([
            v2.RandomApply([jitter], fields.jitter_probability),
            v2.RandomGrayscale(fields.grey_probability),
            v2.RandomApply([self._blur], fields.blur_probability),
            v2.RandomSolarize(fields.solarise_threshold, fields.solarise_probability),
        ])  # fmt: skip

    def __call__(self, image: Image.Image) -> dict[str, torch.Tensor]:
        """Draw the views of an image of any mode and size (see :func:`to_rgb`).

        Returns:
            ``views`` uint8 (V, 3, S, S) RGB; with an enclosing teacher view also ``enclosing`` uint8 (3, S, S), the
            smallest crop that contains all views' crops, resized, and ``boxes`` float32 (V, 4): each view's crop in
            the enclosing crop's coordinates (left, top, right, bottom) from 0 to 1, left > right in a flipped view.
        """
        image = to_rgb(image)
        crops = [self._draw_crop(image) for _ in range(self.count)]
        flips = [bool(torch.rand(()) < self.fields.flip_probability) for _ in range(self.count)]
        views = [self._view(image, crop, flip) for crop, flip in zip(crops, flips, strict=True)]
        made = {"views": torch.stack(views)}
        if self.fields.teacher_view == "enclosing":
            around = _enclosing(crops)
            made["enclosing"] = v2.functional.pil_to_tensor(self._resized(image, around))
            boxes = [_relative(crop, around, flip) for crop, flip in zip(crops, flips, strict=True)]
            made["boxes"] = torch.tensor(boxes, dtype=torch.float32)
        return made

    def _draw_crop(self, image: Image.Image) -> "Crop":
        top, left, height, width = v2.RandomResizedCrop.get_params(
            image, list(self.fields.crop_scale), list(self.fields.crop_ratio)
        )
        return Crop(left, top, width, height)

    def _resized(self, image: Image.Image, crop: "Crop") -> Image.Image:
        resized: Image.Image = v2.functional.resized_crop(
            image, crop.top, crop.left, crop.height, crop.width, self.size, self._interpolation
        )
        return resized

    def _view(self, image: Image.Image, crop: "Crop", flip: bool) -> torch.Tensor:
        view = self._resized(image, crop)
        if flip:
            view = v2.functional.horizontal_flip(view)
        pixels: torch.Tensor = v2.functional.pil_to_tensor(self._colours(view))
        return pixels

    def _blur(self, view: Image.Image) -> Image.Image:
        """Pillow's Gaussian blur, whose radius is the standard deviation."""
        low, high = self.fields.blur_sigma
        return view.filter(ImageFilter.GaussianBlur(float(torch.empty(()).uniform_(low, high))))


class Crop(NamedTuple):
    """A rectangle of an image, in its pixels."""

    left: int
    top: int
    width: int
    height: int


def _enclosing(crops: Sequence[Crop]) -> Crop:
    """The smallest rectangle that contains all of them."""
    left, top = min(crop.left for crop in crops), min(crop.top for crop in crops)
    right = max(crop.left + crop.width for crop in crops)
    bottom = max(crop.top + crop.height for crop in crops)
    return Crop(left, top, right - left, bottom - top)


def _relative(crop: Crop, around: Crop, flip: bool) -> tuple[float, float, float, float]:
    """A crop in the coordinates of the one around it, left and right exchanged if its view is flipped."""
    left, right = ((x - around.left) / around.width for x in (crop.left, crop.left + crop.width))
    top, bottom = ((y - around.top) / around.height for y in (crop.top, crop.top + crop.height))
    return (right, top, left, bottom) if flip else (left, top, right, bottom)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any image as RGB, as Pillow converts it, which the released code does too.

    Grey is repeated, palettes are looked up, alpha is dropped and EXIF orientation is not applied. Of 16-bit grey
    images the upper 8 bits are taken; Pillow itself would clip them to white.
    """
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")
