"""How fast this machine multiplies matrices: the limit that a training's speed is held against."""

import time

import torch

from benchmarks.engine.precision import Precision

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

_SIDE = {"cpu": 1024, "cuda": 4096}


def matmul_rate(device: torch.device, precision: Precision, seconds: float = 0.3) -> float:
    """Multiply-adds a second in products of large square matrices, measured for about ``seconds``.

    The fastest third of the products counts: another process may disturb some of them.
    """
    side = _SIDE[device.type]
    left, right = (torch.randn(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    product = left @ right  # the first call chooses kernels
    times: list[float] = []
    while sum(times) < seconds:
        times.append(_timed_product(left, right, product))
    fastest = sorted(times)[: max(len(times) // 3, 1)]
    return side**3 * len(fastest) / sum(fastest)


def _timed_product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> float:
    """Seconds of one product."""
    _wait(left.device)
    begun = time.perf_counter()
    torch.matmul(left, right, out=out)
    _wait(left.device)
    return time.perf_counter() - begun


def _wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
