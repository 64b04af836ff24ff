"""What the zero-shot benchmarks share: encode pictures and texts once, let the task score them, report."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.data.images import Images
from benchmarks.engine.device import choose_device, describe, peak_memory
from benchmarks.errors import CheckpointError
from benchmarks.records import CheckpointInfo, DataInfo, Metric
from benchmarks.run import Job, Outcome, Working, checkpoint_info
from benchmarks.statistics import Interval
from benchmarks.zeroshot.encoder import Encoder, open_encoder
from benchmarks.zeroshot.protocol import EncodingFields
from benchmarks.zeroshot.text import overlong

if TYPE_CHECKING:
    import pandas as pd

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scores:
    """What a task found.

    Attributes:
        metrics: in percent.
        per_class: values by class, where the task has classes.
        samples: a row for each picture, ``sample_id`` first.
    """

    metrics: dict[str, Metric]
    per_class: dict[str, dict[str, float | None]]
    samples: "pd.DataFrame"


class Task(Protocol):
    """What is asked of the embeddings."""

    @property
    def texts(self) -> Sequence[str]:
        """The T texts to encode."""

    def score(self, images: Vectors, texts: Vectors) -> Scores:
        """Score unit vectors: (N, D) of the pictures and (T, D) of the texts, in their orders."""


@dataclass(frozen=True)
class Drawn:
    """The part of a split that is scored.

    Attributes:
        images: N pictures.
        data: what they are, for the record.
        official: pictures of the complete split.
        complete: whether the split lacks none.
        is_sample: whether it is generated.
    """

    images: Images
    data: DataInfo
    official: int
    complete: bool
    is_sample: bool


@dataclass(frozen=True)
class ZeroShotPlan:
    """A checked zero-shot job (see ``benchmarks.run.Plan``)."""

    job: Job
    encoder: Encoder
    execution: EncodingFields
    protocol: dict[str, Any]
    drawn: Drawn
    task: Task

    @property
    def checkpoint(self) -> CheckpointInfo:
        """The checkpoint as the record names it."""
        return checkpoint_info(self.encoder.loaded.info, self.encoder.loaded.report, self.job.row)

    @property
    def model_protocol(self) -> dict[str, Any]:
        """How this checkpoint's towers are used; ``texts_cut`` counts the texts longer than its context."""
        info = self.encoder.loaded.info
        assert info.text is not None
        return {
            "tower": info.tower,
            "architecture": info.architecture.to_dict(),
            "text_architecture": info.text.to_dict(),
            "preprocessing": info.preprocessing.to_dict(),
            **self._own_prompts,
            "texts_cut": len(overlong(self.task.texts, info.text.context)),
        }

    @property
    def _own_prompts(self) -> dict[str, Any]:
        """The user's own names and templates, word for word: of the shipped ones the digests say enough."""
        return {"prompts": json.loads(self.job.prompts.read_text(encoding="utf-8"))} if self.job.prompts else {}

    @property
    def data(self) -> DataInfo:
        """The scored data."""
        return self.drawn.data

    @property
    def is_sample(self) -> bool:
        """Whether the data is the generated sample."""
        return self.drawn.is_sample

    @property
    def complete(self) -> bool:
        """Whether the split holds as many pictures as were published."""
        return self.drawn.complete

    @property
    def official(self) -> int:
        """How many pictures were published."""
        return self.drawn.official

    @property
    def expected(self) -> int:
        """How many pictures will be scored."""
        return len(self.drawn.images)

    def execute(self, folder: Path, state: Path, working: Working) -> Outcome:
        """Encode what the cache lacks, then score; what was encoded before an interruption is not encoded again."""
        name = self.job.benchmark.id
        with working(f"{name}: texts") as report:
            texts = self.encoder.texts(self.task.texts, report, self.data.name)
        with working(f"{name}: pictures") as report:
            images = self.encoder.images(
                self.drawn.images, self.execution.batch_size, self.execution.workers, report, self.data.name
            )
        label = f"{self.encoder.loaded.info.path} ({self.model_protocol['tower']} tower)"
        scores = self.task.score(unit_vectors(images, label), unit_vectors(texts, label))
        return Outcome(
            metrics=scores.metrics,
            per_class=scores.per_class,
            samples=scores.samples,
            resumed=False,
            norm_layer=None,
            operators=None,
            precision="fp32",
            device=describe(self.encoder.device),
            threads=torch.get_num_threads(),
            peak_memory=peak_memory(self.encoder.device),
        )

    def encode_share(self, rank: int, world: int, working: Working) -> None:
        """Encode this process's part of the pictures, so that the main process finds all of them in the cache."""
        batch_size, workers = self.execution.batch_size, self.execution.workers
        with working(f"{self.job.benchmark.id}: pictures") as report:
            self.encoder.encode_share(self.drawn.images, batch_size, workers, rank, world, report, self.data.name)


def open_for(job: Job) -> Encoder:
    """The checkpoint of ``job``, on its device.

    Raises:
        CheckpointError: it cannot be used, or has no text side.
        OptionError: the device is not here.
    """
    device = choose_device(job.device)
    encoder = open_encoder(job.checkpoint, job.tower, job.image_heads, job.text_heads, job.quick_gelu, device)
    info = encoder.loaded.info
    if not info.has_text:
        raise CheckpointError(f"{info.path} ({info.title}): has no text side, which {job.benchmark.id} needs")
    return encoder


def draw(total: int, limit: int | None, pictures: int | None) -> Sequence[int]:
    """Which pictures of a split are scored: ``pictures`` evenly drawn, or all; and of these the first ``limit``.

    Args:
        total: pictures of the split.
        limit: asked for by ``--limit``, at least 1; a smaller split is scored whole.
        pictures: the protocol's field.
    """
    chosen: Sequence[int] = range(total)
    if pictures is not None and pictures < total:
        chosen = [total * index // pictures for index in range(pictures)]
    return chosen[:limit]


def fingerprint_with(images: Images, truth: bytes) -> str:
    """The fingerprint of pictures and what is true of them: labels or captions."""
    return hashlib.sha256(images.fingerprint.encode() + truth).hexdigest()


def unit_vectors(vectors: Vectors, label: str) -> Vectors:
    """(N, D) vectors of any length to length 1.

    Raises:
        CheckpointError: a vector has no direction: the weights give infinities, NaN or zeros.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and lengths.all()):
        raise CheckpointError(f"{label}: gives embeddings that are zero or no finite numbers; its weights are damaged")
    units: Vectors = vectors / lengths
    return units


def metric(value: float, interval: Interval | None, n: int) -> Metric:
    """A metric of a record, in percent."""
    low, high = interval or (None, None)
    return Metric(value=value, low=low, high=high, n=n)
