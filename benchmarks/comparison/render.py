"""Print a comparison: for a terminal, as Markdown, or as CSV for further analysis."""

import csv
import html
import io
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence

from benchmarks.comparison.model import Comparison, Line, Pair
from benchmarks.errors import OptionError
from benchmarks.tables.results import printable

_WIDTH = 110
_WORDS = 2  # columns that are words; the verdict at the end is one too


def render(comparison: Comparison, format: str = "text") -> str:
    """The comparison as text, without a newline at its end.

    Args:
        comparison: from :func:`benchmarks.comparison.compare`.
        format: ``text`` (wide: nothing is cut off), ``markdown``, or ``csv`` (a line for each metric, unrounded).

    Raises:
        OptionError: the format is unknown.
    """
    if format not in _FORMATS:
        raise OptionError(f"unknown format {format!r}: choose one of {', '.join(_FORMATS)}")
    return _FORMATS[format](comparison)


# ---- what text and Markdown share


def _headings(comparison: Comparison, pair: Pair) -> list[str]:
    named = ["benchmark", "metric", comparison.baseline, pair.other]
    return [*named, "difference", "95 % interval", "p (Holm)", "seeds", "images", "status", "verdict"]


def _cells(line: Line) -> list[str]:
    found = line.difference
    ends = f"[{found.interval.low:+.2f}, {found.interval.high:+.2f}]" if found.interval else "none"
    return [
        *(line.benchmark, line.metric, f"{found.baseline:.2f}", f"{found.other:.2f}", f"{found.value:+.2f}", ends),
        *(_p(line.p_holm), _seeds(found.seeds), f"{found.samples:,}", line.status, _marked(line.verdict)),
    ]


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


# ---- formats


def _text(comparison: Comparison) -> str:
    blocks = []
    for pair in comparison.pairs:
        blocks.append(_grid(_title(comparison, pair), _headings(comparison, pair), list(map(_cells, pair.lines))))
        blocks.append(_bullets(_remarks(pair)))
    return "\n\n".join(block for block in (*blocks, _bullets(comparison.footnotes)) if block)


def _bullets(notes: Sequence[str]) -> str:
    return "\n".join(textwrap.fill(note, _WIDTH, initial_indent="- ", subsequent_indent="  ") for note in notes)


def _grid(title: str, headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Drawn by rich at its natural width, whatever the terminal's, without colours."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for at, heading in enumerate(headings):
        drawn.add_column(Text(heading), justify="left" if _is_word(at, headings) else "right", no_wrap=True)
    for line in lines:
        drawn.add_row(*map(Text, line))  # a name such as "[red]" must not be taken for markup
    console = Console(file=io.StringIO(), width=100_000, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().strip("\n").splitlines())


def _is_word(at: int, headings: Sequence[str]) -> bool:
    return at < _WORDS or at >= len(headings) - 2


def _markdown(comparison: Comparison) -> str:
    blocks = []
    for pair in comparison.pairs:
        headings = _headings(comparison, pair)
        rule = ["---" if _is_word(at, headings) else "---:" for at in range(len(headings))]
        cells = [[_escaped(cell) for cell in row] for row in (headings, *map(_cells, pair.lines))]
        rows = [cells[0], rule, *cells[1:]]
        blocks.append(f"### {_escaped(_title(comparison, pair))}")
        blocks.append("\n".join("| " + " | ".join(row) + " |" for row in rows))
        blocks.append("\n".join(f"- {_escaped(remark)}" for remark in _remarks(pair)))
    blocks.append("\n".join(f"- {_escaped(note)}" for note in comparison.footnotes))
    return "\n\n".join(block for block in blocks if block)


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: no tags, links, emphasis or new cells out of a checkpoint's name."""
    return re.sub(r"([\\`*_{}\[\]|~#])", r"\\\1", html.escape(text, quote=False))


_COLUMNS = (
    *("section", "baseline", "other", "benchmark", "metric", "baseline_value", "other_value", "difference"),
    *("low", "high", "p", "p_holm", "tests", "test", "verdict", "baseline_seeds", "other_seeds", "images", "status"),
    *("baseline_runs", "other_runs", "reason"),
)


def _csv(comparison: Comparison) -> str:
    """A line for each metric that was compared, then for each benchmark that was not, told apart by ``section``."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for pair in comparison.pairs:
        sides = {"baseline": _unfolded(comparison.baseline), "other": _unfolded(pair.other)}
        for line in pair.lines:
            writer.writerow({**sides, "section": "compared", "tests": comparison.tests, **_csv_line(line)})
        for reason in pair.refused:
            writer.writerow({**sides, "section": "refused", "reason": _unfolded(reason)})
        for benchmark, side in pair.missing.items():
            writer.writerow(
                {**sides, "section": "missing", "benchmark": benchmark, "reason": f"only {_unfolded(side)} has it"}
            )
    return stream.getvalue().rstrip("\n")


def _csv_line(line: Line) -> dict[str, object]:
    found = line.difference
    return {
        **{name: getattr(line, name) for name in ("benchmark", "metric", "p_holm", "verdict", "status")},
        "baseline_value": found.baseline,
        "other_value": found.other,
        "difference": found.value,
        **(found.interval._asdict() if found.interval else {}),
        "p": found.p,
        "test": found.test,
        "images": found.samples,
        **dict(zip(("baseline_seeds", "other_seeds"), found.seeds, strict=True)),
        **{name: " ".join(ids) for name, ids in zip(("baseline_runs", "other_runs"), line.run_ids, strict=True)},
    }


def _unfolded(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


_FORMATS: Mapping[str, Callable[[Comparison], str]] = {"text": _text, "markdown": _markdown, "csv": _csv}
