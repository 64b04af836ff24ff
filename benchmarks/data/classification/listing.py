"""What the readers of class folders and of published lists share."""

import io
import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data.classification.split import Listing
from benchmarks.errors import DataError

if TYPE_CHECKING:
    from benchmarks.data.vocabulary import Vocabulary

# what SciPy's reader lets through when a file is damaged
_MATLAB_ERRORS = (LookupError, ValueError, TypeError, OSError, NotImplementedError, zlib.error, struct.error)


def require_classes(where: Path, found: Iterable[str], vocabulary: "Vocabulary") -> None:
    """Assert that a place holds or names the classes of the vocabulary.

    If fewer than half of them are there, the data are taken for a subset that was made on purpose: they load, labels
    are those of the whole vocabulary, and the split is incomplete. If more are there, a missing one is damage.

    Args:
        where: the folder of class folders, or the file that names the classes.
        found: the keys there.
        vocabulary: of the data set.

    Raises:
        DataError: a class is not in the vocabulary, or one is missing.
    """
    keys, seen = set(vocabulary.keys), set(found)
    if seen - keys:
        more = f" and {len(seen - keys) - 1} more" if len(seen - keys) > 1 else ""
        raise DataError(
            f"{where}: has the class {min(seen - keys)!r}{more}, which is none of the {len(keys)} classes of "
            f"{vocabulary.dataset}; remove what does not belong there"
        )
    if seen != keys and 2 * len(seen) >= len(keys):
        raise DataError(
            f"{where}: lacks the class {min(keys - seen)!r} (it has {len(seen)} of the {len(keys)} classes of "
            f"{vocabulary.dataset}); restore it"
        )


def listed(where: Path, folder: Path, pairs: Sequence[tuple[str, str]], vocabulary: "Vocabulary") -> Listing:
    """Those of the officially listed pictures that are there, in the list's order.

    Args:
        where: the list, for errors.
        folder: the data set's folder.
        pairs: the (path beneath the folder, key) of each picture; the keys must be those of the vocabulary.
        vocabulary: of the data set.
    """
    require_classes(where, (key for _, key in pairs), vocabulary)
    return present(where, folder, pairs)


def present(where: Path, folder: Path, pairs: Sequence[tuple[str, str]]) -> Listing:
    """As ``listed``, but not every class need occur. Folders are read once each; no single file is asked for."""
    if len({path for path, _ in pairs}) < len(pairs):
        raise DataError(f"{where}: names a picture twice; put the original file in its place")
    places = {path.rpartition("/")[0] for path, _ in pairs}
    names = {place: entries(folder / place) if (folder / place).is_dir() else set() for place in places}
    there = [(path, key) for path, key in pairs if path.rpartition("/")[2] in names[path.rpartition("/")[0]]]
    return listing_of(there, missing=len(pairs) - len(there))


def listing_of(pairs: Iterable[tuple[str, str]], missing: int = 0) -> Listing:
    """A listing of (path, key)."""
    kept = list(pairs)
    return Listing(tuple(path for path, _ in kept), tuple(key for _, key in kept), missing=missing)


def entries(folder: Path, *, folders: bool = False) -> set[str]:
    """Names of the files, or of the folders, in a folder; hidden ones (macOS leaves ``._name.jpg``) do not count.

    Raises:
        DataError: there is no such folder.
    """
    try:
        with os.scandir(folder) as found:
            return {entry.name for entry in found if entry.name[0] != "." and entry.is_dir() == folders}
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder}: no such folder; unpack the data set anew") from None


def content(file: Path) -> bytes:
    """The content of a list that belongs to a data set.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); unpack the data set anew") from None


def lines(file: Path) -> list[str]:
    """The lines of a text that are not empty, without white space around them.

    Raises:
        DataError: the file cannot be read or is no text.
    """
    try:
        text = content(file).decode()
    except UnicodeDecodeError:
        raise DataError(f"{file}: is no text; put the original file in its place") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def matlab_numbers(file: Path, name: str) -> list[int]:
    """The whole numbers of one variable in a MATLAB file.

    Raises:
        DataError: the file cannot be read, is damaged, or has no such variable.
    """
    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        values = loadmat(io.BytesIO(content(file)), variable_names=[name])[name]
        return [int(value) for value in np.ravel(values)]
    except (*_MATLAB_ERRORS, MatReadError):
        raise DataError(f"{file}: has no numbers {name!r}, or is damaged; fetch the file anew") from None
