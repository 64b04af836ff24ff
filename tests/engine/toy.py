"""A toy training on BenchRunner: small enough to be killed and resumed many times."""

import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, MODELS
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.engine.runner import BenchRunner

SIZE = 10


@DATASETS.register_module(force=True)
class NoisyNumbers(Dataset[Any]):
    """Sample i is i plus noise from numpy, so that every augmentation shows in the weights."""

    metainfo: ClassVar[dict[str, Any]] = {}

    def full_init(self) -> None: ...

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> dict[str, Any]:
        value = torch.full((4,), float(index)) / SIZE + torch.from_numpy(np.random.rand(4)).float()
        return {"inputs": value, "data_samples": value.sum()}


@MODELS.register_module(force=True)
class ToyModel(BaseModel):  # type: ignore[misc, unused-ignore]
    """Two layers with dropout and batch norm: randomness and buffers that a resume must restore."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))

    def forward(self, inputs: list[Tensor], data_samples: list[Tensor], mode: str) -> dict[str, Tensor]:
        output = self.net(torch.stack(inputs)).squeeze(1)
        return {"loss": (output - torch.stack(data_samples)).square().mean()}


@HOOKS.register_module(force=True)
class SlowHook(Hook):
    """Makes iterations long enough to be killed in."""

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        time.sleep(0.02)


def toy_config(folder: Path, iterations: int, interval: int = 3, workers: int = 0, slow: bool = False) -> Config:
    """A complete config: AdamW, two chained schedulers, a state every ``interval`` iterations."""
    return Config(
        {
            "default_scope": "mmengine",
            "work_dir": str(folder),
            "state_folder": str(folder),
            "experiment_name": "toy",
            "launcher": "none",
            "log_level": "WARNING",
            "env_cfg": {"cudnn_benchmark": False, "mp_cfg": {"mp_start_method": "fork"}, "dist_cfg": {}},
            "randomness": {"seed": 3},
            "model": {"type": "ToyModel"},
            "train_dataloader": {
                "dataset": {"type": "SeededDataset", "dataset": {"type": "NoisyNumbers"}, "seed": 3},
                "sampler": {"type": "EndlessShuffleSampler"},
                "batch_size": 4,
                "num_workers": workers,
            },
            "train_cfg": {"type": "ResumableIterLoop", "max_iters": iterations},
            "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "AdamW", "lr": 0.05}},
            "param_scheduler": [
                {"type": "LinearLR", "start_factor": 1e-3, "by_epoch": False, "begin": 0, "end": 6},
                {"type": "PolyLR", "power": 1.0, "by_epoch": False, "begin": 0, "end": 41},
            ],
            "default_hooks": {"checkpoint": None, "sampler_seed": None, "logger": None},
            "custom_hooks": [
                {"type": "IterationSeedHook"},
                {"type": "DurableStateHook", "interval": interval},
                *([{"type": "SlowHook"}] if slow else []),
            ],
        }
    )


def train(folder: Path, iterations: int, **options: Any) -> BenchRunner:
    """Train, or take up training, in ``folder``."""
    torch.set_num_threads(1)
    runner = BenchRunner.from_config(toy_config(folder, iterations, **options), torch.device("cpu"))
    runner.train()
    return runner


def train_slowly(folder: Path) -> None:
    """Forty iterations with time to be killed in."""
    train(folder, 40, slow=True)
