"""Several processes for one training: starting them, joining them, and which of them speaks."""

import logging
import os
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, NoReturn

import torch

from benchmarks.engine.device import choose_device
from benchmarks.errors import BenchError, OptionError

Launcher = Literal["none", "pytorch", "slurm"]

_LONGEST_WAIT = timedelta(days=1)
"""For the first process, while it decodes a data set that is read for the first time."""

STANDARD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""The environment variables by which PyTorch's processes find each other."""

PATIENCE = 5.0
"""Seconds that the other processes leave the first one to say why all of them end."""


@contextmanager
def said_once(launcher: Launcher) -> Iterator[None]:
    """What all processes of a training are refused alike, before it begins, the first one alone says.

    The others end in silence, with code 2 too, but not before it: launchers end all processes as soon as one has
    ended, and that one must be heard. What befalls a single process later on is its own to say.

    Args:
        launcher: how this process was started.

    Raises:
        BenchError: on the first process.
        SystemExit: on the others.
    """
    try:
        yield
    except BenchError:
        if _rank(launcher) == 0:
            raise
        time.sleep(PATIENCE)
        sys.exit(2)


def _rank(launcher: Launcher) -> int:
    """Of this process, also before it has joined the others. Slurm tasks that do not train together are all first."""
    if by_torchrun() or (launcher == "pytorch" and launched()):
        return int(os.environ["RANK"])
    return int(os.environ.get("SLURM_PROCID", "0")) if launcher == "slurm" else 0


def check_launcher(launcher: Launcher, processes: int | None) -> None:
    """Refuse what cannot be launched.

    Args:
        launcher: how the processes of a training are started.
        processes: how many are to be started on this machine, where that was told.

    Raises:
        OptionError: ``processes`` without ``pytorch`` or other than torchrun's, or a launcher whose environment is
            not there.
    """
    with said_once(launcher):
        _require_launcher(launcher, processes)


def _require_launcher(launcher: Launcher, processes: int | None) -> None:
    if processes is not None and launcher != "pytorch":
        raise OptionError(f"--nproc {processes}: only --launcher pytorch starts processes")
    if processes is not None and by_torchrun() and processes != int(os.environ["LOCAL_WORLD_SIZE"]):
        raise OptionError(f"--nproc {processes}: torchrun started {os.environ['LOCAL_WORLD_SIZE']}; leave --nproc out")
    for name in (*STANDARD, "LOCAL_WORLD_SIZE"):
        value = os.environ.get(name, "0")
        if launcher == "pytorch" and name != "MASTER_ADDR" and not value.isdecimal():
            raise OptionError(f"--launcher pytorch: the environment says {name}={value}, which is no number")
    if launcher == "slurm" and "SLURM_PROCID" not in os.environ:
        raise OptionError("--launcher slurm: this is not a Slurm task; start the command with srun")
    if launcher == "slurm":
        _require_gpu_of_task()
    if launcher == "none" and by_torchrun():
        raise OptionError("this process was started by torchrun; add --launcher pytorch")


def _require_gpu_of_task() -> None:
    """Refuse a Slurm task that does not see the GPU of its local number, which MMEngine gives it.

    Raises:
        OptionError: it sees none, or only its own under the number 0.
    """
    seen, local = torch.cuda.device_count(), int(os.environ.get("SLURM_LOCALID", "0"))
    if seen <= local:
        raise OptionError(
            f"--launcher slurm: task {local} of this node sees {seen} GPUs, but takes the one of its own number (Slurm "
            "tasks compute on GPUs only); let every task see all of its node: --gres=gpu:N, without --gpus-per-task or "
            "--gpu-bind"
        )


def by_torchrun() -> bool:
    """Whether torchrun (or :func:`relaunch`) started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launched() -> bool:
    """Whether this process was told its place: by torchrun, or by whatever sets PyTorch's standard variables."""
    return by_torchrun() or all(name in os.environ for name in STANDARD)


def must_relaunch(launcher: Launcher, processes: int | None = None) -> bool:
    """Whether this process is only to start the ones that train.

    Args:
        launcher: how this process was started.
        processes: how many the user wants to be started here, if told. A cluster may set the standard variables for
            torchrun to read; who names a number wants that many started.
    """
    return launcher == "pytorch" and not by_torchrun() and (processes is not None or not launched())


def default_processes() -> int:
    """One for each GPU here, or a single one."""
    return max(torch.cuda.device_count(), 1)


def relaunch(arguments: Sequence[str], processes: int) -> NoReturn:
    """Run ``python -m benchmarks.cli`` with ``arguments`` in several processes, as torchrun would, and exit as they do.

    The processes share the machine's cores unless OMP_NUM_THREADS says otherwise.

    Args:
        arguments: of the command, its name left out.
        processes: how many.

    Raises:
        SystemExit: always; the code is 0, that of the process that failed first, or 128 and the number of the signal
            that ended them all (Ctrl-C).
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(len(os.sched_getaffinity(0)) // processes, 1)))
    # The processes have said what was wrong; a report of the launcher's own would bury it.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        max_restarts=0, run_id=str(uuid.uuid4()),
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)("-m", "benchmarks.cli", *arguments)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        sys.exit(failure.exitcode)
    except SignalException as stopped:
        sys.exit(128 + stopped.sigval)
    sys.exit(0)


def join(launcher: Launcher, device: str) -> torch.device:
    """Become one of the training's processes, and tell which device is this one's.

    Processes on the CPU talk through gloo, on GPUs through nccl, each with the GPU of its local rank. One that has
    joined already stays with its device.

    Args:
        launcher: how this process was started.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or, without launcher, ``"cuda:N"``.

    Raises:
        OptionError: the device is unknown, is not here, or is a numbered one though each process takes its own.
    """
    chosen = choose_device(device)
    if launcher == "none" or torch.distributed.is_initialized():
        return chosen
    if ":" in device:
        raise OptionError(f"--device {device}: each process takes a GPU of its own; write auto or cuda")
    if chosen.type == "cpu":
        torch.distributed.init_process_group("gloo", timeout=_LONGEST_WAIT)
        return chosen
    return _join_on_gpu(launcher)


def _join_on_gpu(launcher: Launcher) -> torch.device:
    """MMEngine's start of process groups, which knows Slurm's variables.

    Raises:
        OptionError: there are more processes here than GPUs.
    """
    from mmengine.dist import init_dist

    if launcher == "pytorch":
        seen = torch.cuda.device_count()
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        if here > seen:
            raise OptionError(f"{here} processes on this machine, but {seen} GPUs; start as many, or add --device cpu")
        # Not one of the standard variables: without it the processes of a machine are taken to be numbered in a row.
        os.environ.setdefault("LOCAL_RANK", str(int(os.environ["RANK"]) % seen))
    init_dist(launcher, backend="nccl", timeout=_LONGEST_WAIT.total_seconds())
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


def from_main(value: Any) -> Any:
    """The ``value`` that the main process has, on every process."""
    from mmengine.dist import broadcast_object_list

    values = [value]
    broadcast_object_list(values)
    return values[0]


def count_processes() -> int:
    """Of the launch that this process has joined; 1 if there is none."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def is_main() -> bool:
    """Whether this process is the only one of its launch, or the one that speaks for all."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
