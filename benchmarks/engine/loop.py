"""The training loop: as MMEngine's iteration-based one, but it takes up a run without replaying its past batches."""

from collections.abc import Iterator
from typing import Any

from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop

from benchmarks.errors import BenchError


@LOOPS.register_module()
class ResumableIterLoop(BaseLoop):
    """Train for ``max_iters`` optimiser calls, beginning at the iteration that a resume state names.

    The data loader's sampler must have ``start_at`` (see ``EndlessShuffleSampler``); its batch size counts per
    process.

    Args:
        runner: the Runner.
        dataloader: the data loader or its config.
        max_iters: the number of iterations, counted from the very beginning of the run.
    """

    def __init__(self, runner: Any, dataloader: Any, max_iters: int) -> None:
        super().__init__(runner, dataloader)
        self.max_iters = max_iters
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
        batch_size, world_size = self.dataloader.batch_size, self.runner.world_size
        self.dataloader.sampler.start_at(self.iter * batch_size * world_size)
        for batch in self._batches():
            self._run_iteration(batch)
            if self.iter >= self.max_iters:
                break

    def _batches(self) -> Iterator[Any]:
        """The loader's batches; a user's error keeps its one line on the way from a worker process."""
        try:
            yield from self.dataloader
        except BenchError as error:
            raise type(error)(own_line(error)) from error

    def _run_iteration(self, batch: Any) -> None:
        self.runner.call_hook("before_train_iter", batch_idx=self.iter, data_batch=batch)
        outputs = self.runner.model.train_step(batch, optim_wrapper=self.runner.optim_wrapper)
        self.runner.call_hook("after_train_iter", batch_idx=self.iter, data_batch=batch, outputs=outputs)
        self.iter += 1


def own_line(error: BenchError) -> str:
    """The message as it was raised: PyTorch puts a worker's whole traceback into it, which ends with the message."""
    kind, message = type(error), str(error)
    if not message.startswith(f"Caught {kind.__name__} in DataLoader worker process"):
        return message
    return message.rstrip().rpartition("\n")[2].partition(f"{kind.__module__}.{kind.__qualname__}: ")[2]
