"""What a spreadsheet would do to a CSV file that it opens."""

from typing import TypeVar

Value = TypeVar("Value")

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def unfolded(value: Value) -> Value | str:
    """A value that a spreadsheet does not take for a formula; only texts can be one, and get an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value
