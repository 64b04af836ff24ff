"""An estimate as data: what is computed, what it takes, and what was assumed."""

from dataclasses import dataclass

from benchmarks.estimate.hardware import UTILISATION, Gpu, Kind, Precision

GIB = 2**30

FRAGMENTS = 0.10
"""Allowed for fragmentation, as a share of what a step holds at its peak."""

CONTEXT = GIB
"""Allowed for CUDA's context and the workspaces of cuDNN and cuBLAS."""


@dataclass(frozen=True)
class Hours:
    """GPU hours: those of the usual utilisation between those of the highest and of the lowest."""

    least: float
    usual: float
    most: float

    def __add__(self, other: "Hours") -> "Hours":
        return Hours(self.least + other.least, self.usual + other.usual, self.most + other.most)


@dataclass(frozen=True)
class Work:
    """Something done to many pictures or texts.

    Attributes:
        name: for people.
        kind: decides the utilisation.
        precision: of its products.
        count: how many pictures, texts or tokens.
        flops: floating-point operations of each; a multiply-add is two.
        of: what is counted: ``pictures`` or ``tokens``.
    """

    name: str
    kind: Kind
    precision: Precision
    count: int
    flops: float
    of: str = "pictures"

    @property
    def total(self) -> float:
        """Floating-point operations of all."""
        return self.count * self.flops

    def hours(self, gpu: Gpu) -> Hours:
        """On one such GPU."""
        used, best = UTILISATION[self.kind], self.total / gpu.peak(self.precision) / 3600
        return Hours(best / used.high, best / used.usual, best / used.low)

    def rate(self, gpu: Gpu) -> float:
        """Pictures a second of one such GPU at the usual utilisation."""
        return gpu.peak(self.precision) * UTILISATION[self.kind].usual / self.flops


@dataclass(frozen=True)
class Memory:
    """Bytes on each GPU.

    Attributes:
        batch: pictures of a process at a time.
        weights: in float32.
        gradients: of the trained ones, and their copy in DDP's buckets where there are several processes.
        moments: the two of AdamW.
        copies: of the trained weights in half precision, which autocast makes and keeps for a step.
        kept: what the forward pass leaves for the backward pass ...
        passing: ... and what comes on top at the peak.
    """

    batch: int
    weights: int
    gradients: int
    moments: int
    copies: int
    kept: int
    passing: int

    @property
    def fixed(self) -> int:
        """What does not depend on the batch, the context included."""
        return self.weights + self.gradients + self.moments + self.copies + CONTEXT

    @property
    def allowance(self) -> int:
        """Context, workspaces, fragmentation."""
        return CONTEXT + int(FRAGMENTS * (self.kept + self.passing))

    @property
    def total(self) -> int:
        """All of it."""
        return self.fixed - CONTEXT + self.kept + self.passing + self.allowance

    def largest_batch(self, size: float) -> int:
        """The largest batch that fits in ``size`` bytes, if what it holds grows in proportion; 0 if not even one."""
        each = (self.total - self.fixed) / self.batch
        return max(int((size - self.fixed) / each), 0)


@dataclass(frozen=True)
class Place:
    """Something that takes place on a disk, in bytes; ``where`` it lies or comes from, in words."""

    name: str
    size: int
    where: str


@dataclass(frozen=True)
class Loading:
    """What the loader must deliver.

    Attributes:
        rate: pictures that one CPU core decodes and prepares in a second.
        workers: processes that each GPU process has for it.
        work: what the pictures are for.
    """

    rate: float
    workers: int
    work: Work


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        benchmark: its id.
        checkpoint: its name.
        processes: GPUs that work at once.
        works: what is computed.
        memory: on each GPU.
        places: on disk.
        loading: of pictures.
        advice: what to do where a GPU is too small; empty if it fits the smallest.
        assumptions: in words.
    """

    benchmark: str
    checkpoint: str
    processes: int
    works: tuple[Work, ...]
    memory: Memory
    places: tuple[Place, ...]
    loading: Loading
    advice: tuple[str, ...]
    assumptions: tuple[str, ...]

    def hours(self, gpu: Gpu) -> Hours:
        """GPU hours of all work; divided by `processes`, those on the clock."""
        total = Hours(0, 0, 0)
        for work in self.works:
            total += work.hours(gpu)
        return total

    @property
    def disk(self) -> int:
        """Bytes on disk, data included."""
        return sum(place.size for place in self.places)
