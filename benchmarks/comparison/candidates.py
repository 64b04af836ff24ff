"""From what a user calls a checkpoint to its records: a name, a row of the paper, a path, the beginning of a sha256."""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import OptionError
from benchmarks.records import Record
from benchmarks.tables.results import printable


@dataclass(frozen=True)
class Candidate:
    """One side of a comparison.

    Attributes:
        label: how it is called in the result, printable.
        records: of one checkpoint file; or of several that stand for one row, the seeds of its training.
    """

    label: str
    records: tuple[Record, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The sha256 of its checkpoint files, sorted."""
        return tuple(sorted({record.checkpoint.sha256 for record in self.records}))


def find_candidates(names: Sequence[str], records: Sequence[Record]) -> list[Candidate]:
    """What the names stand for.

    A name may end in ``:TOWER`` (``:ema``, ``:online``) where a checkpoint was evaluated with several.

    Raises:
        OptionError: fewer than two names; one that stands for nothing (with close matches) or for several things; two
            that stand for the same.
    """
    if len(names) < 2:
        raise OptionError("bench compare: name two checkpoints or more, the baseline first")
    found = [_find(name, records) for name in names]
    for at, candidate in enumerate(found):
        for earlier in range(at):
            if {record.run_id for record in found[earlier].records} & {record.run_id for record in candidate.records}:
                raise OptionError(f"{names[earlier]} and {names[at]} are the same checkpoint: name two different ones")
    return found


def _find(name: str, records: Sequence[Record]) -> Candidate:
    """What one name stands for; a trailing tower is only looked for if the whole is nothing."""
    matching, label = _matching(name, records), name
    wanted = None
    if not matching and ":" in name:
        label, _, wanted = name.rpartition(":")
        matching = [record for record in _matching(label, records) if record.model_protocol.get("tower") == wanted]
    if not matching:
        raise _unknown(name, records)
    towers = sorted({str(record.model_protocol.get("tower")) for record in matching})
    if len(towers) > 1:
        raise OptionError(f"{name}: was run with several towers; say {' or '.join(f'{name}:{it}' for it in towers)}")
    shown = _label(label, matching)
    return Candidate(printable(f"{shown}:{wanted}" if wanted else shown), tuple(matching))


def _label(name: str, matching: Sequence[Record]) -> str:
    """A row or a checkpoint's name stays, a path or a digest becomes the checkpoint's name with the digest's head."""
    checkpoint = matching[0].checkpoint
    if name == checkpoint.name or _is_row(name)(matching[0]):
        return name
    return f"{checkpoint.name} ({checkpoint.sha256[:8]})"


def _is_row(name: str) -> Callable[[Record], bool]:
    """Whether a record's row is the one named; without epochs any of that method."""

    def matches(record: Record) -> bool:
        row = (record.checkpoint.row or "").casefold()
        return bool(row) and name.casefold() in (row, row.partition("@")[0])

    return matches


def _matching(name: str, records: Sequence[Record]) -> list[Record]:
    """The records that a name means: as a checkpoint's name, else as its path, a row, or a digest's beginning.

    Raises:
        OptionError: it means several files under one name, several rows, or several digests.
    """
    ways: tuple[tuple[str, Callable[[Record], bool], Callable[[Record], str]], ...] = (
        ("files of that name", lambda record: record.checkpoint.name == name, lambda record: record.checkpoint.sha256),
        ("files at that path", lambda record: _same_path(record, name), lambda record: record.checkpoint.sha256),
        ("rows", _is_row(name), lambda record: str(record.checkpoint.row)),
        ("files", lambda record: _is_digest(name, record), lambda record: record.checkpoint.sha256),
    )
    for what, matches, key in ways:
        found = [record for record in records if matches(record)]
        keys = sorted({key(record) for record in found})
        if len(keys) > 1:
            heads = " or ".join(key[:12] if re.fullmatch("[0-9a-f]{64}", key) else printable(key) for key in keys[:4])
            more = " ..." if len(keys) > 4 else ""
            raise OptionError(
                f"{name}: {len(keys)} {what}: say {heads}{more} (seeds of one training get one --row to be "
                "compared together)"
            )
        if found:
            return found
    return []


def _same_path(record: Record, name: str) -> bool:
    return record.checkpoint.path in (name, str(Path(name).resolve()))


def _is_digest(name: str, record: Record) -> bool:
    return bool(re.fullmatch("[0-9a-f]{4,64}", name)) and record.checkpoint.sha256.startswith(name)


def _unknown(name: str, records: Sequence[Record]) -> OptionError:
    """The error for a name that stands for nothing, with names that look like it, or all there are."""
    known = _names(records)
    towers = sorted({str(record.model_protocol.get("tower")) for record in records})
    if not known:
        return OptionError(f"{name}: there are no records to compare; `bench run` makes them, --out names their folder")
    close = difflib.get_close_matches(name.casefold(), [key.casefold() for key in known], n=3, cutoff=0.5)
    shown = [key for key in known if key.casefold() in close]
    hint = f"did you mean {' or '.join(map(printable, shown))}?" if shown else f"there are {_listed(known)}"
    tail = f" (:TOWER may be {', '.join(towers)})" if ":" in name else ""
    return OptionError(f"{name}: no checkpoint, row, path or sha256 of the records is called so; {hint}{tail}")


def _names(records: Iterable[Record]) -> list[str]:
    """Names and rows, each once."""
    both = ((record.checkpoint.name, record.checkpoint.row) for record in records)
    return list(dict.fromkeys(name for pair in both for name in pair if name))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names[:6])) + (" ..." if len(names) > 6 else "")
