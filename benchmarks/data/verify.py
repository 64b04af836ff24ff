"""Every file of a data set read once before a long run, and remembered.

A truncated image found after 90,000 iterations costs days; reading a whole data set costs minutes, and only
the first time: what was found is kept in the cache folder, and a file is read again only when its size or its
time of modification is no longer the one noted.
"""

import contextlib
import hashlib
import io
import os
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.errors import DataError
from benchmarks.files import cache_folder, write_text

if TYPE_CHECKING:
    from PIL import Image

Progress = Callable[[int, int], None]
"""Called in the caller's thread with (files done, files in all); remembered files count as done."""

Check = Callable[["Image.Image"], str | None]
"""Looks at one decoded image and says what is wrong with it (``"has 3 channels"``), or None."""

PICTURE_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP")
"""What pictures are stored as in the data sets of this project, by Pillow's names; suffixes often say otherwise."""

_ROTATING_ORIENTATIONS = frozenset({5, 6, 7, 8})  # the EXIF values that swap width and height
_ORIENTATION_TAG = 0x0112
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error)  # what Pillow's decoders raise


class Item(NamedTuple):
    """A file to verify: its path beneath the data set's folder (joined by '/') and what it must fulfil.

    ``formats`` are the accepted ones by Pillow's names (``PPM`` stands for all of its family); nothing else is tried.
    """

    path: str
    check: Check | None = None
    formats: tuple[str, ...] = ("JPEG", "PNG")


class Verified(NamedTuple):
    """What is known of a file that was read whole.

    ``width`` and ``height`` are pixels of the upright picture: EXIF orientation is applied, as OpenCV does.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    sha256: str
    width: int
    height: int


class _Defect(NamedTuple):
    reason: str


def verify(folder: Path, items: Sequence[Item], name: str, progress: Progress | None = None) -> dict[str, Verified]:
    """Read, decode, hash and check every file that is new or changed since the last call.

    Args:
        folder: the data set's folder.
        items: the files. The first bad one in this order is the one named by the error.
        name: what is verified, by which rules, as a plain word (``ade20k-training-1``). With the folder it
            is the key of the cache; choose another when a ``check`` becomes stricter.
        progress: called now and then, at least once.

    Returns:
        What is known of each file, in the order of ``items``.

    Raises:
        DataError: a file cannot be read, is truncated, is of no accepted format, is too large to be a picture, or
            fails its check; or the cache folder cannot be written to. Good files are remembered anyway.
    """
    cache = _cache_file(folder, name)
    known = _load(cache)
    stamps = {item.path: _stamp(folder, item.path) for item in items}
    found = {path: known[path] for path, stamp in stamps.items() if path in known and known[path][:3] == stamp}
    report = progress or (lambda done, total: None)
    report(len(found), len(items))
    todo = [item for item in items if item.path not in found]
    if todo:
        defects = _read_all(folder, todo, stamps, found, cache, report)
        if defects:
            raise DataError(_message(folder, defects))
    return {item.path: found[item.path] for item in items}


def _message(folder: Path, defects: dict[str, str]) -> str:
    """One line: the first bad file, what is wrong with it, how many more there are, and the remedy."""
    path, reason = next(iter(defects.items()))
    more = f" (and {len(defects) - 1} more bad files beneath {folder})" if len(defects) > 1 else ""
    return f"{folder / path}: {reason}{more}; put the original file in its place"


def _read_all(
    folder: Path,
    items: Sequence[Item],
    stamps: dict[str, tuple[int, int, int]],
    found: dict[str, Verified],
    cache: Path,
    report: Progress,
) -> dict[str, str]:
    """Read ``items`` in a pool of threads, add the good ones to ``found``, store that, return the defects.

    Threads suffice: decoding and hashing release the interpreter's lock. What was read before an
    interruption is kept.
    """
    defects: dict[str, str] = {}
    total = len(found) + len(items)
    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    try:
        with _strict_decoding():
            outcomes = pool.map(lambda item: _read(folder, item, stamps[item.path]), items)
            for item, outcome in zip(items, outcomes, strict=True):
                if isinstance(outcome, _Defect):
                    defects[item.path] = outcome.reason
                else:
                    found[item.path] = outcome
                report(len(found) + len(defects), total)
    finally:
        pool.shutdown(cancel_futures=True)
        _store(cache, folder, found)
    return defects


@contextlib.contextmanager
def _strict_decoding() -> Iterator[None]:
    """Make Pillow refuse what it may be lenient about, for all threads of this process, and put things back.

    Libraries switch ``LOAD_TRUNCATED_IMAGES`` on for a whole process; here a truncated file is what is
    looked for. A picture above Pillow's own limit (89 million pixels) is an error, its other warnings
    (damaged EXIF) are not ours.
    """
    from PIL import Image, ImageFile

    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _read(folder: Path, item: Item, stamp: tuple[int, int, int]) -> Verified | _Defect:
    """Read one file whole. The content is read once and both hashed and decoded."""
    from PIL import Image, UnidentifiedImageError

    try:
        content = (folder / item.path).read_bytes()
        with Image.open(io.BytesIO(content), formats=item.formats) as image:
            image.verify()  # a PNG's checksums, which decoding alone ignores
        with Image.open(io.BytesIO(content), formats=item.formats) as image:
            image.load()
            reason = item.check(image) if item.check else None
            width, height = upright_size(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return _Defect(f"claims to hold more than {Image.MAX_IMAGE_PIXELS:,} pixels")
    except UnidentifiedImageError:
        return _Defect(f"is not a {either(item.formats)} image" if content else "is empty")
    except _DECODING_ERRORS as error:
        return _Defect(f"cannot be decoded ({' '.join(str(error).split())})")
    if reason:
        return _Defect(reason)
    return Verified(*stamp, hashlib.sha256(content).hexdigest(), width, height)


def either(names: Sequence[str]) -> str:
    """``A``, ``A or B``, ``A, B or C``."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def upright_size(image: "Image.Image") -> tuple[int, int]:
    """Width and height in pixels once the EXIF orientation is applied, as OpenCV does when it decodes."""
    width, height = image.size
    rotated = image.getexif().get(_ORIENTATION_TAG) in _ROTATING_ORIENTATIONS
    return (height, width) if rotated else (width, height)


def _stamp(folder: Path, path: str) -> tuple[int, int, int]:
    """Size in bytes, and times of modification and of the last change of any kind in nanoseconds, before it is read."""
    try:
        status = os.stat(f"{folder}/{path}")  # noqa: PTH116 - tens of thousands of Path objects would cost more than the calls
    except OSError as error:
        raise DataError(
            f"{folder / path}: cannot be read ({error.strerror}); put the original file in its place"
        ) from None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _cache_file(folder: Path, name: str) -> Path:
    """Where the outcome for this folder is kept; two folders never share a file."""
    key = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return cache_folder() / "verified" / f"{name}-{key}.json"


def _load(cache: Path) -> dict[str, Verified]:
    """What is remembered. A damaged cache file counts as none: it only spares work, and is written anew."""
    from pydantic import TypeAdapter, ValidationError

    try:
        content = cache.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    try:
        return TypeAdapter(dict[str, Verified]).validate_json(content)
    except ValidationError:
        return {}


def _store(cache: Path, folder: Path, found: dict[str, Verified]) -> None:
    """Remember what was found."""
    import json

    try:
        write_text(cache, json.dumps(found))
    except OSError as error:
        raise DataError(
            f"{cache.parent}: what was verified in {folder} cannot be kept there ({error.strerror}); "
            "point the environment variable DETAILCLIP_BENCH_CACHE to a folder that can be written to"
        ) from None
