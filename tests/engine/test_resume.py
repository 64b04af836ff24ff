"""A run that was stopped and taken up ends exactly like one that was not: weights, optimiser, schedule."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from benchmarks.engine.runner import STATE_FILE
from benchmarks.engine.state import load_state, save_state
from benchmarks.errors import RecordError
from tests.engine.toy import train, train_slowly
from tests.processes import finish, kill, start


def final_state(folder: Path) -> dict[str, Any]:
    return load_state(folder / STATE_FILE)


def assert_same(left: Any, right: Any) -> None:
    """Equality of whole trees, tensors bit for bit."""
    assert type(left) is type(right)
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        assert left == right


@pytest.mark.parametrize("workers", [0, 2])
def test_stopping_and_taking_up_changes_nothing(tmp_path: Path, workers: int) -> None:
    train(tmp_path / "whole", 20, workers=workers)
    for iterations in (7, 11, 20):  # 7 and 11 lie inside an epoch (10 samples, batches of 4)
        train(tmp_path / "parts", iterations, workers=workers)
    assert_same(final_state(tmp_path / "parts"), final_state(tmp_path / "whole"))


def test_a_finished_run_is_not_trained_further(tmp_path: Path) -> None:
    train(tmp_path, 8)
    before = final_state(tmp_path)
    runner = train(tmp_path, 8)
    assert runner.iter == 8
    assert_same(final_state(tmp_path), before)


def test_loader_workers_do_not_change_the_data(tmp_path: Path) -> None:
    train(tmp_path / "none", 9, workers=0)
    train(tmp_path / "two", 9, workers=2)
    assert_same(final_state(tmp_path / "none"), final_state(tmp_path / "two"))


@pytest.mark.slow
def test_kill_at_random_moments_then_resume(tmp_path: Path) -> None:
    """SIGKILL leaves whole files only, and the run that follows ends like an uninterrupted one."""
    train(tmp_path / "whole", 40)
    killed = tmp_path / "killed"
    moments = random.Random(0)
    for _ in range(3):
        process = start(train_slowly, killed)
        before = iterations_done(killed)
        deadline = time.monotonic() + 120
        while iterations_done(killed) == before and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(moments.random() * 0.1)
        kill(process)
        assert 0 < iterations_done(killed) < 40, "the kill must hit a run under way"
    finish(start(train_slowly, killed))
    assert_same(final_state(killed), final_state(tmp_path / "whole"))


def iterations_done(folder: Path) -> int:
    """Read beside the running writer: through one open file, since the name may get another file at any moment."""
    path = folder / STATE_FILE
    if not path.exists():
        return 0
    with path.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return int(dict(json.loads(header["__metadata__"]["state"])["$mapping"])["iterations"])


def test_a_damaged_state_is_named_and_not_trained_over(tmp_path: Path) -> None:
    train(tmp_path, 4)
    path = tmp_path / STATE_FILE
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RecordError, match=STATE_FILE):
        train(tmp_path, 8)


def test_a_run_is_not_taken_up_in_another_precision(tmp_path: Path) -> None:
    """Begun in fp32 on the CPU, continued in fp16 on a GPU: the record could not say what it is."""
    train(tmp_path, 3)
    state = final_state(tmp_path)
    save_state(tmp_path / STATE_FILE, state | {"precision": "AmpOptimWrapper"})
    with pytest.raises(RecordError, match="begun with AmpOptimWrapper"):
        train(tmp_path, 6)


@pytest.mark.parametrize("part", ["precision", "model", "optimizer", "schedulers", "iterations", "sizes", "groups"])
def test_a_state_that_does_not_fit_is_one_line(tmp_path: Path, part: str) -> None:
    train(tmp_path, 3)
    state = final_state(tmp_path)
    if part == "sizes":
        state["model"]["net.0.weight"] = torch.zeros(9, 4)
    elif part == "groups":
        state["optimizer"]["param_groups"] *= 2
    else:
        del state[part]
    save_state(tmp_path / STATE_FILE, state)
    with pytest.raises(RecordError, match=f"{STATE_FILE}: does not fit this training.*--existing overwrite") as caught:
        train(tmp_path, 6)
    assert "\n" not in str(caught.value)


def test_the_state_holds_no_pickle(tmp_path: Path) -> None:
    train(tmp_path, 3)
    with safe_open(tmp_path / STATE_FILE, framework="pt") as file:
        assert file.metadata().keys() == {"state"}


def test_schedule_is_resumed_too(tmp_path: Path) -> None:
    train(tmp_path / "whole", 12)
    train(tmp_path / "parts", 5)
    runner = train(tmp_path / "parts", 12)
    whole = final_state(tmp_path / "whole")["optimizer"]["param_groups"][0]["lr"]
    assert runner.optim_wrapper.param_groups[0]["lr"] == whole
