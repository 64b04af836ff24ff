"""What the processes of one launch do together: which of them speaks, who goes first, how one's failure ends them all.

A process that waits for one that has failed would wait for ever on a GPU, and on a CPU end with a traceback of its own.
So the first to fail says so in the store in which the processes found each other; it alone tells the user why, and the
others, who look there every few seconds, end in silence.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, distributed

from benchmarks.engine.launch import PATIENCE, Launcher, count_processes, from_main, is_main, join, said_once
from benchmarks.errors import BenchError, DataError

Result = TypeVar("Result")

LOOK_EVERY = 2.0
"""Seconds between two looks at whether another process has failed."""

STORE_TIMEOUT = timedelta(seconds=30)
"""For the store, which is there by then unless the process that holds it has ended."""


@contextmanager
def together(launcher: Launcher, device: str) -> Iterator[str]:
    """Within the block this process is one of the launch's; it yields the name of the device that is this one's.

    Whatever ends one process ends all of them, with exit code 2 and, if it was a ``BenchError``, with the one line of
    the process that failed first. At the end they wait for each other, unless they have parted before. Without a
    launcher there is nothing to join, and ``device`` is handed back.

    Args:
        launcher: how this process was started.
        device: as the user named it.

    Raises:
        BenchError: the device is unknown or not here, or the main process has ended before this one could join it.
        SystemExit: another process has failed.
    """
    if launcher == "none":
        yield device
        return
    with said_once(launcher):
        own = join(launcher, device)
    failure = Failure()
    failure.watch()
    try:
        if distributed.is_initialized():
            distributed.barrier()  # nobody ends while another one is still looking for the store
        yield str(own)
        if distributed.is_initialized():
            distributed.barrier()
    except Exception:  # whatever it is: the others must not wait for this process
        if not failure.announce():
            time.sleep(PATIENCE)
            sys.exit(2)
        raise
    failure.unwatch()
    if distributed.is_initialized():
        distributed.destroy_process_group()


class Failure:
    """The first failure of any of the processes, as all of them can learn of it."""

    def __init__(self) -> None:
        # A connection of its own: the one of the process group may be waiting in the main thread.
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        try:
            self.store = distributed.TCPStore(  # type: ignore[attr-defined]
                address, port, is_master=False, wait_for_workers=False, timeout=STORE_TIMEOUT
            )
        except distributed.DistNetworkError as error:
            raise BenchError(f"the main process, at {address}:{port}, ended before this one could join it") from error
        # torchrun can start failed processes anew, beside the same store.
        self.key = f"detailclip-bench/failed/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        self.over = threading.Event()

    def watch(self) -> None:
        """End this process a while after another one has failed, whatever it is waiting for."""
        threading.Thread(target=self._watch, daemon=True).start()

    def unwatch(self) -> None:
        """From now on this process may end when it likes."""
        self.over.set()

    def announce(self) -> bool:
        """Tell the others that this process fails; whether it is the first, and not merely failing along."""
        self.unwatch()
        try:
            return self.store.add(self.key, 1) == 1
        except RuntimeError:  # the process that held the store is gone
            return False

    def _watch(self) -> None:
        while not self.over.wait(LOOK_EVERY):
            try:
                failed = self.store.check([self.key])
            except RuntimeError:  # who held the store has ended: the launcher was killed, or the main process failed
                os._exit(2)
            # The first to fail must be heard before a launcher, seeing this process end, ends it too.
            if failed and not self.over.wait(PATIENCE):
                os._exit(2)


def main_first(work: Callable[[], Result]) -> Result:
    """What ``work`` returns, done by the main process before the others do it: they find its files and caches.

    What one process is refused, all are: they go on together or not at all.

    Raises:
        BenchError: what ``work`` raised here or elsewhere.
    """
    if count_processes() == 1:
        return work()
    attempt = Attempt(work)
    if is_main():
        attempt.make()
    if from_main(attempt.refusal is None) and not is_main():
        attempt.make()
    for one in from_all(attempt.refusal):
        if one is not None:
            raise one
    return attempt.results[0]


def from_all(value: Result) -> list[Result]:
    """The values of all processes, in their order, on every process."""
    values: list[Result | None] = [None] * count_processes()
    distributed.all_gather_object(values, value)
    return cast(list[Result], values)


class Attempt(Generic[Result]):
    """Work that may be refused."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self.work = work
        self.results: list[Result] = []
        self.refusal: BenchError | None = None

    def make(self) -> None:
        """Do it."""
        try:
            self.results.append(self.work())
        except BenchError as error:
            self.refusal = error


@contextmanager
def none_goes_on_alone(several: bool) -> Iterator[None]:
    """Within the block unusable data end the launch, not this benchmark alone: the others are in the midst of it.

    Args:
        several: whether there are others.

    Raises:
        BenchError: in place of a ``DataError``, if there are.
    """
    try:
        yield
    except DataError as error:
        if several:
            raise BenchError(str(error)) from error
        raise


def mean_of_all(value: Tensor) -> Tensor:
    """The mean of a 0-d tensor over all processes, as float32; every process must ask for it."""
    mean = value.detach().to(torch.float32, copy=True)
    if count_processes() > 1:
        distributed.all_reduce(mean)
    return mean / count_processes()
