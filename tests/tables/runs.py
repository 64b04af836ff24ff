"""Records for tables, and ways to look at tables."""

import csv
import io
import itertools
from typing import Any

from benchmarks import suite
from benchmarks.records import Record
from benchmarks.tables import Row, Table, render
from tests.example_record import make_record

DEFAULTS = {benchmark.id: make_record().protocol_fingerprint for benchmark in suite.BENCHMARKS}
"""Every benchmark's default protocol is that of the example record."""

_COUNTER = itertools.count()


def run(row: str | None = "SLIP@25", value: float = 46.31, **changes: Any) -> Record:
    """A full record of the default protocol with its own run id; ``name`` and ``tower`` go into its parts.

    ``training`` replaces the whole training record.
    """
    checkpoint = {"row": row, "name": changes.pop("name", "slip")} | changes.pop("checkpoint", {})
    model = {"tower": changes.pop("tower", "online")} | changes.pop("model_protocol", {})
    metric = changes.pop("metric", "mIoU")
    if "training" in changes:
        checkpoint["training"] = changes.pop("training")
    return make_record(
        **{"run_id": f"run{next(_COUNTER)}", "metrics": interval(metric, value)} | changes,
        checkpoint=checkpoint,
        model_protocol=model,
    )


def interval(metric: str, value: float) -> dict[str, Any]:
    """One metric with an interval of one percent to both sides."""
    return {metric: {"value": value, "low": max(value - 1, 0), "high": min(value + 1, 100), "n": 2000}}


def imagenet(row: str | None, value: float, **changes: Any) -> Record:
    return run(row, value, **{"benchmark": "imagenet-zeroshot", "metric": "top1"} | changes)


def table3(row: str | None = "SLIP@50", **changes: Any) -> list[Record]:
    """A run for each set of Table 3: 10 % on the first, 11 % on the second, and so on."""
    return [
        run(row, 10.0 + at, benchmark=benchmark.id, metric=benchmark.metric, **changes)
        for at, benchmark in enumerate(suite.in_group("table3"))
    ]


def row_of(table: Table, **labels: str) -> Row:
    """The one row of the paper with these labels."""
    (found,) = (row for row in table.rows if row.paper and labels.items() <= row.labels.items())
    return found


def own_rows(table: Table) -> list[Row]:
    return [row for row in table.rows if not row.paper]


def read_csv(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render(table, "csv"))))
