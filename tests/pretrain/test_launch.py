"""Several processes: they give what one process gives, and what cannot be launched is refused once, in one line."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.engine.launch import check_launcher, from_main, join, must_relaunch
from benchmarks.errors import OptionError
from tests.pretrain.test_training import largest_difference, scalars
from tests.pretrain.toy import train, write_pairs

CLIP = [
    *("training.epochs=2", "training.batch_size=4", "execution.log_interval=1", "image_tower.image_size=32"),
    "training.eps=1e-3",  # AdamW makes whole steps of rounding errors where a gradient is 0 (the bias of keys)
    *("image_tower.depth=1", "text_tower.depth=1", "text_tower.width=32", "joint=16"),
]
"""A real method, small: its contrastive loss compares all pairs of all processes."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data")


def bench(root: Path, out: Path, *options: Any) -> subprocess.CompletedProcess[str]:
    """``bench pretrain`` of the small CLIP."""
    overrides = [word for override in CLIP for word in ("-o", override)]
    command = [sys.executable, "-m", "benchmarks.cli", "pretrain", "clip_tiny_sample", "--device", "cpu"]
    options = ("--data-root", root, "--out", out, *overrides, *options)
    return subprocess.run([*command, *map(str, options)], capture_output=True, text=True)


def error_lines(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("error:")]


@pytest.mark.slow
@pytest.mark.parametrize("device_batch", [2, 1])
def test_two_gloo_processes_equal_one(root: Path, tmp_path: Path, device_batch: int) -> None:
    """Under torchrun, also with accumulation: the same pairs, losses averaged, the same weights after every step."""
    options = ("training.epochs=2", "execution.log_interval=1")
    train(root, tmp_path / "one", *options)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "tests.pretrain.toy", str(root), str(tmp_path / "two"), "pytorch", *options]
    subprocess.run([*command, f"execution.device_batch={device_batch}"], check=True, capture_output=True)
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-6
    assert len(list((tmp_path / "two/logs").iterdir())) == 1, "the main process alone writes"


@pytest.mark.slow
def test_bench_starts_the_processes_itself(root: Path, tmp_path: Path) -> None:
    result = bench(root, tmp_path / "two", "--launcher", "pytorch", "--nproc", 2, "-o", "execution.device_batch=2")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("evaluate it with") == 1
    assert bench(root, tmp_path / "one", "-o", "execution.device_batch=4").returncode == 0
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-5
    losses = [[line["loss"] for line in scalars(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4), "averaged over processes"


@pytest.mark.slow
def test_what_is_wrong_is_said_once(root: Path, tmp_path: Path) -> None:
    result = bench(root, tmp_path / "out", "--launcher", "pytorch", "--nproc", 2, "-o", "execution.device_batch=3")
    assert result.returncode == 2
    assert len(error_lines(result)) == 1
    assert "times 2 processes" in error_lines(result)[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_failing_process_ends_all_with_its_own_code(root: Path, tmp_path: Path) -> None:
    for number in range(10):
        (root / f"pairs/{number}.png").write_bytes(b"")
    result = bench(root, tmp_path / "out", "--launcher", "pytorch", "--nproc", 2, "-o", "execution.device_batch=2")
    assert result.returncode == 2
    assert error_lines(result)
    assert "ChildFailedError" not in result.stderr


@pytest.mark.parametrize(
    ("launcher", "processes", "environment", "named"),
    [
        ("none", 2, {}, "--nproc 2: only --launcher pytorch"),
        ("slurm", 2, {"SLURM_PROCID": "0"}, "--nproc 2: only --launcher pytorch"),
        ("pytorch", 3, {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2"}, "torchrun started 2"),
        ("none", None, {"TORCHELASTIC_RUN_ID": "x"}, "add --launcher pytorch"),
        ("slurm", None, {}, "start the command with srun"),
    ],
)
def test_launches_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, launcher: Any, processes: int | None, environment: dict[str, str], named: str
) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OptionError, match=named):
        check_launcher(launcher, processes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_slurm_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PROCID", "0")
    with pytest.raises(OptionError, match="no GPU"):
        check_launcher("slurm", None)


def test_who_starts_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert [must_relaunch(launcher) for launcher in ("none", "pytorch", "slurm")] == [False, True, False]
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert not must_relaunch("pytorch")


def test_alone_nobody_is_joined() -> None:
    assert join("none", "cpu") == torch.device("cpu")
    assert from_main("mine") == "mine"
    assert not torch.distributed.is_initialized()


def test_each_process_takes_its_own_gpu() -> None:
    with pytest.raises(OptionError, match=r"write auto or cuda|no such device"):
        join("pytorch", "cuda:0")
