"""Zero-shot classification: a picture belongs to the class whose prompts lie nearest to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.checkpoints import LoadedCheckpoint, Preprocessing
from benchmarks.errors import DataError

_BATCH = 64


@dataclass(frozen=True)
class Predictions:
    """What was seen in a folder of classes.

    Attributes:
        classes: C names, in the order of the labels.
        files: N pictures, relative to the folder.
        labels: N true classes.
        predicted: N nearest classes.
    """

    classes: tuple[str, ...]
    files: tuple[str, ...]
    labels: Tensor
    predicted: Tensor

    @property
    def top1(self) -> float:
        """Percent of the pictures whose nearest class is the true one."""
        return 100 * float((self.labels == self.predicted).double().mean())


def picture_transform(way: Preprocessing) -> Any:
    """PIL picture to normalised pixels (3, crop, crop), as the checkpoint's family evaluates."""
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.Resize(way.resize, v2.InterpolationMode(way.interpolation)),
            v2.CenterCrop(way.crop),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(way.mean, way.std),
        ]
    )


@torch.no_grad()
def class_embeddings(model: Any, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Unit vectors (C, D): for each class the mean of its prompts' unit vectors, made a unit vector again.

    Args:
        model: dual encoder with ``encode_text``.
        names: of the C classes.
        templates: texts with one ``{}`` for the name.
    """
    from open_clip import get_tokenizer

    tokenizer = get_tokenizer("ViT-B-16")
    embeddings = []
    for name in names:
        texts = F.normalize(model.encode_text(tokenizer([template.format(name) for template in templates])), dim=1)
        embeddings.append(F.normalize(texts.mean(dim=0), dim=0))
    return torch.stack(embeddings)


@torch.no_grad()
def classify_folder(loaded: LoadedCheckpoint, folder: Path, templates: Sequence[str]) -> Predictions:
    """Classify every picture of ``folder``, which holds a folder a class, named like the class.

    Args:
        loaded: a checkpoint with a text side.
        folder: ``<class name>/<picture>``.
        templates: see :func:`class_embeddings`.

    Raises:
        DataError: the folder is missing, holds no pictures, or holds a file that is no whole picture.
    """
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir())) if folder.is_dir() else ()
    files = [file for name in classes for file in sorted((folder / name).iterdir())]
    if not files:
        raise DataError(f"{folder}: no pictures there; expected one folder a class with pictures inside")
    weights = class_embeddings(loaded.model, classes, templates)
    transform = picture_transform(loaded.info.preprocessing)
    predicted = []
    for start in range(0, len(files), _BATCH):
        pictures = [transform(_picture(file)) for file in files[start : start + _BATCH]]
        predicted.append((loaded.model.encode_image(torch.stack(pictures)) @ weights.T).argmax(dim=1))
    return Predictions(
        classes=classes,
        files=tuple(str(file.relative_to(folder)) for file in files),
        labels=torch.tensor([classes.index(file.parent.name) for file in files]),
        predicted=torch.cat(predicted),
    )


def _picture(file: Path) -> Image.Image:
    try:
        return Image.open(file).convert("RGB")
    except (OSError, SyntaxError) as error:  # SyntaxError: PNG's decoder, of damaged chunks
        raise DataError(f"{file}: not a readable picture; remove it from the folder or replace it") from error
