"""Getting a data set ready: fetch what may be fetched, unpack it as the readers expect, say what is left to do."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from benchmarks.data.catalogue import DataSet, find
from benchmarks.data.presence import ABSENT, COMPLETE
from benchmarks.data.root import is_sample
from benchmarks.data.unpack import is_archive, unpack
from benchmarks.download import ByteProgress, Download, fetch
from benchmarks.errors import DataError, OptionError, RecordError
from benchmarks.files import exclusive, write_text

Say = Callable[[str], None]
"""Told one line for the user."""

Bar = Callable[[str], AbstractContextManager[ByteProgress]]
"""Called with what is done (``fetching x.zip``); gives the function that is told the bytes meanwhile."""

_WORK = ".prepare"  # beneath the data set's folder: the lock, and what was unpacked from what
_DONE = "unpacked.json"


def prepare(data_root: Path, name: str, say: Say, progress: Bar, only: Sequence[str] = ()) -> str:
    """Fetch and unpack a data set into its folder beneath the data root, and say what is there and what is left to do.

    What was unpacked before is not fetched again; an archive is removed once its content lies in its place. A call
    that was interrupted is taken up where it stopped.

    Args:
        data_root: the folder with one folder a data set; made if need be.
        name: of the data set.
        say: told what is done.
        progress: shows the bytes of what takes long.
        only: names of files to fetch (``val2014.zip``) instead of all; parts that are not fetched otherwise, too.

    Returns:
        The state afterwards (``DataSet.state``).

    Raises:
        OptionError: no such data set, or no such file.
        DataError: the data root holds generated data, a file cannot be fetched or unpacked, another process is at it,
            or the data set is absent and can only be got by hand.
    """
    data_set = find(name)
    wanted = _chosen(data_set, only)
    if is_sample(data_root):
        raise DataError(f"{data_root}: holds generated data, real ones do not belong there; name another --data-root")
    if data_set.state(data_root) == COMPLETE and not only:
        say(f"{name}: {COMPLETE}, nothing to do")
        return COMPLETE
    say(f"{name}: {data_set.title}; licence: {data_set.licence}; {data_set.homepage}")
    if wanted:
        _obtain_all(data_set.beneath(data_root), wanted, say, progress)
    return _conclude(data_set, data_root, say)


def _chosen(data_set: DataSet, only: Sequence[str]) -> list[Download]:
    """The files to fetch."""
    if not only:
        return list(data_set.downloads)
    known = {Path(download.filename).name: download for download in (*data_set.downloads, *data_set.further)}
    for name in only:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "it has no files to fetch"
            raise OptionError(f"{data_set.name}: no file {name} to fetch; {there}")
    return [known[name] for name in only]


def _conclude(data_set: DataSet, data_root: Path, say: Say) -> str:
    """Say what is there now, and what a person must do."""
    state = data_set.state(data_root)
    folder = data_set.beneath(data_root)
    if state != COMPLETE and data_set.by_hand:
        say(f"{data_set.name}, by hand: {data_set.by_hand}")
    if state == ABSENT:
        raise DataError(f"{folder}: not there yet; get it by hand as told above, so that it holds {data_set.layout}")
    if state != COMPLETE and not data_set.by_hand:
        say(f"{folder}: expected {data_set.layout}; to fetch everything anew, remove {folder / _WORK}")
    if data_set.further:
        say(f"{data_set.name}: further files, by name only: {', '.join(f.filename for f in data_set.further)}")
    say(f"{data_set.name}: {state}; `bench data check {data_set.name}` looks into every file")
    return state


def _obtain_all(folder: Path, wanted: Sequence[Download], say: Say, progress: Bar) -> None:
    """Fetch and unpack all files, one process at a time."""
    with _alone(folder):
        done = _load(folder)
        for download in wanted:
            if _is_done(done, download, folder):
                say(f"{download.filename}: was unpacked before")
                continue
            path = _fetched(download, folder, say, progress)
            if is_archive(path.name):
                done[download.filename] = _unpacked(path, progress)
                os.sync()  # the archive goes: what came out of it must be on the disk before
                write_text(folder / _WORK / _DONE, json.dumps(done, indent=2) + "\n")
                path.unlink()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the data set's folder against another ``prepare``."""
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(folder / _WORK))
        except RecordError as error:
            raise DataError(f"{folder}: another process is preparing it; wait for it or stop it") from error
        yield


def _load(folder: Path) -> dict[str, list[str]]:
    """What was unpacked, by the archive's name. A damaged list counts as none: it only spares work."""
    try:
        content = json.loads((folder / _WORK / _DONE).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_done(done: dict[str, list[str]], download: Download, folder: Path) -> bool:
    """Whether an archive was unpacked and what came out of it at the topmost level is still there."""
    place = (folder / download.filename).parent
    names = done.get(download.filename, [])
    return bool(names) and all((place / name).exists() for name in names)


def _fetched(download: Download, folder: Path, say: Say, progress: Bar) -> Path:
    path = folder / download.filename
    say(f"{path}: is there" if path.is_file() else f"{path}: from {download.url}")
    with progress(f"fetching {path.name}") as report:
        return fetch(download, folder, report)


def _unpacked(path: Path, progress: Bar) -> list[str]:
    with progress(f"unpacking {path.name}") as report:
        return list(unpack(path, path.parent, report))
