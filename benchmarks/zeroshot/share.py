"""Several processes for the zero-shot benchmarks: each encodes its part of the pictures, the first one scores.

The cache of embeddings is what they share, so it must lie where all of them see it (DETAILCLIP_BENCH_CACHE).
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from benchmarks.engine.launch import PATIENCE, Launcher, from_main, join, said_once
from benchmarks.errors import BenchError
from benchmarks.run import Job, Report, Working, plan_job
from benchmarks.zeroshot.plan import ZeroShotPlan


def encode_shares(jobs: Sequence[Job], launcher: Launcher, working: Working) -> bool:
    """Encode this process's part of the pictures of every job that can be shared, and wait for the others.

    Args:
        jobs: at least one, on the same device; those of other benchmarks than the zero-shot ones are passed over.
        launcher: how this process was started.
        working: shows the progress of long work; that of the first process is shown.

    Returns:
        Whether this is the first process, which then finds every picture in the cache, each exactly once.

    Raises:
        BenchError: checkpoint, data or options are not usable; of the first process alone.
        SystemExit: the same on the others.
    """
    from torch import distributed

    with said_once(launcher):
        device = str(join(launcher, jobs[0].device))
    rank, world = distributed.get_rank(), distributed.get_world_size()
    for job in jobs:
        if "--launcher" in job.benchmark.takes:
            plan = _plan(replace(job, device=device), rank)
            plan.encode_share(rank, world, working if rank == 0 else _silently)
    distributed.barrier()
    distributed.destroy_process_group()
    return rank == 0


def _plan(job: Job, rank: int) -> ZeroShotPlan:
    """The plan of ``job``: the first process checks the data, the others find that it is checked.

    What the first one refuses it says; the others end after it, in silence.
    """
    if rank > 0 and not from_main(None):
        time.sleep(PATIENCE)
        sys.exit(2)
    try:
        plan = plan_job(job)
    except BenchError:
        if rank == 0:
            from_main(False)
        raise
    if rank == 0:
        from_main(True)
    assert isinstance(plan, ZeroShotPlan), f"{job.benchmark.id} does not encode"
    return plan


@contextmanager
def _silently(what: str) -> Iterator[Report]:
    """The progress of the other processes: they do as much in the same time."""
    yield lambda done, total: None
