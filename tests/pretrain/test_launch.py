"""Several processes: they give what one process gives, and what cannot be launched is refused once, in one line."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import cli
from benchmarks.engine import launch
from benchmarks.engine.launch import check_launcher, from_main, join, must_relaunch
from benchmarks.errors import OptionError
from tests.pretrain.test_training import largest_difference, scalars
from tests.pretrain.toy import train, train_joined, write_pairs
from tests.processes import finish, run_together, start_bench

CLIP = [
    *("training.epochs=2", "training.batch_size=4", "execution.log_interval=1", "image_tower.image_size=32"),
    "training.eps=1e-3",  # AdamW makes whole steps of rounding errors where a gradient is 0 (the bias of keys)
    *("image_tower.depth=1", "text_tower.depth=1", "text_tower.width=32", "joint=16"),
]
"""A real method, small: its contrastive loss compares all pairs of all processes."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data")


def small_clip(root: Path, out: Path) -> list[Any]:
    """The arguments with which ``bench`` trains it."""
    overrides = [word for override in CLIP for word in ("-o", override)]
    return ["pretrain", "clip_tiny_sample", "--device", "cpu", "--data-root", root, "--out", out, *overrides]


def bench(root: Path, out: Path, *options: Any) -> subprocess.CompletedProcess[str]:
    """``bench pretrain`` of the small CLIP, as from a shell."""
    arguments = map(str, (*small_clip(root, out), *options))
    return subprocess.run([sys.executable, "-m", "benchmarks.cli", *arguments], capture_output=True, text=True)


def error_lines(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("error:")]


@pytest.mark.slow
@pytest.mark.parametrize("device_batch", [2, 1])
def test_two_gloo_processes_equal_one(root: Path, tmp_path: Path, device_batch: int) -> None:
    """As under torchrun, also with accumulation: the same pairs, losses averaged, the same weights after every step."""
    options = ("training.epochs=2", "execution.log_interval=1")
    train(root, tmp_path / "one", *options)
    run_together(2, train_joined, root, tmp_path / "two", *options, f"execution.device_batch={device_batch}")
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-6
    assert len(list((tmp_path / "two/logs").iterdir())) == 1, "the main process alone writes"


@pytest.mark.slow
def test_bench_starts_the_processes_itself(root: Path, tmp_path: Path) -> None:
    result = bench(root, tmp_path / "two", "--launcher", "pytorch", "--nproc", 2, "-o", "execution.device_batch=2")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("evaluate it with") == 1
    finish(start_bench(*small_clip(root, tmp_path / "one"), "-o", "execution.device_batch=4"))
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
def test_what_only_the_main_process_is_refused_ends_all_in_one_line(root: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/training.json").write_text('{"method": "another"}')
    result = bench(root, tmp_path / "out", "--launcher", "pytorch", "--nproc", 2, "-o", "execution.device_batch=2")
    assert result.returncode == 2
    assert ["was begun with" in line for line in error_lines(result)] == [True]
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_failing_process_ends_all_with_its_own_code(root: Path, tmp_path: Path) -> None:
    for number in range(10):
        (root / f"pairs/{number}.png").write_bytes(b"")
    result = bench(root, tmp_path / "out", "--launcher", "pytorch", "--nproc", 2, "-o", "execution.device_batch=2")
    assert result.returncode == 2
    assert len(error_lines(result)) == 1
    assert not {"ChildFailedError", "Traceback"} & set(result.stderr.replace(":", " ").split())


@pytest.mark.parametrize(
    ("launcher", "processes", "environment", "named"),
    [
        ("none", 2, {}, "--nproc 2: only --launcher pytorch"),
        ("slurm", 2, {"SLURM_PROCID": "0"}, "--nproc 2: only --launcher pytorch"),
        ("pytorch", 3, {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_WORLD_SIZE": "2"}, "torchrun started 2"),
        ("none", None, {"TORCHELASTIC_RUN_ID": "x", "RANK": "0"}, "add --launcher pytorch"),
        ("slurm", None, {}, "start the command with srun"),
        ("pytorch", None, {"MASTER_PORT": "tty0"}, "MASTER_PORT=tty0, which is no number"),
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


@pytest.mark.parametrize(("seen", "local", "usable"), [(0, 0, False), (1, 0, True), (1, 1, False), (4, 3, True)])
def test_a_slurm_task_must_see_the_gpu_of_its_number(
    monkeypatch: pytest.MonkeyPatch, seen: int, local: int, usable: bool
) -> None:
    """MMEngine takes the GPU by SLURM_LOCALID: with one GPU bound to each task, task 1 would take one it cannot see."""
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_LOCALID", str(local))
    monkeypatch.setattr("torch.cuda.device_count", lambda: seen)
    if usable:
        check_launcher("slurm", None)
        return
    with pytest.raises(OptionError, match=f"task {local} of this node sees {seen} GPUs.*--gres=gpu:N"):
        check_launcher("slurm", None)


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_process_says_what_all_are_refused_before_they_join(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path, rank: int
) -> None:
    waited: list[float] = []
    options = ["--launcher", "pytorch", "--nproc", "3"]
    monkeypatch.setattr("time.sleep", waited.append)
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("LOCAL_WORLD_SIZE", "2"), ("RANK", str(rank))):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["bench", "pretrain", "clip_tiny_sample", "--data-root", str(root), *options])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert [line[:6] for line in said] == ([] if rank else ["error:"])
    assert waited == ([launch.PATIENCE] if rank else []), "the first must be heard before the launcher ends it"


def test_slurm_tasks_that_do_not_train_together_all_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with pytest.raises(OptionError):
        check_launcher("none", 2)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(SystemExit):
        check_launcher("slurm", 2)


@pytest.mark.slow
def test_under_torchrun_a_refusal_is_one_line(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "benchmarks.cli", "pretrain", "clip_tiny_sample", "--launcher", "pytorch", "--device", "cpu"]
    options = ("--data-root", str(root), "--out", str(tmp_path / "out"), "-o", "training.lr=fast")
    result = subprocess.run([*command, *options], capture_output=True, text=True)
    assert result.returncode != 0
    assert len(error_lines(result)) == 1
    assert not (tmp_path / "out").exists()


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
