"""From a stored picture to the pixels that an image tower sees.

In two steps, so that a worker process hands on one byte a value, and the arithmetic is done for a whole batch on the
device that computes: :func:`crop_transform`, then :func:`normalise`. :func:`picture_transform` is both.

The steps are those of SLIP's evaluation (``Resize``, ``CenterCrop``, RGB, ``ToTensor``, ``Normalize``), which A-CLIP
and DetailCLIP share; with bicubic interpolation and CLIP's statistics they are open_clip's and CLIP_benchmark's.
"""

from collections.abc import Callable
from typing import cast

import torch
from PIL.Image import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from benchmarks.checkpoints import Preprocessing


def crop_transform(way: Preprocessing) -> Callable[[Image], Tensor]:
    """PIL picture of any mode and size to the uint8 pixels (3, ``way.crop``, ``way.crop``) of its middle square.

    The picture becomes RGB first, by Pillow's own conversion: grey fills three channels, a palette's colours are
    looked up (as indices they could not be interpolated), CMYK is converted, alpha is dropped, black and white
    become 0 and 255, and values of 16 and 32 bits are cut off at 255. Then the shorter side is resized to
    ``way.resize``, antialiased, be it longer or shorter before. The EXIF orientation is not applied: neither SLIP
    nor open_clip turns pictures.
    """
    steps = v2.Compose(
        [
            v2.Resize(way.resize, v2.InterpolationMode(way.interpolation)),
            v2.CenterCrop(way.crop),
            v2.PILToTensor(),
        ]
    )
    return lambda picture: cast(Tensor, steps(picture.convert("RGB")))


def normalise(pixels: Tensor, way: Preprocessing) -> Tensor:
    """uint8 pixels (..., 3, H, W) to float32 of that shape: scaled to [0, 1], minus the mean, over the deviation.

    Divided by 255 as ``ToTensor`` does, and not multiplied by its inverse as ``ToDtype`` does: on the CPU the result is
    SLIP's and open_clip's to the last bit.
    """
    scaled = pixels.to(torch.float32).div_(255)
    return cast(Tensor, functional.normalize(scaled, list(way.mean), list(way.std), inplace=True))


def picture_transform(way: Preprocessing) -> Callable[[Image], Tensor]:
    """PIL picture to normalised float32 pixels (3, ``way.crop``, ``way.crop``), as the checkpoint's family evaluates.

    See :func:`crop_transform` for what becomes of pictures that are not RGB.
    """
    crop = crop_transform(way)
    return lambda picture: normalise(crop(picture), way)
