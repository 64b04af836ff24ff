"""Processes of their own that have imported everything already: what they do begins at once.

Python's fork server imports the heavy libraries, a single time, and each process is a fork of it: a process like any
other, which can be killed and knows nothing of the tests' own. Where it matters how a command is started (by the
shell, by torchrun), tests start it so.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from typing import Any

_SERVER = get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["benchmarks.cli", "benchmarks.dense.detection", "benchmarks.dense.segmentation", "benchmarks.engine.runner",
     "mmdet.engine", "mmdet.models", "mmdet.visualization", "mmseg.models", "pandas", "pretrain.training"]
)  # fmt: skip


def start(
    function: Callable[..., Any], *arguments: Any, environment: Mapping[str, str] | None = None
) -> ForkServerProcess:
    """Call a function, by name importable, in a process of its own, with more environment variables if given."""
    process = _SERVER.Process(target=_call, args=(function, arguments, {**os.environ, **(environment or {})}))
    process.start()
    return process


def _call(function: Callable[..., Any], arguments: Sequence[Any], environment: Mapping[str, str]) -> None:
    os.setpgid(0, 0)
    os.environ.update(environment)
    function(*arguments)


def kill(process: ForkServerProcess) -> None:
    """kill -9 of a process under way and of those that it has started.

    Left alone, the workers of a data loader notice after up to five seconds that nobody reads what they load, and hold
    the lock of the run until then.
    """
    assert process.pid is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.join()


def finish(*processes: ForkServerProcess) -> None:
    """Wait until all have ended well."""
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


def start_bench(*arguments: Any) -> ForkServerProcess:
    """``bench`` with these arguments."""
    return start(_bench, [str(argument) for argument in arguments])


def _bench(arguments: list[str]) -> None:
    from benchmarks import cli

    sys.argv = ["bench", *arguments]
    cli.main()


def run_together(count: int, function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function in several processes that torchrun might have started on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "none",
        "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count),
    }  # fmt: skip
    places = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    finish(*(start(function, *arguments, environment={**common, **place}) for place in places))
