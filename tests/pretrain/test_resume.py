"""A pretraining that was killed and taken up ends with the very same bits as one that was not."""

import random
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.engine.runner import STATE_FILE
from benchmarks.engine.state import load_state
from pretrain.training import CHECKPOINT
from tests.engine.test_resume import assert_same, iterations_done
from tests.pretrain.toy import Toy, train, write_pairs
from tests.processes import finish, kill, start, start_bench

RANDOM = "fields.dropout=0.5"  # so that a generator in another state would show


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data")


def assert_same_end(out: Path, whole: Path) -> None:
    assert_same(load_state(out / STATE_FILE), load_state(whole / STATE_FILE))
    assert (out / CHECKPOINT).read_bytes()[-1000:] == (whole / CHECKPOINT).read_bytes()[-1000:]


@pytest.mark.parametrize("device_batch", [4, 2])
def test_interrupted_within_an_epoch(
    monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path, device_batch: int
) -> None:
    """States are written every 3 steps of 4 pairs out of 10: never at the end of a pass, always between two steps."""
    overrides = (RANDOM, f"execution.device_batch={device_batch}")
    train(root, tmp_path / "whole", *overrides)
    after_step = Toy.after_step

    def interrupt(self: Toy) -> None:
        after_step(self)
        if self.steps_done == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Toy, "after_step", interrupt)
    for steps_left in (10, 7):  # begun, then taken up at step 3; each time stopped after five steps
        with pytest.raises(KeyboardInterrupt):
            train(root, tmp_path / "parts", *overrides)
        assert iterations_done(tmp_path / "parts") == (10 - steps_left + 3) * (4 // device_batch)
        assert not (tmp_path / "parts" / CHECKPOINT).exists()
    monkeypatch.undo()
    assert "begun but not finished" in train(root, tmp_path / "parts", *overrides, existing="skip")[-1]
    train(root, tmp_path / "parts", *overrides)
    assert_same_end(tmp_path / "parts", tmp_path / "whole")


def test_killed_after_the_last_step_and_before_the_checkpoint(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "out")
    before = (tmp_path / "out" / CHECKPOINT).read_bytes()
    (tmp_path / "out" / CHECKPOINT).unlink()
    train(root, tmp_path / "out")
    assert (tmp_path / "out" / CHECKPOINT).read_bytes() == before


def run_with_three_kills(
    begin: Callable[[], ForkServerProcess], out: Path, iterations: int, longest_wait: float
) -> None:
    """Run what ``begin`` starts to its end, after three attempts that are killed a moment after the run has gone on."""
    moments = random.Random(0)
    for _ in range(3):
        process = begin()
        before, deadline = iterations_done(out), time.monotonic() + 120
        while iterations_done(out) == before and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(moments.random() * longest_wait)
        kill(process)
        assert 0 < iterations_done(out) < iterations, "the kill must hit a run under way"
    finish(begin())


@pytest.mark.slow
def test_kill_9_at_three_random_moments(root: Path, tmp_path: Path) -> None:
    overrides = (RANDOM, "fields.pause=0.1", "training.epochs=16", "execution.workers=1")
    train(root, tmp_path / "whole", *overrides)
    killed = tmp_path / "killed"
    run_with_three_kills(lambda: start(train, root, killed, *overrides), killed, iterations=40, longest_wait=0.3)
    assert_same_end(killed, tmp_path / "whole")


SMALL = (
    "image_tower.image_size=32", "image_tower.patch_size=8", "image_tower.width=32", "image_tower.depth=2",
    "image_tower.heads=2", "text_tower.width=32", "text_tower.depth=1", "text_tower.heads=1", "joint=16",
    "fields.head.hidden=16", "fields.head.bottleneck=8", "fields.head.prototypes=32", "fields.decoder_heads=2",
    "training.batch_size=4", "training.epochs=16", "execution.device_batch=2", "execution.state_interval=1",
)  # fmt: skip
"""DetailCLIP on ten pictures: 40 steps of two micro-batches, and the patch temperature changes after the first pass."""


@pytest.mark.slow
def test_detailclip_killed_at_three_random_moments(root: Path, tmp_path: Path) -> None:
    """Through the command line, with teacher, centres, fused AdamW and the generated weights as they are."""
    options = [part for override in SMALL for part in ("-o", override)]

    def begin(out: Path) -> ForkServerProcess:
        return start_bench("pretrain", "detailclip_tiny_sample", "--data-root", root, "--out", out, *options)

    finish(begin(tmp_path / "whole"))
    killed = tmp_path / "killed"
    run_with_three_kills(lambda: begin(killed), killed, iterations=80, longest_wait=0.1)
    assert_same(load_state(killed / STATE_FILE), load_state(tmp_path / "whole" / STATE_FILE))
    ours, theirs = (load_file(folder / CHECKPOINT) for folder in (killed, tmp_path / "whole"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert ours["centers.patch"].abs().sum() > 0
