"""The data set that pretraining loads: augmented views and tokens of image–text pairs, and their batches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DATASETS, FUNCTIONS
from PIL import Image
from pydantic import TypeAdapter
from torch.utils.data import Dataset

from benchmarks.engine.randomness import Purpose, seeded
from benchmarks.engine.sampling import SampleKey
from benchmarks.errors import DataError
from pretrain.data.captions import choose_caption, tokenize
from pretrain.data.fields import CaptionFields, SourceFields
from pretrain.data.source import BrokenImageError, Source
from pretrain.data.sources import open_source
from pretrain.views import ViewFields, Views

_ATTEMPTS = 10

Sample = dict[str, Any]


class ImageTextPairs(Dataset[Sample]):
    """Image–text pairs, each as augmented views of the image and the tokens of a caption.

    A sample depends on (seed, epoch, index) only. A pair that cannot be used (its image is missing or damaged, it has
    no text) is replaced by another one, which the same seed determines, and is named in ``broken``.

    Args:
        source: :class:`SourceFields` as a plain dict.
        views: :class:`ViewFields` as a plain dict.
        captions: :class:`CaptionFields` as a plain dict.
        count: views of each image.
        size: side of a view in pixels.
        seed: the run's.
        data_root: what the source's relative paths are meant beneath.

    Raises:
        DataError: the source is missing or laid out in another way.
    """

    def __init__(
        self,
        source: Mapping[str, Any],
        views: Mapping[str, Any],
        captions: Mapping[str, Any],
        count: int,
        size: int,
        seed: int,
        data_root: str,
    ) -> None:
        fields: SourceFields = TypeAdapter(SourceFields).validate_python(dict(source))
        self.source: Source = open_source(fields, Path(data_root))
        self.captions = CaptionFields.model_validate(dict(captions))
        self.views = Views(ViewFields.model_validate(dict(views)), count, size)
        self.seed = seed

    @property
    def metainfo(self) -> dict[str, Any]:
        """Nothing: pairs have no classes (MMEngine asks)."""
        return {}

    def full_init(self) -> None:
        """Nothing: the source was opened when it was made (MMEngine calls this)."""

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: SampleKey) -> Sample:
        """One sample as it is seen in one epoch.

        Returns:
            ``views`` uint8 (V, 3, S, S), ``tokens`` int64 (77,) and ``broken``, a list of names; where the teacher sees
            the enclosing crop also ``enclosing`` uint8 (3, S, S) and ``boxes`` float32 (V, 4).

        Raises:
            DataError: ten pairs in a row are broken.
        """
        broken: list[str] = []
        with seeded(Purpose.SAMPLE, self.seed, key.epoch, key.index):
            index = key.index
            while len(broken) < _ATTEMPTS:
                sample = self._load(index)
                if sample is not None:
                    return {**sample, "broken": broken}
                broken.append(self.source.name(index))
                index = int(torch.randint(len(self), ()))
        raise DataError(
            f"{broken[0]} and {_ATTEMPTS - 1} other samples drawn in its place have no readable image or no text; "
            "check the data set's files and the names of its columns"
        )

    def _load(self, index: int) -> Sample | None:
        """One sample, None if it is broken."""
        try:
            caption = choose_caption(self.source.texts(index), self.source.alternatives, self.captions)
            if caption is None:
                return None
            image = self._image(index)
        except OSError:
            return None
        return {**self.views(image), "tokens": tokenize(caption, self.captions.overflow)}

    def _image(self, index: int) -> Image.Image:
        """The source's image; a path that no file can have (with a NUL byte) is a broken image like any other."""
        try:
            return self.source.image(index)
        except ValueError as error:
            raise BrokenImageError(f"cannot be opened ({error})") from error


def collate_pairs(samples: Sequence[Sample]) -> Sample:
    """A batch of samples: their tensors stacked along a new first dimension, their ``broken`` names in one list."""
    batch: Sample = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0] if name != "broken"}
    batch["broken"] = [name for sample in samples for name in sample["broken"]]
    return batch


DATASETS.register_module(module=ImageTextPairs)
FUNCTIONS.register_module(module=collate_pairs)
