"""The training loop: as MMEngine's iteration-based one, but it takes up a run without replaying its past batches."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop
from torch.nn import Module

from benchmarks.errors import BenchError


@LOOPS.register_module()
class ResumableIterLoop(BaseLoop):
    """Train for ``max_iters`` iterations, beginning at the one that a resume state names.

    The data loader's sampler must have ``start_at`` (see ``EndlessShuffleSampler``); its batch size counts per process
    and part.

    Args:
        runner: the Runner.
        dataloader: the data loader or its config.
        max_iters: the number of iterations, counted from the very beginning of the run.
        accumulate: batches of the loader in one iteration, so that schedules, logs and resume states count iterations
            of the total batch however it is divided; the optimiser wrapper's ``accumulative_counts`` must be the same.
    """

    def __init__(self, runner: Any, dataloader: Any, max_iters: int, accumulate: int = 1) -> None:
        super().__init__(runner, dataloader)
        self.max_iters = max_iters
        self.accumulate = accumulate
        self.max_epochs = 1  # hooks of MMEngine ask for it
        self.epoch = 0
        self.iter = 0
        self.stop_training = False

    def run(self) -> Any:
        """Train from ``self.iter`` to ``max_iters`` and return the model."""
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        if self.iter < self.max_iters:
            self._run_iterations()
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        return self.runner.model

    def _run_iterations(self) -> None:
        total = self.dataloader.batch_size * self.runner.world_size * self.accumulate
        self.dataloader.sampler.start_at(self.iter * total)
        if self.accumulate > 1:
            # The Runner has told the wrapper iterations, and it counts parts. The model it asks for only to warn of its
            # batch norm, which has been done.
            counts = self.iter * self.accumulate, self.max_iters * self.accumulate
            self.runner.optim_wrapper.initialize_count_status(Module(), *counts)
        batches = self._batches()
        while self.iter < self.max_iters:
            self._run_iteration(batches)

    def _batches(self) -> Iterator[Any]:
        """The loader's batches; a user's error keeps its one line on the way from a worker process."""
        try:
            yield from self.dataloader
        except BenchError as error:
            raise type(error)(own_line(error)) from error

    def _run_iteration(self, batches: Iterator[Any]) -> None:
        batch = next(batches)
        self.runner.call_hook("before_train_iter", batch_idx=self.iter, data_batch=batch)
        outputs = [self._step(batch)]
        while len(outputs) < self.accumulate:
            outputs.append(self._step(next(batches)))
        told = mean_outputs(outputs)
        self.runner.call_hook("after_train_iter", batch_idx=self.iter, data_batch=batch, outputs=told)
        self.iter += 1

    def _step(self, batch: Any) -> dict[str, Any]:
        """Forward and backward; the optimiser wrapper knows which call ends an iteration."""
        outputs: dict[str, Any] = self.runner.model.train_step(batch, optim_wrapper=self.runner.optim_wrapper)
        return outputs


def mean_outputs(outputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the parts of an iteration report, averaged name by name; a single part's is left as it is."""
    if len(outputs) == 1:
        return outputs[0]
    return {name: sum(part[name] for part in outputs) / len(outputs) for name in outputs[0]}


def own_line(error: BenchError) -> str:
    """The message as it was raised: PyTorch puts a worker's whole traceback into it, which ends with the message."""
    kind, message = type(error), str(error)
    if not message.startswith(f"Caught {kind.__name__} in DataLoader worker process"):
        return message
    return message.rstrip().rpartition("\n")[2].partition(f"{kind.__module__}.{kind.__qualname__}: ")[2]
