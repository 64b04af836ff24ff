"""CIFAR-10 and CIFAR-100 in their Python form, whose files are pickles of dicts with a NumPy array inside.

A pickle can run any program, so these are read by an unpickler that knows stand-ins for NumPy's three names and nothing
else: what the file says about the array is looked at here, and NumPy is given bytes.
"""

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data.classification.arrays import keys_of, picture_names, require_pairs
from benchmarks.data.classification.split import Listing, Reader
from benchmarks.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.data.vocabulary import Vocabulary

_SHAPE = (3, 32, 32)  # channel, row, column


class _Array:
    """What an array of the file becomes: its state as it was written."""

    def __init__(self, *arguments: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Kind:
    """What an element type of the file becomes: its name (``u1``)."""

    def __init__(self, name: object, *arguments: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """Byte order and fields, of which bytes have none."""


# NumPy 1 wrote the first name, NumPy 2 writes the second.
_STAND_INS: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
}

# What a damaged pickle makes the unpickler raise.
_PICKLE_ERRORS = (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, AttributeError, TypeError,
                  OverflowError, MemoryError)  # fmt: skip


class _Unpickler(pickle.Unpickler):
    """Reads plain values and arrays; whatever else a pickle asks for would be code, and is refused."""

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}")
        return _STAND_INS[module, name]


def read_batch(path: Path) -> dict[str, Any]:
    """One of CIFAR's pickles. Texts that Python 2 wrote are read as Latin-1, bytes of arrays included.

    Raises:
        DataError: the file is missing, damaged, holds something else than a dict, or asks for code to be run (none
            of it is).
    """
    if not path.is_file():
        raise DataError(f"{path}: missing; run `bench data prepare {path.parents[1].name}`")
    try:
        with path.open("rb") as stream:
            content = _Unpickler(stream, encoding="latin1").load()
    except _PICKLE_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: is no batch of CIFAR ({reason}); nothing was executed, get the original") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: is no batch of CIFAR (it holds no dict); get the original")
    return content


def pixels_of(path: Path, content: dict[str, Any]) -> "NDArray[np.uint8]":
    """The pictures of a batch, uint8 (N, 32, 32, 3); the file keeps each plane by plane and row by row.

    Raises:
        DataError: the batch's ``data`` is no array of N × 3,072 bytes.
    """
    import numpy as np

    data = content.get("data")
    state = data.state if isinstance(data, _Array) else None
    match state:
        case (_, (int(count), int(length)), _Kind(name="u1" | b"u1"), False | 0, str() | bytes() as raw):
            octets = raw.encode("latin1") if isinstance(raw, str) else raw
            if length == math.prod(_SHAPE) and len(octets) == count * length:
                return np.frombuffer(octets, np.uint8).reshape(count, *_SHAPE).transpose(0, 2, 3, 1)
    raise DataError(f"{path}: its 'data' is no array of N × {math.prod(_SHAPE):,} bytes; get the original")


def cifar(batch: str, meta: str, labels: str, names: str) -> Reader:
    """A reader of one batch.

    Args:
        batch: the file's path beneath the data set's folder.
        meta: the path of the file with the class names.
        labels: what the batch calls its labels.
        names: what the other file calls the class names; they are the keys.
    """

    def read(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
        keys = read_batch(folder / meta).get(names)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise DataError(f"{folder / meta}: has no list of texts {names!r}; get the original")
        content = read_batch(folder / batch)
        pixels, numbers = pixels_of(folder / batch, content), content.get(labels)
        if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
            raise DataError(f"{folder / batch}: has no list of numbers {labels!r}; get the original")
        require_pairs(folder / batch, len(pixels), len(numbers))
        return Listing(picture_names(split, len(pixels)), keys_of(folder / batch, numbers, tuple(keys)), pixels)

    return read
