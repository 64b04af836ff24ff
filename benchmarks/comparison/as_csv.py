"""A comparison as CSV, for programs: unrounded, with the ids of the runs."""

import csv
import io

from benchmarks.comparison.model import Comparison, Line
from benchmarks.printing import unfolded

_COLUMNS = (
    *("section", "baseline", "other", "benchmark", "metric", "baseline_value", "other_value", "difference"),
    *("low", "high", "p", "p_holm", "tests", "test", "verdict", "baseline_seeds", "other_seeds", "images", "status"),
    *("baseline_runs", "other_runs", "reason"),
)


def as_csv(comparison: Comparison) -> str:
    """A line for each metric that was compared, then for each benchmark that was not, told apart by ``section``."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for pair in comparison.pairs:
        sides = {"baseline": unfolded(comparison.baseline), "other": unfolded(pair.other)}
        for line in pair.lines:
            writer.writerow({**sides, "section": "compared", "tests": comparison.tests, **_csv_line(line)})
        for reason in pair.refused:
            writer.writerow({**sides, "section": "refused", "reason": unfolded(reason)})
        for benchmark, side in pair.missing.items():
            writer.writerow(
                {**sides, "section": "missing", "benchmark": benchmark, "reason": f"only {unfolded(side)} has it"}
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
