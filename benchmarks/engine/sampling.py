"""Which sample comes when: an endless shuffled stream that can be entered at any position."""

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Dataset, Sampler

from benchmarks.engine.randomness import Purpose, derived_seed, seeded


@dataclass(frozen=True)
class SampleKey:
    """What the sampler asks of the dataset: sample ``index`` as it is seen in ``epoch``."""

    epoch: int
    index: int


@DATASETS.register_module()
class SeededDataset(Dataset[Any]):
    """A dataset whose random transforms depend on (seed, epoch, index) only.

    Args:
        dataset: MMEngine config of the dataset that does the work.
        seed: the run's seed.
    """

    def __init__(self, dataset: dict[str, Any], seed: int) -> None:
        self.dataset = DATASETS.build(dataset)
        self.seed = seed

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names and palette of the wrapped dataset."""
        info: dict[str, Any] = self.dataset.metainfo
        return info

    def full_init(self) -> None:
        """Read the wrapped dataset's list of files (MMEngine calls this once)."""
        self.dataset.full_init()

    def __len__(self) -> int:
        size: int = len(self.dataset)
        return size

    def __getitem__(self, key: SampleKey) -> Any:
        with seeded(Purpose.SAMPLE, self.seed, key.epoch, key.index):
            return self.dataset[key.index]


@DATA_SAMPLERS.register_module()
class EndlessShuffleSampler(Sampler[SampleKey]):
    """Permutation after permutation of the dataset, split over the processes, from any position on.

    Position p of the stream belongs to epoch p // n; its index is entry p % n of that epoch's permutation, which
    depends on (seed, epoch) only. Process r of w takes the positions r, r + w, …, so that w processes with batch b
    together see what one process with batch w·b sees.

    Args:
        dataset: anything with a length n >= 1.
        seed: the run's seed.
    """

    def __init__(self, dataset: Sized, seed: int) -> None:
        self.size = len(dataset)
        self.seed = seed
        self.rank: int
        self.world_size: int
        self.rank, self.world_size = get_dist_info()
        self.position = 0

    def start_at(self, position: int) -> None:
        """Begin the next iteration at ``position`` samples of the stream, counted over all processes."""
        self.position = position

    def __len__(self) -> int:
        """Samples of one epoch that fall to this process (MMEngine asks); the stream itself does not end."""
        return -(-self.size // self.world_size)

    def _permutation(self, epoch: int) -> torch.Tensor:
        """A tensor: a list of 15 million Python integers takes half a gigabyte in every process."""
        generator = torch.Generator().manual_seed(derived_seed(Purpose.ORDER, self.seed, epoch))
        return torch.randperm(self.size, generator=generator)

    def __iter__(self) -> Iterator[SampleKey]:
        position = self.position + self.rank
        epoch, order = -1, torch.empty(0)
        while True:
            if position // self.size != epoch:
                epoch = position // self.size
                order = self._permutation(epoch)
            yield SampleKey(epoch, int(order[position % self.size]))
            position += self.world_size
