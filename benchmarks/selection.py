"""From the names a user asks for to the benchmarks that can run: what a group cannot have is skipped, aloud."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.errors import OptionError
from benchmarks.suite import Benchmark, asked_by_name, resolve

Say = Callable[[str], None]


def select(
    names: Sequence[str],
    checkpoint: Path,
    tower: str | None,
    data_root: Path,
    options: Sequence[str],
    say: Say,
) -> list[Benchmark]:
    """The benchmarks to run, in the order asked for.

    A benchmark asked for by name is kept whatever may be missing: its runner says what. One that only a group asks for
    is left out, and ``say`` told why, when this release, the checkpoint or the data root does not have what it needs.

    Args:
        names: ids and groups.
        checkpoint: the file or folder that will be evaluated.
        tower: of it.
        data_root: where the data sets lie.
        options: those given options that not every benchmark takes (``Benchmark.takes``).
        say: is told of every benchmark that is left out.

    Raises:
        DataError: there is no such data root.
        OptionError: an unknown name; a benchmark asked for by name that this release cannot run; an option that none of
            the benchmarks takes; nothing is left.
        CheckpointError: the checkpoint cannot be read.
    """
    from benchmarks.data.root import require_root

    require_root(data_root)
    chosen, by_name = resolve(names), asked_by_name(names)
    why_not = {benchmark.id: _why_not(benchmark, data_root) for benchmark in chosen if benchmark.id not in by_name}
    if any(benchmark.needs_text and not why_not.get(benchmark.id, "by name") for benchmark in chosen):
        why_not |= _without_text_side(chosen, why_not, checkpoint, tower)
    for benchmark_id, reason in why_not.items():
        if reason:
            say(f"{benchmark_id}: {reason}, skipped")
    kept = [benchmark for benchmark in chosen if not why_not.get(benchmark.id)]
    if not kept:
        raise OptionError(f"{' '.join(names)}: nothing of it can run here; the lines above say what is missing")
    for option in options:
        _require_taken(option, kept, by_name)
    return kept


def overrides_of(
    chosen: Sequence[Benchmark], overrides: Sequence[str], by_name: frozenset[str]
) -> dict[str, tuple[str, ...]]:
    """Which overrides each benchmark gets: those asked for by name all, those of a group the ones they have fields for.

    Raises:
        OptionError: an override that none of the benchmarks has a field for.
    """
    known = {benchmark.id: _field_names(benchmark) for benchmark in chosen} if overrides else {}
    for override in overrides:
        field = _field_of(override)
        if not any(field in fields or benchmark_id in by_name for benchmark_id, fields in known.items()):
            fields = ", ".join(sorted(set().union(*known.values())))
            raise OptionError(f"-o {override}: no field {field} in any of these benchmarks; there are {fields}")
    return {
        benchmark.id: tuple(
            override for override in overrides if benchmark.id in by_name or _field_of(override) in known[benchmark.id]
        )
        for benchmark in chosen
    }


def _field_of(override: str) -> str:
    """The outermost field of ``section.field=value``."""
    return override.partition("=")[0].partition(".")[0]


def _field_names(benchmark: Benchmark) -> set[str]:
    """The outermost fields of a benchmark's config."""
    module, _, name = benchmark.fields.partition(":")
    return set(getattr(importlib.import_module(module), name).model_fields)


def _why_not(benchmark: Benchmark, data_root: Path) -> str:
    """Why a group's benchmark cannot run, or nothing."""
    from benchmarks.data.catalogue import DATA_SETS

    data_set = DATA_SETS[benchmark.dataset]
    if data_set.state(data_root) == "absent":
        return f"no data in {data_set.beneath(data_root)} (`bench data prepare {data_set.name}`)"
    return ""


def _without_text_side(
    chosen: Sequence[Benchmark], why_not: dict[str, str], checkpoint: Path, tower: str | None
) -> dict[str, str]:
    """The same for a checkpoint that cannot encode texts; the checkpoint is read only where that matters."""
    from benchmarks.checkpoints import inspect_checkpoint

    if inspect_checkpoint(checkpoint, tower).has_text:
        return {}
    reason = "the checkpoint has no text side"
    return {item.id: reason for item in chosen if item.needs_text and why_not.get(item.id) == ""}


def _require_taken(option: str, kept: Sequence[Benchmark], by_name: frozenset[str]) -> None:
    """Refuse an option that acts on nothing, or not on a benchmark that was asked for by name."""
    idle = [benchmark.id for benchmark in kept if option not in benchmark.takes]
    named = [benchmark_id for benchmark_id in idle if benchmark_id in by_name]
    if named or len(idle) == len(kept):
        raise OptionError(f"{option}: has no effect on {', '.join(named or idle[:3])}; leave it out")
