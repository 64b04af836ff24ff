"""Which results of which records belong to a table, and which of them are comparable with the paper."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pkgutil import resolve_name
from typing import Any

from benchmarks.errors import RecordError
from benchmarks.records import Metric, Record
from benchmarks.suite import BENCHMARKS, filling
from benchmarks.tables.model import OtherRun

LONGEST_NAME = 60


@dataclass(frozen=True)
class Result:
    """A metric of a record, and the column it would fill; empty for a benchmark that is only listed.

    Attributes:
        reason: why it is not comparable with the paper; empty when it is.
    """

    column: str
    metric: str
    record: Record
    reason: str

    @property
    def value(self) -> Metric:
        """The metric.

        Raises:
            RecordError: the record lacks it.
        """
        found = self.record.metrics.get(self.metric)
        if found is None:
            raise RecordError(
                f"run {self.record.run_id} has no metric {self.metric}, a result of {self.record.benchmark}: "
                "run it again with --existing overwrite"
            )
        return found

    @property
    def who(self) -> tuple[str, str, str]:
        """What tells one line of a table from another: name and sha256 of the checkpoint, and its tower."""
        checkpoint = self.record.checkpoint
        return (checkpoint.name, checkpoint.sha256, tower_of(self.record) or "")


def results_of(table: int, records: Iterable[Record], default_fingerprints: Mapping[str, str]) -> list[Result]:
    """Every result for a column of the table, and the main metrics of benchmarks that are listed under it."""
    wanted: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for column, (benchmark, metric) in filling(table).items():
        wanted[benchmark.id].append((column, metric))
    for benchmark in BENCHMARKS:
        if table in benchmark.listed_under:
            wanted[benchmark.id].append(("", benchmark.metric))
    return [
        Result(column, metric, record, _reason(column, record, default_fingerprints))
        for record in sorted(records, key=lambda record: record.run_id)
        for column, metric in wanted.get(record.benchmark, [])
    ]


def _reason(column: str, record: Record, default_fingerprints: Mapping[str, str]) -> str:
    """Why a result is not comparable with the paper; empty when it is."""
    reading = changed_reading(record)
    reasons = {
        "fills no column": not column,
        record.status: record.status != "full",
        f"other protocol ({reading})" if reading else "other protocol": reading
        or record.protocol_fingerprint != default_fingerprints.get(record.benchmark),
    }
    return ", ".join(reason for reason, applies in reasons.items() if applies)


def changed_reading(record: Record) -> str:
    """How a tower was read otherwise than shipped, ``norm_on_taps=True`` for example; empty when it was not.

    These fields of the protocol (its section ``backbone``) stand in the record's ``model_protocol``, so that the
    fingerprint does not tell of them.
    """
    told = record.model_protocol
    shipped = _shipped_reading(record.benchmark)
    changed = [name for name, value in shipped.items() if name in told and told[name] != value]
    return ", ".join(printable(f"{name}={told[name]}") for name in changed)


@cache
def _shipped_reading(benchmark_id: str) -> Mapping[str, Any]:
    """Name to shipped value of the fields on how a benchmark reads a tower; none where it has no such fields."""
    from benchmarks.engine.protocol import load_protocol

    for benchmark in BENCHMARKS:
        fields = resolve_name(benchmark.fields) if benchmark.id == benchmark_id else None
        if fields and "backbone" in fields.model_fields:
            shipped: dict[str, Any] = load_protocol(benchmark.config, fields).backbone.model_dump(mode="json")
            return shipped
    return {}


def other_run(result: Result) -> OtherRun:
    """A result that is not comparable, as it is listed."""
    record = result.record
    return OtherRun(
        benchmark=record.benchmark,
        checkpoint=printable(record.checkpoint.name),
        tower=tower_of(record),
        row=printable(record.checkpoint.row) if record.checkpoint.row else None,
        status=record.status,
        reason=result.reason,
        metric=result.metric,
        measured=result.value,
        counts=record.counts,
        seed=record.seed,
        run_id=record.run_id,
    )


def printable(name: str) -> str:
    """A name without control and direction characters, at most ``LONGEST_NAME`` characters long."""
    visible = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    return visible if len(visible) <= LONGEST_NAME else visible[: LONGEST_NAME - 1] + "…"


def tower_of(record: Record) -> str | None:
    """Which tower of the checkpoint ran, where it has several; printable."""
    tower = record.model_protocol.get("tower")
    return printable(str(tower)) if tower is not None else None
