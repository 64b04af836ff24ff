"""Checkpoints against each other on the same samples: `bench compare` as a page."""

from collections.abc import Sequence

from benchmarks.comparison import Comparison, Line, Pair
from benchmarks.report.blocks import Block, Cell, Grid, Page, Prose, Section, Tiles, Value
from benchmarks.report.charts import interval_bar
from benchmarks.report.names import shown
from benchmarks.report.pages.common import ends, signed, title_of
from benchmarks.report.results import benchmark_page

NAME = "comparison"
_REAL = {"better": "status", "worse": "status other"}
"""How verdicts look that are more than noise or the luck of one seed."""


def page(comparison: Comparison) -> Page:
    """The page: a section for each checkpoint that is compared with the first."""
    lead = (
        f"Each against {shown(comparison.baseline)}, on the same images, captions or classes. A bar is the 95 % "
        f"interval of the difference, its mark no difference at all. p is corrected for {comparison.tests} tests."
    )
    sections = [_section(pair, comparison.baseline) for pair in comparison.pairs]
    if comparison.footnotes:
        sections.append(Section("How to read it", [Prose(comparison.footnotes, points=True, columns=True)]))
    return Page(NAME, "Comparison", sections, lead, NAME)


def _section(pair: Pair, baseline: str) -> Section:
    blocks: list[Block] = []
    if pair.tally:
        tally = pair.tally
        remark = f"{tally.higher} higher, {tally.equal} equal, {tally.lower} lower by the plain values"
        score = f"{tally.win} · {tally.tie} · {tally.loss}"
        blocks.append(Tiles([(score, f"win, tie and loss over {tally.sets} sets of Table 3", remark)]))
    blocks.append(_lines(pair.lines, baseline, pair.other))
    if pair.own:
        blocks.append(_own(pair, baseline))
    missing = [f"{title_of(benchmark)}: only {shown(which)} was run" for benchmark, which in pair.missing.items()]
    if remarks := [*pair.refused, *pair.notes, *missing]:
        blocks.append(Prose(remarks, points=True, title="Not compared, and what else to know"))
    return Section(f"{shown(pair.other)} against {shown(baseline)}", blocks)


def _lines(lines: Sequence[Line], baseline: str, other: str) -> Grid:
    found = [line.difference for line in lines]
    limits = [end for each in found if each.interval for end in each.interval]
    axis = ends([0.0, *limits, *(each.value for each in found)])
    rows = []
    for line in lines:
        each, interval = line.difference, line.difference.interval
        low, high = (interval.low, interval.high) if interval else (None, None)
        told = f"{low:.2f} to {high:.2f}" if interval else "no interval"
        seeds = f"seeds: {each.seeds[0]} and {each.seeds[1]}"
        rows.append(
            [
                Cell(
                    line.benchmark, title_of(line.benchmark), f"{benchmark_page(line.benchmark)}.html", note=line.metric
                ),
                Cell(each.baseline, note=line.status if line.status != "full" else ""),
                Cell(each.other),
                Cell(each.value, signed(each.value), picture=interval_bar(each.value, low, high, 0.0, axis), note=told),
                Cell(line.p_holm, f"{line.p_holm:.2g}", note=f"{each.test}, {each.p:.2g} uncorrected"),
                Cell(line.verdict, style=_REAL.get(line.verdict, "")),
                Cell(each.samples, f"{each.samples:,}", note=seeds),
            ]
        )
    headings = [("benchmark", False), (shown(baseline, 40), True), (shown(other, 40), True), ("difference", True)]
    headings += [("p, corrected", True), ("verdict", False), ("samples", True)]
    return Grid("Differences", headings, rows, raw=(_RAW, [_raw(line) for line in lines]))


_RAW = ["benchmark", "metric", "baseline", "other", "difference", "low", "high", "p", "p_holm", "test", "verdict"]
_RAW += ["seeds_baseline", "seeds_other", "samples", "status"]


def _raw(line: Line) -> list[Value]:
    each = line.difference
    low, high = (each.interval.low, each.interval.high) if each.interval else (None, None)
    values: list[Value] = [line.benchmark, line.metric, each.baseline, each.other, each.value, low, high, each.p]
    return [*values, line.p_holm, each.test, line.verdict, *each.seeds, each.samples, line.status]


def _own(pair: Pair, baseline: str) -> Grid:
    """Settings of the checkpoints' own that differ, which is no reason not to compare them."""
    rows = [
        [Cell(shown(name)), Cell(shown(first, 200)), Cell(shown(second, 200)), Cell(", ".join(map(title_of, where)))]
        for name, (first, second, where) in pair.own.items()
    ]
    headings = [("setting", False), (shown(baseline, 40), False), (shown(pair.other, 40), False), ("in", False)]
    return Grid(
        "Settings of their own that differ", headings, rows, "They belong to the checkpoints, not to the protocol."
    )
