"""A page for each checkpoint: what the file is, how it was loaded, and everything that was measured with it."""

from collections.abc import Mapping, Sequence

from benchmarks.report.blocks import Block, Facts, Page, Section
from benchmarks.report.names import shown
from benchmarks.report.pages.common import runs_grid, told
from benchmarks.report.results import Results, Run, checkpoint_page

AREA = "checkpoints"
_KEYS = 400
"""How many keys of a load report's section are shown; the run's record has all."""


def pages(results: Results) -> list[Page]:
    """A page for each checkpoint."""
    return [_page(name, sha256, runs) for (name, sha256), runs in results.checkpoints().items()]


def _page(name: str, sha256: str, runs: Sequence[Run]) -> Page:
    checkpoint = runs[0].record.checkpoint
    towers = dict.fromkeys(str(run.record.model_protocol.get("tower") or "the only one") for run in runs)
    facts: list[tuple[str, str, str | None]] = [
        ("family", shown(checkpoint.family), None),
        ("stands for", shown(checkpoint.row) if checkpoint.row else "a row of its own", None),
        ("evaluated tower", ", ".join(towers), None),
        ("sha256", sha256, None),
        ("file", shown(checkpoint.path, 300), None),
        ("training", _training(checkpoint.training), None),
    ]
    sections = [
        Section("The file", [Facts("Identity", facts), *_load_reports(runs)]),
        Section("All runs", [runs_grid(f"Runs of {shown(name, 60)}", runs, by_benchmark=True)]),
    ]
    lead = f"{len(runs)} runs of {len({run.record.benchmark for run in runs})} benchmarks"
    return Page(checkpoint_page(name, sha256), shown(name), sections, lead, AREA, ("Overview", "index.html"))


def _training(training: Mapping[str, object] | None) -> str:
    """What is known of the training, without what is only machinery."""
    if not training:
        return "not told by the file"
    wanted = ("method", "preset", "alphas", "epochs", "images", "views", "batch_size", "seed")
    known = [f"{name} {told(training[name])}" for name in wanted if training.get(name) is not None]
    return ", ".join(known) or told(training)


def _load_reports(runs: Sequence[Run]) -> list[Block]:
    """What became of the file's tensors: of the first run of each different report."""
    blocks: list[Block] = []
    seen = []
    for run in runs:
        report = run.record.checkpoint.load_report
        if report not in seen:
            seen.append(report)
            facts = [fact for name, value in report.items() for fact in _section(name, value)]
            blocks.append(Facts(f"Load report, {shown(run.record.benchmark, 40)}", facts, folded=len(seen) > 1))
    return blocks


def _section(name: str, value: object) -> list[tuple[str, str, str | None]]:
    """A part of a load report: how many keys, and the first of them."""
    if isinstance(value, dict):
        return [fact for inner, keys in value.items() for fact in _section(f"{name}: {inner}", keys)]
    if not isinstance(value, list):
        return [(shown(name), told(value), None)]
    if name == "notes":
        return [(name, told(value), None)]
    first = ", ".join(shown(told(key), 120) for key in value[:_KEYS])
    more = f" … and {len(value) - _KEYS} more" if len(value) > _KEYS else ""
    return [(shown(name), f"{len(value)}" + (f": {first}{more}" if value else ""), None)]
