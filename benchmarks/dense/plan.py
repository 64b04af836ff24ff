"""A checked job of a dense benchmark: what segmentation and detection know of it alike."""

import hashlib
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch

from benchmarks.checkpoints import IMAGENET, ImageTower
from benchmarks.dense.common import Statistics, division_of, norm_batch, with_norm_batch
from benchmarks.dense.protocol import DenseFields
from benchmarks.engine.division import Division
from benchmarks.records import CheckpointInfo, DataInfo
from benchmarks.run import Job, checkpoint_info


class DenseSplit(Protocol):
    """What a verified split tells.

    Attributes:
        count: pictures that are there.
        official: pictures that were published.
        fingerprint: of everything in it.
        is_sample: whether it is generated.
    """

    @property
    def count(self) -> int: ...  # noqa: D102
    @property
    def official(self) -> int: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def is_sample(self) -> bool: ...  # noqa: D102


FieldsT = TypeVar("FieldsT", bound=DenseFields)
SplitT = TypeVar("SplitT", bound=DenseSplit)


@dataclass(frozen=True)
class DensePlan(Generic[FieldsT, SplitT]):
    """A checked job (see ``benchmarks.run.Plan``, of which a subclass adds ``model_protocol`` and ``execute``)."""

    job: Job
    fields: FieldsT
    training: SplitT
    validation: SplitT
    tower: ImageTower
    device: torch.device

    @property
    def protocol(self) -> dict[str, Any]:
        """The fingerprinted fields."""
        return with_norm_batch(self.fields.protocol(), self.norm_batch)

    @property
    def division(self) -> Division:
        """How the total batch is divided."""
        return division_of(self.fields)

    @property
    def norm_batch(self) -> int | None:
        """Pictures that are batch-normalised together; None where none are."""
        return norm_batch(self.fields.norm_layer, self.division, self.device) if self.fields.normalised else None

    @property
    def pixel_statistics(self) -> Statistics:
        """Mean and standard deviation of RGB in 0..1: the checkpoint's own, or ImageNet's if forced."""
        statistics = IMAGENET if self.fields.backbone.force_imagenet_norm else self.tower.preprocessing
        return statistics.mean, statistics.std

    @property
    def checkpoint(self) -> CheckpointInfo:
        """The checkpoint as the record names it."""
        return checkpoint_info(self.tower.info, self.tower.report, self.job.row)

    @property
    def data(self) -> DataInfo:
        """Training and validation data together decide the result."""
        both = f"{self.training.fingerprint}{self.validation.fingerprint}".encode()
        return DataInfo(
            name=self.fields.dataset,
            split=self.fields.test_split,
            fingerprint=hashlib.sha256(both).hexdigest(),
        )

    @property
    def is_sample(self) -> bool:
        """Whether the data is the generated sample."""
        return self.validation.is_sample

    @property
    def complete(self) -> bool:
        """Whether both splits hold as many pictures as were published."""
        return all(split.count == split.official for split in (self.training, self.validation))

    @property
    def official(self) -> int:
        """How many validation pictures were published."""
        return self.validation.official

    @property
    def expected(self) -> int:
        """How many pictures will be scored."""
        return self.job.limit or self.validation.count
