"""Several processes for the zero-shot benchmarks: each encodes its part of the pictures, the first one scores.

The cache of embeddings is what they share, so it must lie where all of them see it (DETAILCLIP_BENCH_CACHE).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from benchmarks.engine.launch import Launcher, from_main, join, said_once
from benchmarks.errors import BenchError
from benchmarks.run import Job, Report, Working, plan_job
from benchmarks.zeroshot.plan import ZeroShotPlan


def encode_shares(jobs: Sequence[Job], launcher: Launcher, working: Working) -> bool:
    """Encode this process's part of the pictures of every job, and wait for the others.

    A job that cannot be done is passed over: the first process will find out again when it runs it, and say why.

    Args:
        jobs: at least one, of zero-shot benchmarks, on the same device.
        launcher: how this process was started.
        working: shows the progress of long work; that of the first process is shown.

    Returns:
        Whether this is the first process, which then finds every picture in the cache, each exactly once.

    Raises:
        BenchError: the device is not here; or what the first process can use, another one cannot.
    """
    from torch import distributed

    with said_once(launcher):
        device = str(join(launcher, jobs[0].device))
    rank, world = distributed.get_rank(), distributed.get_world_size()
    for job in jobs:
        plan = _plan(replace(job, device=device), rank)
        if plan:
            plan.encode_share(rank, world, working if rank == 0 else _silently)
    distributed.barrier()
    distributed.destroy_process_group()
    return rank == 0


def _plan(job: Job, rank: int) -> ZeroShotPlan | None:
    """The plan of ``job``: the first process checks the data, the others find that it is checked. None: unusable."""
    plan = None
    if rank == 0:
        with suppress(BenchError):
            plan = plan_job(job)
        from_main(plan is not None)
    elif from_main(None):
        plan = plan_job(job)
    assert isinstance(plan, ZeroShotPlan | None), f"{job.benchmark.id} does not encode"
    return plan


@contextmanager
def _silently(what: str) -> Iterator[Report]:
    """The progress of the other processes: they do as much in the same time."""
    yield lambda done, total: None
