"""From the name of a published checkpoint to its file, and from a file back to what is published of it.

A file is known by its content: by a sha256 that its publishers tell, or by the one that was noted when it was fetched
(or put in its place by hand). A file's name says nothing.
"""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from benchmarks.checkpoints.registry import ENTRIES, Entry, find
from benchmarks.download import ByteProgress, Download, fetch
from benchmarks.errors import CheckpointError, DataError
from benchmarks.files import cache_folder, sha256_of, write_text

MIRROR = "DETAILCLIP_BENCH_MIRROR"
"""The environment variable with an address that has the public files under the names of ``Entry.filename``."""

Say = Callable[[str], None]
"""Told one line for the user."""

Bar = Callable[[str], AbstractContextManager[ByteProgress]]
"""Called with what is done (``fetching x.pt``); gives the function that is told the bytes meanwhile."""

_NOTE = ".json"


@dataclass(frozen=True)
class Known:
    """A file that was recognised.

    Attributes:
        entry: what it is.
        evidence: for people, where it is not the published sha256 that says so; else empty.
    """

    entry: Entry
    evidence: str


def checkpoints_folder() -> Path:
    """Where published files are kept."""
    return cache_folder() / "checkpoints"


def resolve(given: str | Path, say: Say, progress: Bar) -> Path:
    """The file that a user means by a path or by the name of a published checkpoint.

    What exists under ``given`` is taken as it is. A published file is fetched once and kept in
    :func:`checkpoints_folder` with a note of its sha256; an interrupted download is taken up.

    Args:
        given: the path of a file or folder, or an :class:`Entry`'s name.
        say: told what is fetched, and where from.
        progress: shows the bytes.

    Raises:
        CheckpointError: neither such a path nor such a name; the file can only be got by hand, or not at all; it cannot
            be fetched, or its content is not the published one.
    """
    path = Path(given)
    if path.exists():
        return path
    entry = find(str(given))
    if entry is None:
        raise CheckpointError(_unknown(str(given)))
    target = checkpoints_folder() / entry.filename
    if not (target.is_file() and _note_of(target).is_file()):
        address = _obtain(entry, target, say, progress)
        _write_note(target, entry, address)
    return target


def recognise(path: Path, sha256: str) -> Known | None:
    """What is published of a file, or None.

    Args:
        path: of the file.
        sha256: of its content.

    Raises:
        CheckpointError: the file was noted with another content when it was put in its place.
    """
    for entry in ENTRIES:
        if entry.sha256 == sha256:
            return Known(entry, "")
    own = _read_note(_note_of(path)) if path.resolve().parent == checkpoints_folder().resolve() else None
    if own and own["sha256"] != sha256:
        raise CheckpointError(
            f"{path}: changed since it was put here as {own['name']}: its sha256 is {sha256}, was {own['sha256']}; "
            "remove it, and get it again"
        )
    others = (_read_note(file) for file in sorted(checkpoints_folder().glob(f"*{_NOTE}")))
    for note in filter(None, (own, *others)):
        named = find(note["name"])
        if named and note["sha256"] == sha256:
            how = f"fetched from {note['address']}" if note["address"] else "put in its place by hand"
            return Known(named, f"taken for {named.name} because it was {how}; no whole sha256 of it is published")
    return None


def _obtain(entry: Entry, target: Path, say: Say, progress: Bar) -> str:
    """Have the entry's file in its place; the address it came from, or nothing where a person put it there.

    Raises:
        CheckpointError: it is not there and cannot be fetched, or is another one.
    """
    if entry.state in ("no public weights", "layout unknown"):
        raise CheckpointError(f"{entry.name}: {entry.state}: {entry.how}")
    if entry.address is None:
        if not target.is_file():
            raise CheckpointError(
                f"{entry.name}: must be fetched by hand: {entry.how}, and save it as {target} "
                "(or pass its path, with --row METHOD@EPOCHS)"
            )
        return ""
    there, address = target.is_file(), _address(entry, entry.address)
    if not there:
        say(f"{entry.name}: fetching {address} to {target}")
    try:
        with progress(f"fetching {target.name}") as report:
            fetch(Download(address, target.name, entry.sha256, entry.md5), target.parent, report)
    except DataError as error:
        raise CheckpointError(f"{entry.name}: {error}") from error
    return "" if there else address


def _address(entry: Entry, published: str) -> str:
    """Where the file is fetched from: the mirror that the user named, else where it is published."""
    mirror = os.environ.get(MIRROR)
    return f"{mirror.rstrip('/')}/{entry.filename}" if mirror else published


def _unknown(given: str) -> str:
    """The line for what is neither a path nor a name."""
    close = get_close_matches(given, [entry.name for entry in ENTRIES], n=3)
    if close:
        return f"{given}: no such checkpoint; did you mean {' or '.join(close)}?"
    return f"{given}: no such checkpoint; check the path, or take a name of `bench list --checkpoints`"


def _note_of(target: Path) -> Path:
    return target.with_name(target.name + _NOTE)


def _write_note(target: Path, entry: Entry, address: str) -> None:
    """Note which content a file had when it was put in its place."""
    note = {"name": entry.name, "sha256": sha256_of(target), "address": address}
    write_text(_note_of(target), json.dumps(note, indent=2) + "\n")


def _read_note(path: Path) -> dict[str, str] | None:
    """A note, or None where there is none or it is damaged: the file is then as one that nobody knows."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    match note:
        case {"name": str(name), "sha256": str(sha256), "address": str(address)}:
            return {"name": name, "sha256": sha256, "address": address}
    return None
