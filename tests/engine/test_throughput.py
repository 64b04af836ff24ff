"""The measured rate of matrix products is a plausible one."""

import time

import pytest
import torch

from benchmarks.engine.precision import Precision
from benchmarks.engine.throughput import matmul_rate

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_rate_is_that_of_a_plain_product(precision: Precision) -> None:
    """Within a factor that a busy machine explains."""
    rate = matmul_rate(CPU, precision, seconds=0.1)
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    left, right = torch.randn(1024, 1024).to(dtype), torch.randn(1024, 1024).to(dtype)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - begun)
    assert 0.2 < rate / (1024**3 / min(times)) < 5


def test_it_takes_about_as_long_as_told() -> None:
    begun = time.perf_counter()
    matmul_rate(CPU, "fp32", seconds=0.2)
    assert 0.2 <= time.perf_counter() - begun < 5
