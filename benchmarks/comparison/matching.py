"""Which records of two checkpoints may be compared, what keeps others apart, and what differs all the same."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.comparison.candidates import Candidate
from benchmarks.errors import RecordError
from benchmarks.records import Record, fingerprint
from benchmarks.tables.results import printable

_STATUSES = ("full", "partial", "limited", "quick", "sample")
_SHOWN = 5  # differing fields in one line

Seeds = tuple[tuple[Record, ...], ...]
"""For each seed of a side the records that are averaged."""


@dataclass(frozen=True)
class Matched:
    """The records of a benchmark that are compared.

    Attributes:
        baseline, other: the seeds of both sides.
        notes: what was left aside, and why.
    """

    baseline: Seeds
    other: Seeds
    notes: tuple[str, ...]


def match(benchmark: str, baseline: Candidate, other: Candidate) -> Matched:
    """Find the records of a benchmark that were made by one protocol on one set of samples.

    Where several settings are common, the one nearest to a full run is taken, of these the newest; of several settings
    of a checkpoint's own (precision, heads ...) also the newest.

    Raises:
        RecordError: there are none; the message names the fields that differ, with both values.
    """
    sides = [_by_setting(benchmark, candidate) for candidate in (baseline, other)]
    common = sides[0].keys() & sides[1].keys()
    if not common:
        raise RecordError(f"{benchmark}: not comparable: {_nearest(*sides)}")
    chosen = max(common, key=lambda key: _preference([*sides[0][key], *sides[1][key]]))
    notes = []
    if len(common) > 1:
        notes.append(
            f"{benchmark}: both have {len(common)} settings in common; compared are the {_named(sides, chosen)}"
        )
    seeds = []
    for candidate, side in zip((baseline, other), sides, strict=True):
        kept, dropped = _newest_settings(side[chosen])
        if dropped:
            notes.append(
                f"{benchmark}: {candidate.label} has {dropped} more with other settings of its own; the newest count"
            )
        seeds.append(_seeds(kept))
    return Matched(seeds[0], seeds[1], tuple(notes))


def _by_setting(benchmark: str, candidate: Candidate) -> dict[tuple[str, str, int], list[Record]]:
    """The candidate's records of a benchmark by what must be equal: protocol, data, number of samples."""
    found = defaultdict(list)
    for record in candidate.records:
        if record.benchmark == benchmark:
            found[record.protocol_fingerprint, record.data.fingerprint, record.counts.expected].append(record)
    return dict(found)


def _preference(records: Sequence[Record]) -> tuple[int, int, float]:
    """Larger for what should be compared first."""
    nearest = min(_STATUSES.index(record.status) for record in records)
    return -nearest, records[0].counts.expected, max(record.started.timestamp() for record in records)


def _named(sides: Sequence[Mapping[tuple[str, str, int], list[Record]]], key: tuple[str, str, int]) -> str:
    return f"{sides[0][key][0].status} runs of protocol {key[0]}"


def _newest_settings(records: Iterable[Record]) -> tuple[list[Record], int]:
    """Of each checkpoint file the runs of its newest setting, one a seed; and how many others there are."""
    files: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        files[record.checkpoint.sha256].append(record)
    kept, total = [], 0
    for runs in files.values():
        runs.sort(key=lambda record: record.started)
        newest = own_setting(runs[-1])
        by_seed = {record.seed: record for record in runs if own_setting(record) == newest}
        kept += [by_seed[seed] for seed in sorted(by_seed)]
        total += len(runs)
    return kept, total - len(kept)


def own_setting(record: Record) -> str:
    """What runs of one checkpoint must share, besides protocol and data, to be seeds of the same thing."""
    return fingerprint(record.model_dump(include={"model_protocol", "norm_layer", "precision"}, mode="json"))


def _seeds(records: Sequence[Record]) -> Seeds:
    """One seed a run; if there are several checkpoint files, one a file, whose runs are averaged."""
    files: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        files[record.checkpoint.sha256].append(record)
    if len(files) == 1:
        return tuple((record,) for record in records)
    return tuple(tuple(runs) for runs in files.values())


# ---- what differs


def _nearest(*sides: Mapping[tuple[str, str, int], list[Record]]) -> str:
    """The differing fields of the two records that differ least."""
    pairs = [(one[0], two[0]) for one in sides[0].values() for two in sides[1].values()]
    return _listed(min((_differing(*pair) for pair in pairs), key=len))


def _differing(one: Record, two: Record) -> list[str]:
    """``field: value against value`` of every field of protocol, data and counts in which they differ."""
    return [
        f"{printable(field)}: {values[0]} against {values[1]}"
        for field, values in differences(_comparable(one), _comparable(two)).items()
    ]


def _comparable(record: Record) -> dict[str, Any]:
    """What decides whether runs can be compared; the fingerprint of the data shortened to what a reader can use."""
    return {
        "protocol": record.protocol,
        "data": record.data.model_dump() | {"fingerprint": record.data.fingerprint[:12]},
        "images": record.counts.expected,
        "status": record.status,
    }


def _listed(fields: Sequence[str]) -> str:
    more = f"; and {len(fields) - _SHOWN} more" if len(fields) > _SHOWN else ""
    return "; ".join(fields[:_SHOWN]) + more


def own_differences(one: Record, two: Record) -> dict[str, tuple[str, str]]:
    """What two runs differ in without being incomparable, by dotted name: choices that belong to the checkpoints."""

    def own(record: Record) -> dict[str, Any]:
        kept = {"norm_layer", "precision", "operators"}
        return {**record.model_protocol, **record.model_dump(include=kept, mode="json")}

    return differences(own(one), own(two))


def differences(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Dotted names of the values in which two nested mappings differ, with both as JSON; absent ones as ``-``."""
    flat, other = _flat(one), _flat(two)
    return {
        name: (_short(flat.get(name)), _short(other.get(name)))
        for name in dict.fromkeys((*flat, *other))
        if flat.get(name) != other.get(name)
    }


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted names with JSON values (so that 1 and 1.0 differ, as they do in a fingerprint)."""
    flat: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return flat


def _short(value: str | None) -> str:
    return "-" if value is None else printable(value)
