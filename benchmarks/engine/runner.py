"""MMEngine's Runner with a safe, exact resume and a quiet terminal."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any, Protocol, runtime_checkable

import torch
from mmengine.config import Config
from mmengine.dist import broadcast
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel, is_model_wrapper, revert_sync_batchnorm
from mmengine.runner import Runner

from benchmarks.engine import loop, sampling, schedule  # noqa: F401 (registers them)
from benchmarks.engine.hooks import ProgressHook
from benchmarks.engine.state import load_state
from benchmarks.errors import RecordError

STATE_FILE = "resume.safetensors"


@runtime_checkable
class LoadedFromFile(Protocol):
    """A module that took its weights from a file and can prove that it still has them."""

    def assert_equals_file(self) -> None:
        """Raise ``AssertionError`` unless every weight equals the file's."""


class BenchRunner(Runner):
    """The Runner of every training in this project.

    It differs from MMEngine's in four things. Resuming reads ``state_path`` and nothing else. After
    the model has been initialised, every module that took weights from a file must still have them
    (``LoadedFromFile``). The device is told, not guessed. The terminal shows warnings only; the log file has all.
    """

    def __init__(self, *args: Any, device: torch.device, state_folder: Path, **kwargs: Any) -> None:
        self.device = device
        self.state_path = state_folder / STATE_FILE
        self.resumed = False
        self.peak_memory = 0
        if device.type == "cuda":
            torch.cuda.set_device(device)
        self._taken_up = False
        super().__init__(*args, **kwargs)

    @classmethod
    def from_config(cls, cfg: Config, device: torch.device) -> "BenchRunner":
        """Build the Runner of a complete MMEngine config, which also names its ``state_folder``."""
        fields = [
            "model", "work_dir", "train_dataloader", "train_cfg", "test_dataloader", "test_cfg", "test_evaluator",
            "optim_wrapper", "param_scheduler", "default_hooks", "custom_hooks", "launcher", "env_cfg",
            "log_level", "log_processor", "visualizer", "default_scope", "randomness", "experiment_name",
        ]  # fmt: skip
        state_folder = Path(cfg.state_folder)
        return cls(**{name: cfg.get(name) for name in fields}, cfg=cfg, device=device, state_folder=state_folder)

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """MMEngine's logger, silent on the terminal below warnings."""
        name = kwargs.pop("name", self._experiment_name)
        file = log_file or str(Path(self._log_dir) / f"{self.timestamp}.log")
        logger = MMLogger.get_instance(name, log_level=log_level, log_file=file, file_mode="a", **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.WARNING)
        return logger

    def setup_env(self, env_cfg: Any) -> None:
        """MMEngine's, and deterministic cuDNN kernels as MMSegmentation's ``--deterministic`` had it.

        MMEngine's own switch also forbids every operation without a deterministic kernel, adaptive pooling's backward
        pass among them.
        """
        super().setup_env(env_cfg)
        torch.backends.cudnn.deterministic = True

    def _log_env(self, env_cfg: Any) -> None:
        """Nothing: every record holds the environment, and MMEngine would ask compilers for their versions."""

    def dump_config(self) -> None:
        """Nothing: the visualiser has written the same config already (``vis_data/config.py``)."""

    def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> Any:
        """Move the model to the told device; with several processes, gradients are averaged by DDP.

        SyncBN becomes BN on one process, where it is the same, and on the CPU, which has no SyncBN.
        MMEngine's own takes the device from its guess and hands a GPU's number to DDP on the CPU too.
        """
        model = model.to(self.device)
        if not self.distributed or self.device.type == "cpu":
            model = revert_sync_batchnorm(model)
        if not self.distributed:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return MMDistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    @property
    def bare_model(self) -> torch.nn.Module:
        """The model without a distributed wrapper."""
        model: torch.nn.Module = self.model.module if is_model_wrapper(self.model) else self.model
        return model

    def resume_state(self, iterations: int) -> dict[str, Any]:
        """All that decides how training goes on after ``iterations`` iterations."""
        schedulers = self.param_schedulers or []
        return {
            "iterations": iterations,
            "precision": type(self.optim_wrapper).__name__,
            "model": self.bare_model.state_dict(),
            "optimizer": self.optim_wrapper.state_dict(),
            "schedulers": [scheduler.state_dict() for scheduler in schedulers],
        }

    def train_and_test(self) -> None:
        """Train, or take up training, then score; whatever happens, the terminal is left usable."""
        with self._terminal():
            self.train()
            self._share_buffers()
            self.test()

    def _share_buffers(self) -> None:
        """Every process scores with the main one's buffers, which are also those of the resume state.

        Plain BN on several processes has running statistics of its own on each.
        """
        for buffer in self.bare_model.buffers():
            broadcast(buffer)

    def train_only(self) -> None:
        """Train, or take up training; whatever happens, the terminal is left usable."""
        with self._terminal():
            self.train()

    @contextmanager
    def _terminal(self) -> Iterator[None]:
        try:
            yield
        finally:
            for hook in self.hooks:
                if isinstance(hook, ProgressHook):
                    hook.stop()

    def load_or_resume(self) -> None:
        """Check the weights that came from files, then take up the resume state if there is one.

        The Runner calls this once the model, the optimiser and the schedulers are built and initialised, and again
        before testing, when there is nothing left to do.
        """
        if self._taken_up:
            return
        self._taken_up = True
        for module in self.bare_model.modules():
            if isinstance(module, LoadedFromFile):
                module.assert_equals_file()
        if self.state_path.exists():
            self._take_up(load_state(self.state_path))

    def _take_up(self, state: dict[str, Any]) -> None:
        """Go on from ``state``.

        Raises:
            RecordError: it was begun in another precision, lacks a part or has other sizes.
        """
        try:
            self._restore(state)
        except torch.OutOfMemoryError:  # a RuntimeError too, but none of the state's
            raise
        except (KeyError, RuntimeError, ValueError) as error:
            reason = shorten(f"{type(error).__name__}: {error}", 240)
            raise RecordError(
                f"{self.state_path}: does not fit this training ({reason}); take it up as it was begun, or begin anew "
                "with --existing overwrite"
            ) from error
        self.resumed = True

    def _restore(self, state: dict[str, Any]) -> None:
        if state["precision"] != type(self.optim_wrapper).__name__:
            raise RecordError(
                f"{self.state_path}: begun with {state['precision']}, but {type(self.optim_wrapper).__name__} runs on "
                "this device; take it up where it was begun, or begin anew with --existing overwrite"
            )
        self.bare_model.load_state_dict(state["model"])
        self.optim_wrapper.load_state_dict(state["optimizer"])
        for scheduler, saved in zip(self.param_schedulers or [], state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self.train_loop.iter = state["iterations"]
