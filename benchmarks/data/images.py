"""The pictures of a split in a fixed order, opened one at a time, whether they lie as files or in arrays."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.data.verify import PICTURE_FORMATS, Item, Progress, verify
from benchmarks.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image


class Pixels(Protocol):
    """Pictures of one size: an array, a memory map, or what reads them out of a file one by one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W) for grey or (N, H, W, 3) for red, green and blue."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> "NDArray[Any]":
        """One picture, uint8 (H, W) or (H, W, 3)."""


class Images(Protocol):
    """Pictures of a split in a fixed order; they can be pickled, for data-loader workers get them."""

    @property
    def sample_ids(self) -> Sequence[str]:
        """Unique names of the pictures, the same wherever the folder lies."""

    @property
    def digests(self) -> Sequence[str]:
        """The sha256 of each picture's content, as 64 hexadecimal digits."""

    @property
    def fingerprint(self) -> str:
        """The sha256 over (sample id, digest) of all pictures in order, as 64 hexadecimal digits."""

    def __len__(self) -> int: ...

    def open(self, index: int) -> "Image.Image":
        """The picture as it is stored, in any mode, not turned by EXIF; ``DataError`` if it cannot be had."""


@dataclass(frozen=True)
class FileImages:
    """Pictures that lie as files.

    Attributes:
        folder: where the paths begin.
        paths: N paths joined by "/".
        sample_ids: N unique names.
        digests: the sha256 of each file's content.
        formats: the formats, as Pillow names them, that are accepted.
    """

    folder: Path
    paths: tuple[str, ...]
    sample_ids: tuple[str, ...]
    digests: tuple[str, ...]
    formats: tuple[str, ...] = PICTURE_FORMATS

    @property
    def fingerprint(self) -> str:
        """See ``Images``."""
        return _fingerprint(self.sample_ids, self.digests)

    def __len__(self) -> int:
        return len(self.paths)

    def open(self, index: int) -> "Image.Image":
        """See ``Images``. A file that vanished or changed since it was verified is an error that names it.

        What is made of a picture is kept under its digest, so the content must be the one that was verified.
        Hashing costs a few percent of decoding.
        """
        from PIL import Image

        path = Path(self.folder, self.paths[index])
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); put the original file in its place") from None
        if hashlib.sha256(content).hexdigest() != self.digests[index]:
            raise DataError(f"{path}: is not the file that was verified, it changed since; start again")
        image = Image.open(io.BytesIO(content), formats=self.formats)
        image.load()
        return image


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Pictures that lie in one array.

    Attributes:
        pixels: uint8 (N, H, W) or (N, H, W, 3).
        sample_ids: N unique names.
        digests: the sha256 of each picture's bytes, shape included.
    """

    pixels: Pixels
    sample_ids: tuple[str, ...]
    digests: tuple[str, ...]

    @classmethod
    def of(cls, pixels: Pixels, sample_ids: Sequence[str], progress: Progress | None = None) -> "ArrayImages":
        """Hash every picture of ``pixels``, one at a time; ``progress`` is told (pictures done, pictures in all)."""
        return cls(pixels, tuple(sample_ids), tuple(_hashed(pixels, progress)))

    @property
    def fingerprint(self) -> str:
        """See ``Images``."""
        return _fingerprint(self.sample_ids, self.digests)

    def __len__(self) -> int:
        return len(self.pixels)

    def open(self, index: int) -> "Image.Image":
        """See ``Images``; mode ``L`` or ``RGB``."""
        import numpy as np
        from PIL import Image

        return Image.fromarray(np.ascontiguousarray(self.pixels[index]))


@dataclass(frozen=True, eq=False)
class _Subset:
    """Some pictures of others, in an order of their own."""

    images: Images
    indices: tuple[int, ...]
    sample_ids: tuple[str, ...]
    digests: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        return _fingerprint(self.sample_ids, self.digests)

    def __len__(self) -> int:
        return len(self.indices)

    def open(self, index: int) -> "Image.Image":
        return self.images.open(self.indices[index])


def verified_files(
    folder: Path,
    paths: Sequence[str],
    name: str,
    progress: Progress | None = None,
    *,
    sample_ids: Sequence[str] | None = None,
    formats: tuple[str, ...] = PICTURE_FORMATS,
) -> FileImages:
    """Decode and hash every file once, remember it, and keep the pictures in the given order.

    Args:
        folder: the data set's folder.
        paths: the files beneath it, joined by "/".
        name: of the data set and split, as a plain word; the key of what is remembered (see ``verify``).
        progress: called with (files done, files in all).
        sample_ids: one unique name a picture; by default its path without the suffix.
        formats: the formats that are accepted, as Pillow names them.

    Raises:
        DataError: a file is missing or cannot be decoded, or two differ in nothing but the suffix.
    """
    ids = tuple(_without_suffix(path) for path in paths) if sample_ids is None else tuple(sample_ids)
    _refuse_twins(folder, paths, ids)
    known = verify(folder, [Item(path, formats=formats) for path in paths], name, progress)
    return FileImages(folder, tuple(paths), ids, tuple(known[path].sha256 for path in paths), formats)


def subset(images: Images, indices: Sequence[int]) -> Images:
    """The pictures at ``indices``, in that order; all of them in their order have the fingerprint of the whole."""
    taken = tuple(int(index) for index in indices)
    ids, digests = images.sample_ids, images.digests
    return _Subset(images, taken, tuple(ids[index] for index in taken), tuple(digests[index] for index in taken))


def _without_suffix(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


def _refuse_twins(folder: Path, paths: Sequence[str], ids: Sequence[str]) -> None:
    """Raise if two pictures would have the same name."""
    first: dict[str, str] = {}
    for path, sample_id in zip(paths, ids, strict=True):
        if sample_id in first:
            raise DataError(f"{folder / path}: has the same name as {folder / first[sample_id]}; remove one of the two")
        first[sample_id] = path


def _fingerprint(sample_ids: Iterable[str], digests: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for sample_id, content in zip(sample_ids, digests, strict=True):
        digest.update(f"{sample_id} {content}\n".encode())
    return digest.hexdigest()


def _hashed(pixels: Pixels, progress: Progress | None) -> Iterable[str]:
    import numpy as np

    shape = "×".join(str(length) for length in pixels.shape[1:]).encode()
    for index in range(len(pixels)):
        yield hashlib.sha256(shape + np.ascontiguousarray(pixels[index]).tobytes()).hexdigest()
        if progress is not None:
            progress(index + 1, len(pixels))
