"""The training loop: a user's error in the data stays one line, wherever the data are loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import DATASETS

from benchmarks.engine.runner import BenchRunner
from benchmarks.errors import DataError, RecordError
from tests.engine.toy import NoisyNumbers, toy_config

LINE = "a.jpg and benchmarks.errors.DataError: are unreadable; check them"


@DATASETS.register_module(force=True)
class FailingNumbers(NoisyNumbers):
    def __getitem__(self, index: int) -> dict[str, Any]:
        raise DataError(LINE) from OSError("the cause, with a traceback of its own")


@DATASETS.register_module(force=True)
class BuggyNumbers(NoisyNumbers):
    def __getitem__(self, index: int) -> dict[str, Any]:
        raise IndexError("a bug")


def train(folder: Path, dataset: str, workers: int) -> None:
    config = toy_config(folder, 2, workers=workers)
    config.train_dataloader.dataset.dataset.type = dataset
    BenchRunner.from_config(config, torch.device("cpu")).train()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_the_data_is_the_line_that_was_raised(tmp_path: Path, workers: int) -> None:
    with pytest.raises(DataError) as caught:
        train(tmp_path, "FailingNumbers", workers)
    assert str(caught.value) == LINE


def test_a_bug_in_a_worker_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(IndexError, match=r"Original Traceback[\s\S]*a bug"):
        train(tmp_path, "BuggyNumbers", 1)


def test_an_error_of_the_training_itself_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_options: Any) -> None:
        raise error

    error = RecordError("of the model, not of the data")
    runner = BenchRunner.from_config(toy_config(tmp_path, 2), torch.device("cpu"))
    monkeypatch.setattr(runner.model, "train_step", refuse)
    with pytest.raises(RecordError) as caught:
        runner.train()
    assert caught.value is error
