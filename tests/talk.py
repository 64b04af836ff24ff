"""What a session says, for the tests that listen to it, and for those that do not."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from benchmarks.records import Store
from benchmarks.run import Existing, Session


def silently(what: str) -> nullcontext[Callable[[int, int], None]]:
    """Shows no progress."""
    return nullcontext(lambda done, total: None)


class Talk:
    """Collects what a session says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def session(self, out: Path, existing: Existing = "resume") -> Session:
        return Session(Store(out), existing, self.lines.append, silently, ["bench", "run"])
