"""Seeds follow from coordinates; the generators outside are left as they were."""

import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.engine.randomness import Purpose, derived_seed, seed_all, seeded


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


@given(st.integers(0, 2**31), st.integers(0, 10**6), st.integers(0, 10**6))
def test_same_coordinates_same_numbers(seed: int, epoch: int, index: int) -> None:
    with seeded(Purpose.SAMPLE, seed, epoch, index):
        first = draw()
    with seeded(Purpose.SAMPLE, seed, epoch, index):
        assert draw() == first


def test_every_coordinate_counts() -> None:
    seeds = {derived_seed(p, a, b, c) for p in Purpose for a in range(8) for b in range(8) for c in range(8)}
    assert len(seeds) == 3 * 512


def test_outer_generators_are_restored() -> None:
    seed_all(5)
    expected = [draw() for _ in range(2)]
    seed_all(5)
    got = [draw()]
    with seeded(Purpose.SAMPLE, 1, 2, 3):
        draw()
    assert [*got, draw()] == expected
