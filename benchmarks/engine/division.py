"""How the total batch of an optimiser step is divided over processes and, where memory is short, over time."""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

from benchmarks.errors import OptionError

ScaleLr = Literal["none", "linear", "sqrt"]


@dataclass(frozen=True)
class Division:
    """A total batch in equal parts.

    Attributes:
        batch: images of an optimiser step.
        processes: how many processes compute it.
        accumulate: parts that each process computes one after the other.
    """

    batch: int
    processes: int
    accumulate: int

    @property
    def part(self) -> int:
        """Images that a process computes at once."""
        return self.batch // (self.processes * self.accumulate)

    @property
    def by(self) -> str:
        """What divides, in words, for messages."""
        return f"{self.processes} processes and execution.accumulate={self.accumulate}"

    def describe(self, device: str) -> str:
        """What computed, for a record: ``cpu``, ``8 x cuda (NVIDIA A100)``, ``1 x cpu in 4 parts of 2 images``."""
        if self.accumulate > 1:
            return f"{self.processes} x {device} in {self.accumulate} parts of {self.part} images"
        return f"{self.processes} x {device}" if self.processes > 1 else device


def divide(batch: int, processes: int, accumulate: int) -> Division:
    """The division of ``batch``, which stays what the protocol says.

    Raises:
        OptionError: it leaves a remainder; the line names numbers that leave none.
    """
    division = Division(batch, processes, accumulate)
    parts = processes * accumulate
    if batch % parts == 0:
        return division
    lower, upper = batch // parts * parts, -(-batch // parts) * parts
    totals = " or ".join(str(total) for total in (lower, upper) if total)
    raise OptionError(
        f"batch_size={batch}: does not divide by {division.by}; their product must be one of "
        f"{', '.join(str(number) for number in divisors(batch))}, or choose batch_size={totals}, which is another "
        "protocol"
    )


def divisors(number: int) -> list[int]:
    """All of them, ascending."""
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]


def scaled_rate(rate: float, batch: int, base_batch: int, rule: ScaleLr) -> float:
    """The learning rate for another total batch than the one that ``rate`` is meant for.

    Args:
        rate: for ``base_batch``.
        batch: images of an optimiser step.
        base_batch: see ``rate``.
        rule: ``none`` leaves the rate as it is; ``linear`` multiplies it by batch / base_batch (Goyal et al.,
            arXiv 1706.02677), ``sqrt`` by the root of that, the usual rule for Adam (Malladi et al., arXiv 2205.10287).
    """
    ratio = batch / base_batch
    return rate * {"none": 1.0, "linear": ratio, "sqrt": sqrt(ratio)}[rule]
