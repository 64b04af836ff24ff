"""What makes tiny trainings quick, and the published training step, written out once a session."""

from collections.abc import Iterator
from functools import cache

import pytest
import torch

from benchmarks.engine.throughput import matmul_rate
from tests.pretrain.oracle import Step, published_step


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """On a busy machine two threads wait for each other longer than these tensors take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def quick_start() -> Iterator[None]:
    """Measure the device once, and log configs without MMEngine's formatting: together most of a tiny training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretrain.hooks.matmul_rate", cache(matmul_rate))
        patch.setattr("mmengine.config.config.FormatCode", lambda text, **options: (text, True))
        yield


@pytest.fixture(scope="session")
def step(tmp_path_factory: pytest.TempPathFactory) -> Step:
    return published_step(tmp_path_factory.mktemp("published"))
