"""A page for each run: everything needed to judge its number."""

from collections.abc import Mapping

from benchmarks.records import RECORD_NAME
from benchmarks.report.blocks import Block, Cell, Facts, Figure, Grid, Page, Panel, Section, Value
from benchmarks.report.charts import interval_bar, lines
from benchmarks.report.names import shown
from benchmarks.report.pages.common import benchmark_href, checkpoint_href, duration, size, title_of, told
from benchmarks.report.results import Results, Run, curves
from benchmarks.report.thinning import thinned

AREA = "benchmarks"


def pages(results: Results) -> list[Page]:
    """A page for each run."""
    return [_page(run, results.defaults.get(run.record.benchmark)) for run in results.runs]


def _page(run: Run, default: str | None) -> Page:
    record = run.record
    changed = "that of the paper's setting" if record.protocol_fingerprint == default else "changed, not the default"
    facts: list[tuple[str, str, str | None]] = [
        ("benchmark", title_of(record.benchmark), benchmark_href(record)),
        ("checkpoint", run.label, checkpoint_href(record)),
        ("status", record.status, None),
        ("images", f"{record.counts.scored:,} of {record.counts.official:,} official ones", None),
        ("protocol", f"{record.protocol_fingerprint}, {changed}", None),
        ("data", f"{shown(record.data.name)}, {shown(record.data.split)}, {shown(record.data.fingerprint)}", None),
        ("seed", str(record.seed), None),
        ("run id", record.run_id, None),
    ]
    blocks: list[Block] = [_metrics(run)]
    sections = [
        Section("Result", [*blocks, Facts("Where it comes from", facts)]),
        Section(
            "Protocol", [_fields("Benchmark", record.protocol), _fields("Checkpoint's own", record.model_protocol)]
        ),
        *_training(run),
        Section("Surroundings", [Facts("Machine and software", _surroundings(run))]),
    ]
    return Page(
        run.page,
        f"{title_of(record.benchmark)}, {run.name}",
        sections,
        f"Run of {record.started:%d %B %Y, %H:%M}",
        AREA,
        (title_of(record.benchmark), benchmark_href(record)),
        [("Record as JSON", f"{run.page}.json", (run.folder / RECORD_NAME).read_text(encoding="utf-8"))],
    )


def _metrics(run: Run) -> Grid:
    rows = []
    for name, metric in run.record.metrics.items():
        bar = interval_bar(metric.value, metric.low, metric.high, None, (0, 100))
        ends = [Cell(metric.low), Cell(metric.high)]
        rows.append([Cell(name), Cell(metric.value, picture=bar), *ends, Cell(metric.n, f"{metric.n:,}")])
    headings = [("metric", False), ("value, %", True), ("95 % from", True), ("to", True), ("samples", True)]
    return Grid("Metrics", headings, rows)


def _fields(title: str, fields: Mapping[str, object]) -> Facts:
    return Facts(title, [(shown(name), told(value), None) for name, value in fields.items()])


def _training(run: Run) -> list[Section]:
    """The losses of the run's own training, if it has any."""
    found = curves(sorted(run.folder.glob("training/*/vis_data/scalars.json")))
    wanted = [name for name in found if "loss" in name or name == "lr"]
    if not wanted:
        return []
    panels = [Panel(shown(name, 40), lines([(name, *thinned(*found[name]))], "iteration", name)) for name in wanted]
    data: list[list[Value]] = [[name, step, value] for name in wanted for step, value in zip(*found[name], strict=True)]
    return [Section("Training", [Figure("Losses and learning rate", panels, (["value of", "step", "value"], data))])]


def _surroundings(run: Run) -> list[tuple[str, str, str | None]]:
    record, where = run.record, run.record.environment
    commit = f"{where.commit}{', with uncommitted changes' if where.dirty else ''}" if where.commit else "none recorded"
    return [
        (
            "device",
            f"{shown(where.device)}, {where.threads} threads, {record.precision or 'precision not recorded'}",
            None,
        ),
        ("duration", f"{duration(record.wall_seconds)}, {record.run_state}", None),
        ("peak memory", size(record.peak_memory), None),
        ("operators", record.operators or "none", None),
        ("normalisation", record.norm_layer or "none", None),
        ("commit", shown(commit), None),
        ("python", f"{shown(where.python)} on {shown(where.platform, 120)}", None),
        ("packages", told(where.packages), None),
        ("command", shown(" ".join(record.command), 600), None),
    ]
