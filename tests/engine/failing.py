"""One of several processes, of which one fails while the others wait for it: ``python -m tests.engine.failing HOW``."""

import os
import signal
import sys
import time

from torch import distributed

from benchmarks import cli
from benchmarks.engine import together as module
from benchmarks.engine.launch import from_main, is_main
from benchmarks.engine.together import main_first, none_goes_on_alone, together
from benchmarks.errors import DataError, OptionError, RecordError


class LateFailure(module.Failure):
    """Of a process that is slow to find the store."""

    def __init__(self) -> None:
        time.sleep(2)
        super().__init__()


def refused_in_turn() -> int:
    """What the second process alone is refused, after the first one has done it."""
    if not is_main():
        raise DataError("the second machine has no data")
    return 1


def work(how: str) -> None:
    """Fail as told."""
    if how == "everywhere":
        raise OptionError("the same everywhere")
    with none_goes_on_alone(True):
        if how == "second" and not is_main():
            raise DataError("of the second")
    if how == "main" and is_main():
        raise RecordError("of the main one")
    if how == "bug" and not is_main():
        raise ValueError("a bug")
    if how == f"killed {os.environ['RANK']}":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "skipped":  # by all of them or none, and then they go on
        try:
            main_first(refused_in_turn)
        except DataError:
            assert from_main("on") == "on"
    distributed.barrier()


def main() -> None:
    """Under the command line's own handling of errors."""
    vars(module).update(PATIENCE=1.0, LOOK_EVERY=0.2)
    how, _, late = sys.argv[1].partition(" late ")
    if late == os.environ["RANK"]:
        vars(module).update(Failure=LateFailure)

    def app() -> None:
        with together("pytorch", "cpu"):
            work(how)

    cli.app = app  # type: ignore[assignment]
    cli.main()


if __name__ == "__main__":
    main()
