"""The sample stream: complete, reproducible, enterable anywhere, the same on any number of processes."""

from collections.abc import Sequence
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.engine.sampling import EndlessShuffleSampler, SampleKey


def stream(size: int, seed: int, count: int, position: int = 0, rank: int = 0, world: int = 1) -> list[SampleKey]:
    sampler = EndlessShuffleSampler(range(size), seed)
    sampler.rank, sampler.world_size = rank, world
    sampler.start_at(position)
    return list(islice(sampler, count))


sizes = st.integers(1, 30)
seeds = st.integers(0, 2**31)


@given(sizes, seeds)
def test_each_epoch_holds_every_sample_once(size: int, seed: int) -> None:
    keys = stream(size, seed, 3 * size)
    for epoch in range(3):
        assert sorted(key.index for key in keys if key.epoch == epoch) == list(range(size))


@given(sizes, seeds, st.integers(0, 100))
def test_entering_the_stream_equals_skipping(size: int, seed: int, position: int) -> None:
    assert stream(size, seed, 20, position) == stream(size, seed, position + 20)[position:]


@given(sizes, seeds, st.integers(1, 5), st.integers(0, 40))
def test_processes_share_the_stream_without_overlap(size: int, seed: int, world: int, position: int) -> None:
    parts = [stream(size, seed, 10, position, rank, world) for rank in range(world)]
    joined = [key for together in zip(*parts, strict=True) for key in together]
    assert joined == stream(size, seed, 10 * world, position)


def test_the_order_stays_what_it_was() -> None:
    """An interrupted run must find the same stream in a later version of this project."""
    indices = [key.index for key in stream(8, 3, 16)]
    assert indices == [5, 6, 0, 7, 1, 4, 3, 2, 7, 5, 1, 2, 6, 3, 0, 4]
    assert all(type(index) is int for index in indices), "a key travels to loader processes"


def test_seed_and_epoch_change_the_order() -> None:
    def order(keys: Sequence[SampleKey]) -> list[int]:
        return [key.index for key in keys]

    first = stream(50, 0, 100)
    assert order(first[:50]) != order(first[50:])
    assert order(first) != order(stream(50, 1, 100))
