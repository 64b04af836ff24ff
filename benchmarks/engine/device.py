"""Which device computes, and how much memory it took."""

import resource

import torch

from benchmarks.errors import OptionError


def choose_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is the first CUDA device, or the CPU where there is none.

    Raises:
        OptionError: the name is unknown, or there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"--device {name}: choose auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        raise OptionError(f"--device {name}: there is no such device here; choose auto or cpu")
    return device


def peak_memory(device: torch.device) -> int:
    """The most memory in use so far, in bytes: on the GPU if that computes, else of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
