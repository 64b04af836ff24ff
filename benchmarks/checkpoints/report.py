"""The load report: what became of every key of a checkpoint."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.errors import CheckpointError

_SHOWN = 5


def first_few(keys: list[str]) -> str:
    """The first few keys for a message, and how many more there are."""
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


@dataclass
class LoadReport:
    """What became of every key of the file. A model is only handed out when nothing is missing or unexpected.

    Attributes:
        matched: keys of the file that became weights, as the file names them.
        dropped: for each reason, the keys of the file that a rule of the family left out.
        missing: weights of the dual encoder that the file does not hold, by the dual encoder's names.
        unexpected: keys of the file that no rule explains.
        reshaped: (key of the file, its shape, what was done to it) for weights stored in another arrangement.
        cast: number of weights by stored dtype, where that was not float32.
    """

    matched: list[str] = field(default_factory=list)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    reshaped: list[tuple[str, tuple[int, ...], str]] = field(default_factory=list)
    cast: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str, key: str) -> None:
        """Note that ``key`` was left out, and why."""
        self.dropped.setdefault(reason, []).append(key)

    def require_complete(self, name: str) -> None:
        """Refuse a file that is not fully explained.

        Args:
            name: the file and its family, as the message shall name them.

        Raises:
            CheckpointError: something is missing or unexpected.
        """
        faults = []
        if self.missing:
            faults.append(f"{len(self.missing)} missing ({first_few(self.missing)})")
        if self.unexpected:
            faults.append(f"{len(self.unexpected)} unexpected ({first_few(self.unexpected)})")
        if faults:
            raise CheckpointError(f"{name}: the keys do not fit: {'; '.join(faults)}")

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able values."""
        return {
            "matched": list(self.matched),
            "dropped": {reason: list(keys) for reason, keys in self.dropped.items()},
            "missing": list(self.missing),
            "unexpected": list(self.unexpected),
            "reshaped": [[key, list(shape), how] for key, shape, how in self.reshaped],
            "cast": dict(self.cast),
        }
