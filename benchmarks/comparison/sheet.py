"""A comparison as lines of words, ready to be printed in any format."""

from collections.abc import Iterator, Sequence

from benchmarks.comparison.model import Comparison, Line, Pair
from benchmarks.printing import Body, Cell, Grid, Note, Sheet
from benchmarks.printing import Line as Printed
from benchmarks.tables.results import printable


def sheet_of(comparison: Comparison) -> Sheet:
    """A grid for each pair (``pair-1`` ...), what else is to be said of it, and at the end how to read it all.

    A line's kind is its verdict, the seeds left out: ``better``, ``worse``, ``within-seed-spread`` or ``noise``.
    """
    parts: list[Grid | tuple[Note, ...]] = []
    for number, pair in enumerate(comparison.pairs, start=1):
        parts += [_grid(comparison, pair, number), tuple(map(Note, _remarks(pair)))]
    return Sheet("comparison", "comparison", (*parts, tuple(map(Note, comparison.footnotes))))


def _grid(comparison: Comparison, pair: Pair, number: int) -> Grid:
    return Grid(
        key=f"pair-{number}",
        title=_title(comparison, pair),
        headings=_headings(comparison, pair),
        lines=tuple(Printed(_kind(line.verdict), at, tuple(_cells(line))) for at, line in enumerate(pair.lines)),
        labels=2,
        bodies=(Body("compared"),) * len(pair.lines),
        closing=2,
    )


def _kind(verdict: str) -> str:
    return verdict.partition(",")[0].replace(" ", "-")


def _headings(comparison: Comparison, pair: Pair) -> tuple[str, ...]:
    named = ("benchmark", "metric", comparison.baseline, pair.other)
    return (*named, "difference", "95 % interval", "p (Holm)", "seeds", "images", "status", "verdict")


def _cells(line: Line) -> Iterator[Cell]:
    found = line.difference
    yield Cell(line.benchmark)
    yield Cell(line.metric)
    yield Cell(f"{found.baseline:.2f}", data={"value": found.baseline})
    yield Cell(f"{found.other:.2f}", data={"value": found.other})
    yield Cell(f"{found.value:+.2f}", data={"value": found.value})
    if found.interval:
        text = f"[{found.interval.low:+.2f}, {found.interval.high:+.2f}]"
        yield Cell(text, data=found.interval._asdict())
    else:
        yield Cell("none")
    yield Cell(_p(line.p_holm), data={"value": line.p_holm})
    yield Cell(_seeds(found.seeds), data={"value": min(found.seeds)})
    yield Cell(f"{found.samples:,}", data={"value": found.samples})
    yield Cell(line.status)
    yield Cell(_marked(line.verdict))


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _seeds(seeds: tuple[int, int]) -> str:
    return str(seeds[0]) if seeds[0] == seeds[1] else f"{seeds[0]} and {seeds[1]}"


def _marked(verdict: str) -> str:
    """The verdict with a sign that is seen from afar."""
    signs = {"better": "▲ ", "worse": "▼ "}
    return signs.get(verdict.partition(",")[0], "≈ ") + verdict


def _remarks(pair: Pair) -> list[str]:
    """Everything about a pair that is not a line of it."""
    remarks = [_tally(pair)] if pair.tally else []
    remarks += [f"REFUSED {reason}" for reason in pair.refused]
    by_side: dict[str, list[str]] = {}
    for benchmark, side in pair.missing.items():
        by_side.setdefault(side, []).append(benchmark)
    remarks += [f"only {side} has {', '.join(found)}" for side, found in by_side.items()]
    remarks += [
        f"the checkpoints' own {printable(name)}: {printable(one)} | {printable(two)} ({_where(pair, where)})"
        for name, (one, two, where) in pair.own.items()
    ]
    return remarks + list(pair.notes)


def _where(pair: Pair, benchmarks: Sequence[str]) -> str:
    compared = {line.benchmark for line in pair.lines}
    return "everywhere" if set(benchmarks) == compared else ", ".join(benchmarks)


def _tally(pair: Pair) -> str:
    tally = pair.tally
    assert tally is not None
    missing = f" (without {', '.join(tally.missing)})" if tally.missing else ""
    return (
        f"Table 3, {tally.sets} of its {tally.sets + len(tally.missing)} sets{missing}: {pair.other} wins {tally.win}, "
        f"ties {tally.tie}, loses {tally.loss}; by plain values {tally.higher} higher, {tally.equal} equal, "
        f"{tally.lower} lower"
    )


def _title(comparison: Comparison, pair: Pair) -> str:
    more = " (the baseline of all)" if len(comparison.pairs) > 1 else ""
    return f"{pair.other} against {comparison.baseline}{more}"
