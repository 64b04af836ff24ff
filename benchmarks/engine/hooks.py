"""Hooks: the randomness of each iteration, durable resume states, and progress on the terminal."""

import time
from typing import Any

from mmengine.dist import all_reduce_dict, get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.engine.device import peak_memory
from benchmarks.engine.randomness import Purpose, derived_seed, seed_all
from benchmarks.engine.state import save_state


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seed dropout and stochastic depth from (seed, iteration, rank), so that no random state has to be resumed."""

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed every generator for this iteration."""
        seed_all(derived_seed(Purpose.ITERATION, runner.seed, batch_idx, get_rank()))


@HOOKS.register_module()
class MeanLossHook(Hook):
    """Averages what a training step reports over all processes, before MMEngine logs it."""

    priority = "HIGHEST"

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Replace each 0-d value in ``outputs``."""
        all_reduce_dict(outputs, op="mean")


@HOOKS.register_module()
class DurableStateHook(Hook):
    """Write the resume state every ``interval`` iterations and after the last one.

    The state is complete after this iteration's schedulers have stepped, hence the low priority. The file before it
    is replaced only when the new one is on disk.

    Args:
        interval: iterations between two states, at least 1.
    """

    priority = "VERY_LOW"

    def __init__(self, interval: int) -> None:
        self.interval = interval

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save when the interval or the run is full."""
        done = batch_idx + 1
        if is_main_process() and (done % self.interval == 0 or done == runner.max_iters):
            save_state(runner.state_path, runner.resume_state(done))


@HOOKS.register_module()
class PeakMemoryHook(Hook):
    """Follows the memory in use: MMEngine's logger resets torch's own maximum each time it logs.

    ``runner.peak_memory`` holds the maximum so far, in bytes. The priority is above the logger's.
    """

    priority = "NORMAL"

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Look after a training step."""
        runner.peak_memory = max(runner.peak_memory, peak_memory(runner.device))

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Look after a scored batch."""
        runner.peak_memory = max(runner.peak_memory, peak_memory(runner.device))


@HOOKS.register_module()
class ProgressHook(Hook):
    """A progress line: loss, learning rate, seconds per iteration, time left.

    On a terminal it moves; elsewhere (a log file, CI) a plain line is written now and then.

    Args:
        label: what is being trained.
        every_seconds: the time between two lines where there is no terminal.
    """

    priority = "BELOW_NORMAL"

    def __init__(self, label: str, every_seconds: float = 30.0) -> None:
        self.label = label
        self.every_seconds = every_seconds
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal or not is_main_process(),
        )
        self.last_line = time.monotonic()

    def before_train(self, runner: Any) -> None:
        """Show where a resumed run takes up."""
        if runner.iter and is_main_process():
            self.console.print(f"{self.label}: resuming at iteration {runner.iter}", highlight=False)
        self.bar.start()
        self.training = self.bar.add_task(f"train {self.label}", total=runner.max_iters, completed=runner.iter, note="")

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Advance by one iteration."""
        note = self.note(runner)
        self.bar.update(self.training, completed=batch_idx + 1, note=note)
        self._line(f"train {batch_idx + 1}/{runner.max_iters}  {note}")

    def note(self, runner: Any) -> str:
        """What is said of the iterations just done: the mean loss of the last 20, and the learning rate."""
        loss = runner.message_hub.get_scalar("train/loss").mean(20)
        lr = max(group["lr"] for group in runner.optim_wrapper.optimizer.param_groups)
        return f"loss {loss:.3f}  lr {lr:.1e}"

    def after_train(self, runner: Any) -> None:
        """Training is over."""
        self.bar.stop()

    def before_test(self, runner: Any) -> None:
        """Begin the bar of the scored images."""
        total = len(runner.test_dataloader.dataset)
        self.bar.start()
        self.scoring = self.bar.add_task(f"score {self.label}", total=total, note="images")

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Advance by one batch of scored images; the other processes score as many in the same time."""
        self.bar.advance(self.scoring, len(outputs or ()) * get_world_size())
        self._line(f"score {batch_idx + 1}/{len(runner.test_dataloader)} batches")

    def after_test(self, runner: Any) -> None:
        """Scoring is over."""
        self.bar.stop()

    def stop(self) -> None:
        """Give the terminal back, also when training ends by an error or Ctrl-C."""
        self.bar.stop()

    def _line(self, text: str) -> None:
        """A plain line for logs, at most one per ``every_seconds``."""
        if self.bar.disable and is_main_process() and time.monotonic() - self.last_line > self.every_seconds:
            self.last_line = time.monotonic()
            self.console.print(f"{self.label}: {text}", highlight=False, soft_wrap=True)
