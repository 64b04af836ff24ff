"""Estimates for people: tables, and what they assume in words below."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmarks.estimate.hardware import GPUS, SIZES
from benchmarks.estimate.result import GIB, Estimate, Hours

if TYPE_CHECKING:
    from rich.console import RenderableType


def show(estimates: Sequence[Estimate]) -> "RenderableType":
    """One estimate in full, or several as a table with a line each and their sum."""
    if len(estimates) == 1:
        return _in_full(estimates[0])
    return _side_by_side(estimates)


def _in_full(estimate: Estimate) -> Group:
    """Tables of work, memory and disk, then everything in words."""
    words = [*estimate.advice, _loading(estimate), *(f"assumed: {line}" for line in estimate.assumptions)]
    return Group(_works(estimate), _memory(estimate), _disk(estimate), *(Text(f"- {line}") for line in words))


def _works(estimate: Estimate) -> Table:
    gpus = f"{estimate.processes} GPU{'s' if estimate.processes > 1 else ''}"
    table = Table(title=Text(f"{estimate.benchmark} with {estimate.checkpoint} on {gpus}: GPU time"))
    for heading in ("work", "number", "GFLOPs each", "in", "PFLOPs", *(gpu.name for gpu in GPUS)):
        table.add_column(heading, justify="left" if heading in ("work", "in") else "right")
    for work in estimate.works:
        hours = [_hours(work.hours(gpu)) for gpu in GPUS]
        number = f"{work.count:,} {work.of}"
        table.add_row(work.name, number, _number(work.flops / 1e9), work.precision, _number(work.total / 1e15), *hours)
    table.add_section()
    table.add_row("together", "", "", "", "", *(_hours(estimate.hours(gpu)) for gpu in GPUS))
    if estimate.processes > 1:
        shares = [_hours(_shared(estimate.hours(gpu), estimate.processes)) for gpu in GPUS]
        table.add_row("on the clock, at best", "", "", "", "", *shares)
    return table


def _memory(estimate: Estimate) -> Table:
    memory = estimate.memory
    table = Table(title=Text(f"Memory of each GPU, {memory.batch} pictures at a time"))
    table.add_column("what")
    table.add_column("GiB", justify="right")
    rows = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "moments of AdamW": memory.moments,
        "weights in half precision": memory.copies,
        "kept for the backward pass": memory.kept,
        "on top at the peak": memory.passing,
        "allowance": memory.allowance,
    }
    for name, size in rows.items():
        if size:
            table.add_row(name, f"{size / GIB:.2f}")
    table.add_section()
    table.add_row("together", f"{memory.total / GIB:.1f}")
    fitting = ", ".join(f"{name} GB {'yes' if memory.total <= size else 'NO'}" for name, size in SIZES.items())
    table.add_row("fits", fitting)
    return table


def _disk(estimate: Estimate) -> Table:
    table = Table(title="Disk")
    table.add_column("what")
    table.add_column("GB", justify="right")
    table.add_column("where", overflow="fold")
    for place in estimate.places:
        table.add_row(place.name, _number(place.size / 1e9), place.where)
    table.add_section()
    table.add_row("at most", _number(estimate.disk / 1e9), "")
    return table


def _loading(estimate: Estimate) -> str:
    """Whether the loader keeps up."""
    loading, cores = estimate.loading, estimate.loading.workers or 1
    hours = loading.work.count / (loading.rate * cores * estimate.processes) / 3600
    needed = [f"{gpu.name} {max(loading.work.rate(gpu) / loading.rate, 0.1):.1f}" for gpu in GPUS]
    return (
        f"loading: at {loading.rate:.0f} pictures/s a core (measured on a shared x86-64 server), "
        f"execution.workers={loading.workers} for each process takes {_time(hours)} on the clock; to keep up with "
        f"a GPU takes that many cores: {', '.join(needed)}"
    )


def _side_by_side(estimates: Sequence[Estimate]) -> Group:
    table = Table(title="Estimates of GPU time, memory and disk")
    headings = ("benchmark", "PFLOPs", *(gpu.name for gpu in GPUS), "GiB a GPU", "data, GB", "run, GB")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "benchmark" else "right")
    for estimate in estimates:
        data, run = _split(estimate)
        total = sum(work.total for work in estimate.works) / 1e15
        hours = [_hours(estimate.hours(gpu)) for gpu in GPUS]
        memory = f"{estimate.memory.total / GIB:.1f}"
        table.add_row(estimate.benchmark, _number(total), *hours, memory, _number(data / 1e9), _number(run / 1e9))
    table.add_section()
    sums = [sum((each.hours(gpu) for each in estimates), Hours(0, 0, 0)) for gpu in GPUS]
    table.add_row("together", "", *map(_hours, sums), "", "", "")
    advice = [f"{each.benchmark}: {line}" for each in estimates for line in each.advice]
    last = "assumptions in full: --estimate with one benchmark; docs/estimates.md"
    return Group(table, *(Text(f"- {line}") for line in (*advice, last)))


def _split(estimate: Estimate) -> tuple[int, int]:
    """Bytes of the data, archives included, and of what the run writes."""
    data = sum(place.size for place in estimate.places if place.name.startswith("data"))
    return data, estimate.disk - data


def _shared(hours: Hours, processes: int) -> Hours:
    return Hours(hours.least / processes, hours.usual / processes, hours.most / processes)


def _hours(hours: Hours) -> str:
    """In hours or, below one, in minutes: the usual, and the range."""
    scale, unit = (1, "h") if hours.usual >= 1 else (60, "min")
    usual, least, most = (_number(scale * value) for value in (hours.usual, hours.least, hours.most))
    return f"{usual} {unit} ({least}–{most})"


def _time(hours: float) -> str:
    return f"{_number(hours)} h" if hours >= 1 else f"{_number(60 * hours)} min"


def _number(value: float) -> str:
    """Two or three digits, without powers of ten: ``0.12``, ``1.23``, ``12.3``, ``1,230``."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 1:
        return f"{value:.3g}"
    return f"{value:.2f}" if value >= 0.01 else "<0.01"
