"""What the command line shows, as rich renderables."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from benchmarks.checkpoints import Inspection, LoadReport
    from benchmarks.data.verify import Progress as Report
    from benchmarks.download import ByteProgress
    from benchmarks.records import Record
    from benchmarks.suite import Benchmark
    from benchmarks.zeroshot.embeddings import Entry


def suite_table(data_root: Path | None) -> Table:
    """Every benchmark: the cells it fills, its metric and official size, and whether its data is in ``data_root``."""
    from benchmarks.suite import BENCHMARKS

    table = Table(title=f"The suite (data root: {data_root or 'none, sample data is used'})")
    for heading in ("benchmark", "cells of the paper", "metric", "images", "chance", "text", "data"):
        table.add_column(heading, no_wrap=heading == "benchmark")
    for benchmark in BENCHMARKS:
        table.add_row(
            benchmark.id,
            ", ".join(f"T{cell.table} {cell.column}" for cell in benchmark.tables) or "none",
            benchmark.metric,
            f"{benchmark.official_size:,}",
            "" if benchmark.chance is None else f"{benchmark.chance:.2g} %",
            "needs" if benchmark.needs_text else "",
            _data_state(benchmark, data_root),
        )
    return table


def _data_state(benchmark: "Benchmark", data_root: Path | None) -> str:
    from benchmarks.data.catalogue import DATA_SETS

    return "sample" if data_root is None else DATA_SETS[benchmark.dataset].state(data_root)


def published_table() -> Table:
    """Every published checkpoint that the tables need: its row, how it is got, or why it cannot be."""
    from benchmarks.checkpoints.registry import ENTRIES, tables_of

    table = Table(title="Published checkpoints: bench run ... --checkpoint NAME")
    for heading in ("name", "family", "row of the paper", "tables", "state", "where, or how to get it"):
        table.add_column(heading, no_wrap=heading == "name")
    for entry in ENTRIES:
        tables = ", ".join(map(str, tables_of(entry)))
        where = entry.address or entry.how
        table.add_row(*map(Text, (entry.name, entry.family, entry.row or "", tables, entry.state, where)))
    return table


def data_table(data_root: Path | None) -> Table:
    """Every data set, how it is got, and what of it is in ``data_root``."""
    from benchmarks.data.catalogue import DATA_SETS, used_by

    table = Table(title=f"Data sets (data root: {data_root or 'none given'})")
    for heading in ("data set", "what", "benchmarks", "how", "state"):
        table.add_column(heading, no_wrap=heading == "data set")
    for name, data_set in DATA_SETS.items():
        ways = (["prepare"] if data_set.downloads else []) + (["by hand"] if data_set.by_hand else [])
        state = data_set.state(data_root) if data_root else "-"
        table.add_row(name, data_set.title, ", ".join(used_by(name)) or "none yet", " + ".join(ways), state)
    return table


def cache_table(entries: "Sequence[Entry]") -> Table:
    """The kept embeddings, with what they take in all."""
    size = sum(entry.size for entry in entries)
    table = Table(title=f"Kept embeddings: {len(entries)}, {size / 2**20:,.1f} MiB")
    for heading in ("key", "checkpoint", "tower", "of", "data", "rows", "MiB", "since"):
        table.add_column(heading, justify="right" if heading in ("rows", "MiB") else "left")
    for entry in entries:
        names = [entry.names.get(name, "?") for name in ("checkpoint", "tower", "kind", "data")]
        rows = f"{entry.count:,}" if entry.finished else f"{entry.count:,}, unfinished"
        since = f"{entry.created:%Y-%m-%d %H:%M}" if entry.created else "?"
        table.add_row(entry.key[:12], *map(Text, names), rows, f"{entry.size / 2**20:,.1f}", since)
    return table


def inspection_tables(found: "Inspection") -> list[Table]:
    """What a checkpoint is, and the load report behind it."""
    facts = Table(title=Text(found.name), show_header=False)
    for name, value in _facts(found).items():
        facts.add_row(name, Text(value, overflow="fold"))
    report = Table(title="Load report")
    for heading in ("what", "keys", "the first"):
        report.add_column(heading, overflow="fold")
    for what, keys in _report_sections(found.report).items():
        report.add_row(Text(what), str(len(keys)), Text("\n".join(keys[:3]) + ("\n…" if len(keys) > 3 else "")))
    return [facts, report]


def _facts(found: "Inspection") -> dict[str, str]:
    """The lines of an inspection."""
    vision, text, pixels = found.architecture, found.text, found.preprocessing
    facts = {
        "file": str(found.path),
        "sha256": found.sha256,
        "family": found.title,
        "towers": ", ".join(f"{name} (taken)" if name == found.tower else name for name in found.towers),
        "image tower": (
            f"ViT, width {vision.width}, {vision.depth} blocks, patch {vision.patch_size}, image {vision.image_size}, "
            f"LayerNorm eps {vision.norm_eps:g}, {'QuickGELU' if vision.quick_gelu else 'GELU'}"
            f"{', LayerNorm before the blocks' if vision.pre_norm else ''}"
        ),
        "image heads": str(found.heads.image or "must be told: --image-heads N"),
        "text tower": "none",
        "preprocessing": (
            f"shorter side to {pixels.resize} ({pixels.interpolation}), centre {pixels.crop}, "
            f"mean {pixels.mean}, std {pixels.std}"
        ),
        "row of the paper": found.row or "not told by the file; --row METHOD[@EPOCHS] sets it",
    }
    if text is not None:
        activation = "QuickGELU" if text.quick_gelu else "GELU"
        facts["text tower"] = (
            f"width {text.width}, {text.depth} blocks, vocabulary {text.vocabulary:,}, context {text.context}, "
            f"{activation}; joint space {found.joint}"
        )
        facts["text heads"] = str(found.heads.text or "must be told: --text-heads N")
    if found.training is not None:
        facts["training"] = ", ".join(f"{name} {value}" for name, value in found.training.items())
    for number, note in enumerate(found.notes, start=1):
        facts[f"note {number}"] = note
    return facts


def _report_sections(report: "LoadReport") -> dict[str, list[str]]:
    """What became of the keys, by kind."""
    return {
        "matched": report.matched,
        "reshaped": [f"{key} {tuple(shape)}: {how}" for key, shape, how in report.reshaped],
        **{f"dropped: {reason}": keys for reason, keys in report.dropped.items()},
        "missing": report.missing,
        "unexpected": report.unexpected,
    }


def result_line(record: "Record") -> str:
    """One line: what was scored on how many images, with its interval, and what it may be compared with."""
    values = []
    for name, metric in record.metrics.items():
        interval = "" if metric.low is None else f" [{metric.low:.2f}, {metric.high:.2f}]"
        values.append(f"{name} {metric.value:.2f}{interval}")
    warning = "" if record.status == "full" else f"  ({record.status} run: not comparable with the paper)"
    return f"{record.benchmark}  {', '.join(values)}  on {record.counts.scored} images{warning}"


@contextmanager
def working_progress(what: str) -> Iterator["Report"]:
    """A bar on stderr during long work, with the time that is left; yields the function to report to."""
    from rich.progress import MofNCompleteColumn, TimeRemainingColumn

    with _bar(what, MofNCompleteColumn(), TimeRemainingColumn()) as report:
        yield report


@contextmanager
def bytes_progress(what: str) -> Iterator["ByteProgress"]:
    """A bar on stderr while bytes are moved; yields the function to report to."""
    from rich.progress import DownloadColumn, TransferSpeedColumn

    with _bar(what, DownloadColumn(), TransferSpeedColumn()) as report:
        yield report


@contextmanager
def _bar(what: str, *columns: "ProgressColumn") -> Iterator["ByteProgress"]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    first = TextColumn("{task.description}", markup=False)
    with Progress(
        first, BarColumn(), *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
