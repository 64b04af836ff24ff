"""A page for each benchmark: its protocol, all results, classes, distribution, confusions and worst cases."""

from collections.abc import Sequence

from benchmarks.records import Record
from benchmarks.report.blocks import Block, Cell, Facts, Grid, Links, Page, Section
from benchmarks.report.charts import share_bar
from benchmarks.report.kinds import Kind, Sampled
from benchmarks.report.names import shown
from benchmarks.report.pages.common import runs_grid, title_of, told
from benchmarks.report.results import Run, benchmark_page, known_benchmark, representatives

AREA = "benchmarks"


def page(
    benchmark: str, runs: Sequence[Run], sampled: Sequence[Sampled], kind: Kind | None, gallery: str | None
) -> Page:
    """The page of a benchmark.

    Args:
        benchmark: its id.
        runs: all its runs.
        sampled: those of which samples are shown.
        kind: the form of the samples; None where there is nothing to show of them.
        gallery: the page of its pictures, if there are any.
    """
    known = known_benchmark(benchmark)
    chance = known.chance if known else None
    results: list[Block] = [runs_grid(f"Results on {title_of(benchmark)}", runs, by_benchmark=False, reference=chance)]
    if gallery:
        results.append(Links([("Pictures: image, truth and every checkpoint side by side", f"{gallery}.html", "")]))
    lead = "The mark on each bar is chance level." if chance is not None else ""
    sections = [Section("Results", results, lead)]
    sections += kind.sections(sampled) if kind and sampled else []
    sections += [Section("Classes", grids)] if (grids := _classes(representatives(runs))) else []
    sections.append(Section("Protocol", _protocol(benchmark, runs)))
    title = known.title if known else title_of(benchmark)
    return Page(benchmark_page(benchmark), title_of(benchmark), sections, title, AREA, ("Overview", "index.html"))


def _protocol(benchmark: str, runs: Sequence[Run]) -> list[Block]:
    """What the benchmark is, the fields of the protocol that most runs have, and what others changed."""
    known = known_benchmark(benchmark)
    blocks: list[Block] = []
    if known:
        cells = ", ".join(f"Table {cell.table} {cell.column} ({cell.metric})" for cell in known.tables) or "none"
        facts = [
            ("fills", cells),
            ("data", f"{known.dataset}, {known.split}, {known.official_size:,} images"),
            ("main metric", known.metric),
            ("chance level", f"{known.chance:.3g} %" if known.chance is not None else "no single value is meaningful"),
            *([("note", known.note)] if known.note else []),
        ]
        blocks.append(Facts("The benchmark", [(name, value, None) for name, value in facts]))
    protocols: dict[str, Record] = {}
    for run in runs:
        protocols.setdefault(run.record.protocol_fingerprint, run.record)
    first, *others = protocols.values()
    fields = [(shown(name), told(value), None) for name, value in first.protocol.items()]
    blocks.append(Facts(f"Protocol {first.protocol_fingerprint}", fields))
    if others:
        blocks.append(_changes(first, others))
    return blocks


def _changes(first: Record, others: Sequence[Record]) -> Grid:
    """The fields in which protocols differ."""
    names = dict.fromkeys(name for record in (first, *others) for name in record.protocol)
    rows = []
    for name in names:
        values = [told(record.protocol[name]) if name in record.protocol else "absent" for record in (first, *others)]
        if len(set(values)) > 1:
            rows.append([Cell(shown(name)), *map(Cell, values)])
    headings = [("field", False), *((record.protocol_fingerprint, False) for record in (first, *others))]
    return Grid("Runs with different protocols: what differs", headings, rows)


def _classes(runs: Sequence[Run]) -> list[Block]:
    """A table of classes for each metric that has any, a column for each checkpoint."""
    names = dict.fromkeys(metric for run in runs for metric in run.record.per_class)
    return [_class_grid(metric, runs) for metric in names]


def _class_grid(metric: str, runs: Sequence[Run]) -> Grid:
    having = [run for run in runs if metric in run.record.per_class]
    classes = dict.fromkeys(name for run in having for name in run.record.per_class[metric])
    rows = []
    for name in classes:
        values = [run.record.per_class[metric].get(name) for run in having]
        if any(value is not None for value in values):
            rows.append([Cell(shown(name, 60)), *map(_class_cell, values)])
    left_out = len(classes) - len(rows)
    lead = f"{left_out} classes that occur nowhere are left out." if left_out else ""
    headings = [("class", False), *((run.name, True) for run in having)]
    return Grid(f"{shown(metric)} of each class", headings, rows, lead, dense=True)


def _class_cell(value: float | None) -> Cell:
    if value is None:
        return Cell(None, hidden="does not occur")
    return Cell(value, f"{value:.1f}", picture=share_bar(value / 100, f"{value:.1f} of 100"))
