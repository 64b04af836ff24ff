"""Several processes for the zero-shot benchmarks: each encodes its part of the pictures, the first one scores.

The cache of embeddings is what they share, so it must lie where all of them see it (DETAILCLIP_BENCH_CACHE).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from benchmarks.engine.launch import Launcher, join
from benchmarks.run import Job, Report, Working, plan_job
from benchmarks.zeroshot.plan import ZeroShotPlan


def encode_shares(jobs: Sequence[Job], launcher: Launcher, working: Working) -> bool:
    """Encode this process's part of the pictures of every job, and wait for the others.

    Args:
        jobs: at least one, of zero-shot benchmarks, on the same device.
        launcher: how this process was started.
        working: shows the progress of long work; that of the first process is shown.

    Returns:
        Whether this is the first process, which then finds every picture in the cache, each exactly once.

    Raises:
        BenchError: checkpoint, data or options are not usable.
    """
    from torch import distributed

    device = str(join(launcher, jobs[0].device))
    rank, world = distributed.get_rank(), distributed.get_world_size()
    for job in jobs:
        if rank > 0:
            distributed.barrier()  # the first one checks the data, the others find that it is checked
        plan = plan_job(replace(job, device=device))
        if rank == 0:
            distributed.barrier()
        assert isinstance(plan, ZeroShotPlan), f"{job.benchmark.id} does not encode"
        plan.encode_share(rank, world, working if rank == 0 else _silently)
    distributed.barrier()
    distributed.destroy_process_group()
    return rank == 0


@contextmanager
def _silently(what: str) -> Iterator[Report]:
    """The progress of the other processes: they do as much in the same time."""
    yield lambda done, total: None
