"""Processes of one launch end together, with one line, even where nothing but they themselves would end them."""

import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from benchmarks.engine import launch
from benchmarks.engine.launch import check_launcher, count_processes, is_main, join, launched, must_relaunch
from benchmarks.engine.together import Failure, main_first, mean_of_all, none_goes_on_alone, together
from benchmarks.errors import BenchError, DataError, OptionError

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def fail(how: str) -> tuple[list[int], list[str]]:
    """Exit codes and errors of two processes that only PyTorch's standard variables bring together: no torchrun."""
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.engine.failing", how]
    processes = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, **told, "RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in "01"
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    return [process.returncode for process in processes], errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("second", "error: of the second"),
        ("main", "error: of the main one"),
        ("everywhere", "error: the same everywhere"),
    ],
)
def test_one_line_and_all_have_ended(how: str, line: str) -> None:
    codes, errors = fail(how)
    assert codes == [2, 2]
    lines = [said for said in "".join(errors).splitlines() if said.startswith("error:")]
    assert lines == [line]
    assert "Traceback" not in "".join(errors)


@pytest.mark.slow
def test_a_bug_has_its_own_traceback_and_no_other() -> None:
    codes, errors = fail("bug")
    assert codes == [2, 1]
    assert "ValueError: a bug" in errors[1]
    assert "Traceback" not in errors[0]


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "late"), [(0, None), (0, 1), (1, 0)])
def test_a_killed_process_leaves_no_other_waiting(rank: int, late: int | None) -> None:
    """Also not if it holds the store in which they would tell each other, and another one is late to find that."""
    codes, _ = fail(f"killed {rank}" if late is None else f"killed {rank} late {late}")
    assert codes[rank] == -9
    assert codes[1 - rank] != 0


def test_a_main_process_that_has_ended_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.engine.together.STORE_TIMEOUT", timedelta(seconds=1))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    with pytest.raises(BenchError, match=r"the main process, at 127.0.0.1:\d+, ended before this one could join it"):
        Failure()


@pytest.mark.slow
def test_what_one_is_refused_all_are_and_they_go_on_together() -> None:
    codes, errors = fail("skipped")
    assert codes == [0, 0], errors


def test_alone_there_is_nobody_to_wait_for() -> None:
    with together("none", "auto") as device:
        assert device == "auto"
    assert (count_processes(), is_main()) == (1, True)
    assert main_first(lambda: 5) == 5
    assert float(mean_of_all(torch.tensor(3))) == 3
    with pytest.raises(DataError), none_goes_on_alone(False):
        raise DataError("skipped")
    with pytest.raises(BenchError) as caught, none_goes_on_alone(True):
        raise DataError("not skipped")
    assert type(caught.value) is BenchError


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_PROCID", "LOCAL_RANK", "LOCAL_WORLD_SIZE", *launch.STANDARD):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_the_standard_variables_are_enough(clean: pytest.MonkeyPatch) -> None:
    """A cluster that sets them has started the processes; whoever names a number wants them started here."""
    assert not launched()
    for name in launch.STANDARD:
        clean.setenv(name, "1")
    assert launched()
    check_launcher("none", None)  # they may be set for others to read
    check_launcher("pytorch", None)
    assert not must_relaunch("pytorch")
    assert must_relaunch("pytorch", 4)
    assert not must_relaunch("none")


def test_more_processes_than_gpus_is_one_line(clean: pytest.MonkeyPatch) -> None:
    """Every process of the machine is refused, so that none waits for the others."""
    clean.setenv("TORCHELASTIC_RUN_ID", "x")
    clean.setenv("LOCAL_WORLD_SIZE", "4")
    clean.setenv("RANK", "0")
    clean.setattr("torch.cuda.is_available", lambda: True)
    clean.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(OptionError, match="4 processes on this machine, but 2 GPUs"):
        join("pytorch", "auto")
