"""The model that turns floating-point operations into GPU hours. Nothing of it is a measurement.

Time is operations over (peak of the GPU in that precision times a utilisation). Peaks are those of NVIDIA's data sheets
without sparsity. The utilisation is assumed, with a range: below it lie runs that wait for the loader, for the network
between GPUs, or in many small kernels; above it, little.
"""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "fp16", "bf16"]

Kind = Literal["segmentation", "detection", "scoring", "encoding"]
"""Sorts of work, by how much of a GPU's peak they use."""


@dataclass(frozen=True)
class Gpu:
    """A GPU of NVIDIA's data sheets.

    Attributes:
        name: for people.
        half: peak of fp16 and bf16 matrix products with float32 sums, in operations a second.
        single: the same of float32 (not TF32, which no benchmark relies on).
        source: where the numbers come from.
    """

    name: str
    half: float
    single: float
    source: str

    def peak(self, precision: Precision) -> float:
        """Operations a second in that precision."""
        return self.single if precision == "fp32" else self.half


GPUS = (
    Gpu("A100", 312e12, 19.5e12, "NVIDIA A100 Tensor Core GPU data sheet, 2021: 312 TFLOPS FP16/BF16, 19.5 FP32"),
    Gpu("H100", 989e12, 67e12, "NVIDIA H100 Tensor Core GPU data sheet, SXM, 2023: 989 TFLOPS FP16/BF16, 67 FP32"),
)

SIZES = {40: 39 * 2**30, 80: 79 * 2**30}
"""Usable bytes of the GPUs that an estimate is held against, by the GB they are sold with (A100 40 or 80, H100 80)."""


@dataclass(frozen=True)
class Utilisation:
    """Share of the peak that a sort of work is assumed to reach.

    Attributes:
        low: where much is lost.
        usual: what the hours are computed with.
        high: where little is.
        why: in words.
    """

    low: float
    usual: float
    high: float
    why: str


UTILISATION: dict[Kind, Utilisation] = {
    "segmentation": Utilisation(0.15, 0.30, 0.45, "training of a ViT with convolutional heads in mixed precision"),
    "detection": Utilisation(
        0.08, 0.20, 0.35, "training of a detector: few pictures of changing size, regions, suppression, matching"
    ),
    "scoring": Utilisation(0.30, 0.50, 0.70, "one picture at a time in float32"),
    "encoding": Utilisation(0.40, 0.60, 0.80, "batches through a ViT in float32"),
}
