"""What a run will take before it is run: operations, GPU hours, memory of each GPU, disk.

``estimate(job, processes)`` gives an `Estimate`, ``show([estimate, ...])`` the tables. Data need not be there.
"""

from benchmarks.estimate.plan import estimate, estimate_all
from benchmarks.estimate.result import Estimate
from benchmarks.estimate.show import show

__all__ = ["Estimate", "estimate", "estimate_all", "show"]
