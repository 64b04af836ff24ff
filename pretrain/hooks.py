"""What only pretraining needs of MMEngine's hooks. None of them knows a method by name."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import Tensor

from benchmarks.engine.hooks import ProgressHook
from benchmarks.engine.precision import Precision
from benchmarks.engine.throughput import matmul_rate
from benchmarks.errors import DataError
from benchmarks.files import write_text
from pretrain.checkpoint import save_checkpoint
from pretrain.methods import Progress

WINDOW = 20
"""Iterations that shown speeds and losses are averaged over."""


@dataclass(frozen=True)
class Steps:
    """How a run over n pairs divides into optimiser steps.

    Step s takes the pairs s·b to (s + 1)·b - 1 of the endless shuffled stream, so that a step may hold the end of one
    pass and the beginning of the next; the released code drops the last n mod b pairs of each pass instead.

    Attributes:
        images: pairs in the data set.
        batch: pairs of a step.
        accumulation: iterations (micro-batches) of a step.
        total: steps of the run.
        warmup: steps of the warm-up.
    """

    images: int
    batch: int
    accumulation: int
    total: int
    warmup: int

    def epoch(self, step: int) -> int:
        """Whole passes over the data done before a step."""
        return step * self.batch // self.images


@HOOKS.register_module()
class MethodHook(Hook):
    """Tells the method where the training stands, and when an optimiser step is done.

    Args:
        steps: fields of ``Steps``.
    """

    priority = "NORMAL"

    def __init__(self, steps: dict[str, int]) -> None:
        self.steps = Steps(**steps)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """``set_progress`` of the step that this iteration belongs to."""
        step, micro = divmod(batch_idx, self.steps.accumulation)
        runner.bare_model.set_progress(
            Progress(
                step=step,
                steps=self.steps.total,
                epoch=self.steps.epoch(step),
                begins_step=micro == 0,
                accumulation=self.steps.accumulation,
            )
        )

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """``after_step`` when the iteration was a step's last."""
        if (batch_idx + 1) % self.steps.accumulation == 0:
            runner.bare_model.after_step()


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops when the loss is not a number any more, before a resume state of such weights replaces a good one."""

    priority = "VERY_HIGH"

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Look at the loss.

        Raises:
            DataError: it is infinite or not a number.
        """
        loss = outputs["loss"].item()
        if not math.isfinite(loss):
            raise DataError(
                f"the loss became {loss} in iteration {batch_idx + 1}; the last state before it is kept: "
                "begin anew with a lower -o training.lr=… or another precision"
            )


@HOOKS.register_module()
class BrokenImagesHook(Hook):
    """Counts the pairs that could not be used and were replaced, and stops when they are too many.

    Their image cannot be read, or they have no text.

    Their names stand in ``broken.txt`` (of process r > 0: ``broken-r.txt``), each once; a run that is taken up goes on
    counting there. The limit is for each process: no process waits for another one's count.

    Args:
        folder: where the lists are written.
        limit: unusable pairs that are accepted.
    """

    priority = "VERY_HIGH"

    def __init__(self, folder: str, limit: int) -> None:
        rank = get_rank()
        self.path = Path(folder) / (f"broken-{rank}.txt" if rank else "broken.txt")
        self.limit = limit
        self.names: dict[str, None] = {}

    def before_train(self, runner: Any) -> None:
        """Read the names that were found before an interruption.

        Raises:
            DataError: they are more than the limit.
        """
        if self.path.exists():
            self.names = dict.fromkeys(self.path.read_text(encoding="utf-8").splitlines())
        self._require_few()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Take the names out of the batch.

        Raises:
            DataError: there are more than the limit.
        """
        found = [name for name in data_batch.pop("broken") if name not in self.names]
        if found:
            self.names |= dict.fromkeys(found)
            write_text(self.path, "".join(f"{name}\n" for name in self.names))
            self._require_few()

    def _require_few(self) -> None:
        if len(self.names) > self.limit:
            raise DataError(
                f"{list(self.names)[-1]}: its image cannot be read or it has no text, like {len(self.names) - 1} pairs "
                f"before it ({self.path} has them); mend them, or allow more with "
                f"-o execution.max_broken={2 * len(self.names)}"
            )


@HOOKS.register_module()
class EpochCheckpointHook(Hook):
    """Keeps a checkpoint, ``checkpoint-epoch-NNN.safetensors``, after every ``epochs`` passes over the data.

    The number of steps is rounded down, so that the last step comes a part of a batch before the end of the last pass;
    it counts as that end.

    Args:
        folder: where they are written.
        epochs: passes between two of them.
        steps: fields of ``Steps``.
        training: what the checkpoint tells of its making; its ``epochs`` becomes the passes done.
    """

    priority = "LOW"

    def __init__(self, folder: str, epochs: int, steps: dict[str, int], training: dict[str, Any]) -> None:
        self.folder, self.epochs, self.steps, self.training = Path(folder), epochs, Steps(**steps), training

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Write one if this iteration was the last of the last step of such a pass."""
        step, rest = divmod(batch_idx + 1, self.steps.accumulation)
        epoch = int(self.training["epochs"]) if step == self.steps.total else self.steps.epoch(step)
        if rest or not is_main_process() or epoch // self.epochs == self.steps.epoch(step - 1) // self.epochs:
            return
        path = self.folder / f"checkpoint-epoch-{epoch:03d}.safetensors"
        name = f"{self.folder.name}-epoch-{epoch:03d}"
        save_checkpoint(runner.bare_model, path, name, {**self.training, "epochs": epoch}, None)


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Measures speed: ``images_per_second`` over all processes, ``data_wait`` and ``matmul_share``, logged as scalars.

    ``data_wait`` is the share of the time in which this process waits for its loader. ``matmul_share`` is the
    multiply-adds that the method needs, over those that this device does in plain matrix products (measured at the
    start, in the precision of the run).

    Args:
        precision: that runs.
    """

    priority = "NORMAL"  # after MMEngine's timer, which is registered first, and before its logger

    def __init__(self, precision: Precision) -> None:
        self.precision = precision

    def before_train(self, runner: Any) -> None:
        """Measure the device; all processes at once, as they will train."""
        self.rate = matmul_rate(runner.device, self.precision)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Update the scalars."""
        hub = runner.message_hub
        hub.update_scalar("train/text_length", longest(data_batch["tokens"]))
        seconds = hub.get_scalar("train/time").mean(WINDOW)
        images = len(data_batch["tokens"]) / seconds
        needed = sum(runner.bare_model.multiply_adds(hub.get_scalar("train/text_length").mean(WINDOW)).values())
        hub.update_scalar("train/images_per_second", images * runner.world_size)
        hub.update_scalar("train/data_wait", hub.get_scalar("train/data_time").mean(WINDOW) / seconds)
        hub.update_scalar("train/matmul_share", images * needed / self.rate)


def longest(tokens: Tensor) -> int:
    """Length of the longest text in (B, T) token ids padded with 0 (which may also be a token within a text)."""
    return int(tokens.any(0).nonzero()[-1]) + 1


@HOOKS.register_module()
class PretrainProgressHook(ProgressHook):
    """The progress line with the terms of the loss, the speed and the memory."""

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Learn the names of the terms, then advance."""
        self.terms = [name for name in outputs or {} if name != "loss"]
        super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def note(self, runner: Any) -> str:
        """The terms, the learning rate, images a second, waiting, share of the limit, memory."""
        hub = runner.message_hub
        terms = "  ".join(f"{name} {hub.get_scalar(f'train/{name}').mean(WINDOW):.3f}" for name in self.terms)
        images, wait, share = (
            hub.get_scalar(f"train/{name}").current() for name in ("images_per_second", "data_wait", "matmul_share")
        )
        return (
            f"{super().note(runner)}  ({terms})  {images:.1f} images/s  data {wait:.0%}  "
            f"matmul {share:.0%}  {runner.peak_memory / 2**30:.1f} GiB"
        )
