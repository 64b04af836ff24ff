"""What every source of image–text pairs offers, and what they share: decoding, and errors that name the remedy."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
from PIL import Image

from benchmarks.errors import DataError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# What Pillow's decoders raise for files that are not what they claim to be.
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


class Source(Protocol):
    """Image–text pairs by number.

    A source is opened once and then copied into the loader's workers: it keeps its texts and names in Arrow or numpy
    arrays, which forked processes share (every look at a Python object changes its reference count, and so copies
    the page it lies on), and opens files only where they are read.

    Attributes:
        alternatives: whether ``texts`` are several descriptions of the same image (COCO's sentences), each complete,
            rather than parts of one (title, description).
    """

    alternatives: bool

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What messages call this sample."""
        ...

    def image(self, index: int) -> Image.Image:
        """The decoded image, in whatever mode it has.

        Raises:
            OSError: the file is missing, truncated or no image.
        """
        ...

    def texts(self, index: int) -> tuple[str, ...]:
        """All texts of the sample; some may be empty.

        Raises:
            OSError: the file that holds them cannot be read.
        """
        ...


class BrokenImageError(OSError):
    """A file that was read but does not hold a whole picture."""


def decode(content: bytes) -> Image.Image:
    """The picture in these bytes, decoded to its last pixel; its EXIF orientation is not applied.

    Raises:
        BrokenImageError: the bytes are truncated, are no picture, or claim more than Pillow's limit of pixels.
    """
    try:
        image: ImageFile = Image.open(io.BytesIO(content))
        image.load()
    except _DECODING_ERRORS as error:
        raise BrokenImageError(f"cannot be decoded ({error})") from error
    return image


def require_file(path: Path, what: str, remedy: str) -> Path:
    """Return ``path``, or raise :class:`DataError` if no file is there."""
    if not path.is_file():
        raise DataError(f"{path}: no such {what}; {remedy}")
    return path


def require_folder(path: Path, what: str, remedy: str) -> Path:
    """Return ``path``, or raise :class:`DataError` if no folder is there."""
    if not path.is_dir():
        raise DataError(f"{path}: no such {what}; {remedy}")
    return path


def require_some(count: int, path: Path, what: str) -> None:
    """Raise :class:`DataError` if a source turned out to be empty."""
    if count == 0:
        raise DataError(f"{path}: holds no {what}; name a file that does")


def text_array(values: Sequence[str]) -> Any:
    """Texts as an Arrow array; 64-bit offsets, since 15 million captions are more than 2 GB."""
    return pa.array(values, pa.large_string())


def text_lists(values: Sequence[Sequence[str]]) -> Any:
    """A list of texts for each sample as an Arrow array."""
    return pa.array(values, pa.large_list(pa.large_string()))
