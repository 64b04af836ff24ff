"""Long curves made short enough to be drawn."""

from collections.abc import Sequence

POINTS = 240
"""More points than this no reader could tell apart on a chart."""


def thinned(places: Sequence[float], values: Sequence[float], most: int = POINTS) -> tuple[list[float], list[float]]:
    """At most ``most`` points, each the mean of as many neighbours."""
    step = -(-len(places) // most)
    if step <= 1:
        return list(places), list(values)
    starts = range(0, len(places), step)
    return [_mean(places[at : at + step]) for at in starts], [_mean(values[at : at + step]) for at in starts]


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
