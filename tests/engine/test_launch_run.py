"""``bench run --launcher pytorch``: it starts the processes itself, one of them speaks, and a kill costs little."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.data.sample import generate
from benchmarks.records import Record, Store
from tests.processes import finish, start_bench

pytestmark = pytest.mark.slow

TWO = ("--launcher", "pytorch", "--nproc", "2")
FIELDS = ("iterations=24", "batch_size=2", "execution.state_interval=4", "crop_size=(64,64)", "image_scale=(256,64)",
          "test_stride=(43,43)")  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "root"
    generate(folder, train=4, validation=3, pairs=1, held_out=1, views=0, described=0, boxed=0)
    return folder


def arguments(data: Path, out: Path) -> list[str]:
    overrides = [word for field in FIELDS for word in ("-o", field)]
    places = ["--data-root", str(data), "--out", str(out), "--quick", "--device", "cpu"]
    return ["run", "ade20k-linear", *places, *overrides]


def command(data: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.cli", *arguments(data, out), *options]


def bench(data: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(data, out, *options), capture_output=True, text=True, timeout=300, check=False)


def the_record(out: Path) -> Record:
    (record,) = Store(out).load_all()
    return record


def kill_all(launcher: int) -> None:
    """kill -9 of a launcher and of what it started, as when a machine goes down."""
    started = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for process in (launcher, *map(int, started)):
        os.kill(process, signal.SIGKILL)


def test_kill_then_the_same_command(data: Path, tmp_path: Path) -> None:
    """kill -9, then the same once more: resumed, and equal to one process that nobody killed."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(command(data, killed, *TWO), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not any(killed.rglob("resume.safetensors")) and time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    kill_all(process.pid)
    process.wait()
    assert not list(killed.rglob("record.json"))
    again = bench(data, killed, *TWO)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("mIoU") == 1, "one of them speaks"
    assert again.stderr.count("writing to") == 1
    finish(start_bench(*arguments(data, whole)))
    resumed, alone = the_record(killed), the_record(whole)
    assert (resumed.run_state, resumed.environment.device) == ("resumed", "2 x cpu")
    assert resumed.run_id == alone.run_id
    assert resumed.metrics["mIoU"].value == pytest.approx(alone.metrics["mIoU"].value, abs=1e-6)
    frames = [Store(out).read_samples(resumed.run_id) for out in (killed, whole)]
    pd.testing.assert_series_equal(frames[0]["sample_id"], frames[1]["sample_id"])


def test_what_cannot_be_is_said_once(data: Path, tmp_path: Path) -> None:
    """A batch that does not divide: one line that names numbers that do, before anything is trained."""
    found = bench(data, tmp_path / "out", *TWO, "-o", "batch_size=3")
    assert found.returncode == 2
    (line,) = [said for said in found.stderr.splitlines() if said.startswith("error:")]
    assert "choose batch_size=2 or 4" in line
    assert "Traceback" not in found.stderr
    assert not list((tmp_path / "out").rglob("record.json"))
