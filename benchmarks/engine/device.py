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
    present = device.type == "cpu" or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count())
    if not present:
        raise OptionError(f"--device {name}: there is no such device here; choose auto or cpu")
    return device


def describe(device: torch.device) -> str:
    """The device for a record: ``cpu``, or for example ``cuda (NVIDIA A100)``."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def peak_memory(device: torch.device) -> int:
    """The most memory in use so far, in bytes: on the GPU if that computes, else of the process since its start."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
