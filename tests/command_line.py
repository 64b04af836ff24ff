"""What the tests of the command line share."""

from collections.abc import Callable

Bench = Callable[..., tuple[int, str, str]]
"""Runs ``bench`` with arguments: (exit code, stdout, stderr)."""


def assert_one_line(result: tuple[int, str, str], *parts: str) -> None:
    code, out, err = result
    assert code == 2, (out, err)
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    for part in parts:
        assert part in lines[0], (part, lines[0])
    assert err.splitlines()[-1] == lines[0], "the error is the last thing said"
