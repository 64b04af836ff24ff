"""Small dual encoders with CLIP's whole vocabulary, jobs for them, and a look at what a run hands to its metric."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from benchmarks.checkpoints import load_checkpoint
from benchmarks.run import Job
from benchmarks.suite import get
from benchmarks.zeroshot import classification
from benchmarks.zeroshot.ranks import Found
from benchmarks.zeroshot.ranks import ranks as own_ranks
from tests.checkpoints import makers
from tests.data.classification.array_files import noise, write_mnist

VOCABULARY = 49408
Array = npt.NDArray[Any]


def slip(path: Path) -> Path:
    """A CLIP of the SLIP repository: two blocks of width 64 on either side, 49 patches; its pictures bilinear."""
    image = makers.prefixed("visual.", makers.vit(patch=32, grid=7, seed=10))
    projection = makers.random({"image_projection": (64, 32)}, 3)
    torch.save(_lively(image | makers.text(vocabulary=VOCABULARY) | projection), path)
    return path


def open_clip(path: Path) -> Path:
    """The same of open_clip: a norm before the blocks, 196 patches; its pictures bicubic, with OpenAI's statistics."""
    torch.save(_lively(makers.open_clip() | makers.text(vocabulary=VOCABULARY)), path)
    return path


def _lively(state: makers.State) -> makers.State:
    """Larger weights, so that different pictures fall into different classes."""
    return {key: value * 3 if value.ndim > 1 else value for key, value in state.items()}


def model_of(path: Path) -> Any:
    """The model of one of the above."""
    return load_checkpoint(path, image_heads=1, text_heads=1).model


def digits(data_root: Path, count: int = 30) -> None:
    """MNIST of noise; the classes take turns."""
    write_mnist(data_root / "mnist", noise(count, 28, 28), [index % 10 for index in range(count)])


def job(benchmark: str, checkpoint: Path, data_root: Path, *overrides: str, **more: Any) -> Job:
    """A job for one of the above, decoding in this process."""
    options = {"image_heads": 1, "text_heads": 1, **more}
    return Job(get(benchmark), checkpoint, data_root, overrides=("execution.workers=0", *overrides), **options)


@contextmanager
def overheard() -> Iterator[dict[str, Array]]:
    """The unit vectors that a run scores: ``images`` (N, D), and ``classes`` (C, D) or ``texts`` (T, D)."""
    heard: dict[str, Array] = {}

    def predict(images: Array, weights: Array, labels: Array) -> classification.Predictions:
        heard.update(images=np.array(images), classes=np.array(weights))
        return own_predict(images, weights, labels)

    def ranks(images: Array, texts: Array, owner: Array) -> tuple[Found, Found]:
        heard.update(images=np.array(images), texts=np.array(texts))
        return own_ranks(images, texts, owner)

    own_predict = classification.predict
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.zeroshot.classification.predict", predict)
        patch.setattr("benchmarks.zeroshot.retrieval.ranks", ranks)
        yield heard
