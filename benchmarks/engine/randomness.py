"""Randomness that depends on what is computed and not on what was computed before it.

A resumed run must see the same augmentations and the same dropout as an uninterrupted one. So nothing keeps a running
random state: each sample and each iteration derives its seed from its coordinates.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What a seed is for, so that equal coordinates of two kinds give unrelated numbers."""

    SAMPLE = 1
    ORDER = 2
    ITERATION = 3


def derived_seed(purpose: Purpose, *coordinates: int) -> int:
    """A 32-bit seed that depends on ``purpose`` and on every one of the non-negative ``coordinates``.

    For one purpose the number of coordinates must always be the same: numpy's ``SeedSequence`` takes trailing zeros as
    absent.
    """
    return int(np.random.SeedSequence([purpose, *coordinates]).generate_state(1)[0])


def seed_all(seed: int) -> None:
    """Seed the global generators of ``random``, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def seeded(purpose: Purpose, *coordinates: int) -> Iterator[None]:
    """Within the block the global generators are seeded by ``derived_seed``; afterwards they are as before.

    The transforms of mmcv and mmseg draw from ``random`` and ``numpy.random``, those of torchvision from torch. In the
    main process (no loader workers) the model's own randomness must not be disturbed by them, hence the restoring.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed = derived_seed(purpose, *coordinates)
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
