"""The sets of Table 3 whose pictures lie in arrays: MNIST, STL-10 and PatchCamelyon.

torchvision's classes for them are not used: MNIST's wants the training files too, STL-10's compares the md5 sums of
all of its files, training included, and PCAM's opens its files anew for every picture.
"""

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks.data.classification.listing import lines
from benchmarks.data.classification.split import ClassificationDataSet, Listing
from benchmarks.data.presence import Presence
from benchmarks.download import Download
from benchmarks.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.data.vocabulary import Vocabulary

_RAW = "MNIST/raw"
_IDX_BYTES = 8  # the idx format's number for unsigned bytes
_IDX_LARGEST = 1 << 31  # a header that claims more than 2 GB is damaged
_STL = "stl10_binary"
_STL_SHAPE = (3, 96, 96)  # channel, column, row
_PCAM = "pcam/camelyonpatch_level_2_split"
_PCAM_FILES = {"val": "valid", "test": "test"}


def picture_names(split: str, count: int) -> tuple[str, ...]:
    """What pictures without names are called: ``test-00000`` and so on."""
    return tuple(f"{split}-{index:05d}" for index in range(count))


def require_pairs(path: Path, pictures: int, labels: int) -> None:
    """Raise ``DataError`` unless a file of labels has one for each picture."""
    if pictures != labels:
        raise DataError(
            f"{path}: has {labels:,} labels for {pictures:,} pictures; put both original files in their place"
        )


def keys_of(path: Path, labels: Iterable[int], keys: tuple[str, ...]) -> tuple[str, ...]:
    """The keys that labels stand for, 0 for the first.

    Raises:
        DataError: a label is none of theirs.
    """
    numbers = [int(label) for label in labels]
    wrong = next((label for label in numbers if not 0 <= label < len(keys)), None)
    if wrong is not None:
        raise DataError(f"{path}: holds the label {wrong}, but there are {len(keys)} classes; get the original file")
    return tuple(keys[label] for label in numbers)


def read_mnist(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """MNIST's 10,000 test digits from ``MNIST/raw/t10k-*``, plain or ``.gz``; label i is the i-th key.

    Raises:
        DataError: a file is missing, truncated or no idx file, or labels and pictures do not fit together.
    """
    images = _idx_file(folder / _RAW / "t10k-images-idx3-ubyte")
    labels = _idx_file(folder / _RAW / "t10k-labels-idx1-ubyte")
    pixels, numbers = read_idx(images, 3), read_idx(labels, 1)
    require_pairs(labels, len(pixels), len(numbers))
    return Listing(picture_names(split, len(pixels)), keys_of(labels, numbers, vocabulary.keys), pixels)


def _idx_file(path: Path) -> Path:
    """The plain file, else the compressed one."""
    for candidate in (path, path.with_name(f"{path.name}.gz")):
        if candidate.is_file():
            return candidate
    raise DataError(f"{path}: missing (and no .gz of it); run `bench data prepare mnist`")


def read_idx(path: Path, dimensions: int) -> "NDArray[np.uint8]":
    """An array of bytes in the idx format, in which MNIST is published.

    The header is two zero bytes, 8 for unsigned bytes, the number of dimensions, and their sizes as big-endian 32-bit
    numbers. The content counts, not how a ``.gz`` was compressed.

    Args:
        path: the file; a name that ends in ``.gz`` is decompressed.
        dimensions: how many there must be.

    Returns:
        uint8, read-only, of the shape in the header.

    Raises:
        DataError: the file has another header, is shorter or longer than it says, or its compression is damaged.
    """
    import numpy as np

    header = 4 + 4 * dimensions
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            head = stream.read(header)
            if len(head) < header or head[:4] != bytes((0, 0, _IDX_BYTES, dimensions)):
                raise DataError(f"{path}: is no idx file of bytes with {dimensions} dimensions; fetch it again")
            shape = struct.unpack(f">{dimensions}I", head[4:])
            size = math.prod(shape)
            if size > _IDX_LARGEST:
                raise DataError(f"{path}: claims to hold {size:,} bytes; its header is damaged, fetch it again")
            content = stream.read(size + 1)
    except (EOFError, zlib.error, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: is truncated or damaged ({reason}); fetch it again") from error
    if len(content) != size:
        how = "is truncated" if len(content) < size else "is longer than its header says"
        raise DataError(f"{path}: {how} ({size:,} bytes are declared); fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_stl10(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """STL-10's 8,000 test pictures from ``stl10_binary/test_*.bin``; ``class_names.txt`` names labels 1 to 10.

    The pictures are mapped, not loaded (221 MB). The file keeps them plane by plane and column by column.

    Raises:
        DataError: a file is missing or truncated, or labels and pictures do not fit together.
    """
    import numpy as np

    base = folder / _STL
    pictures, labels, names = base / f"{split}_X.bin", base / f"{split}_y.bin", base / "class_names.txt"
    for path in (pictures, labels, names):
        if not path.is_file():
            raise DataError(f"{path}: missing; run `bench data prepare stl10`")
    size = pictures.stat().st_size
    each = math.prod(_STL_SHAPE)
    if not size or size % each:
        raise DataError(f"{pictures}: is truncated ({size:,} bytes are no multiple of {each:,}); fetch it again")
    pixels = np.memmap(pictures, np.uint8, "r", shape=(size // each, *_STL_SHAPE)).transpose(0, 3, 2, 1)
    numbers = np.fromfile(labels, np.uint8).astype(np.int64) - 1
    require_pairs(labels, len(pixels), len(numbers))
    return Listing(picture_names(split, len(pixels)), keys_of(labels, numbers, tuple(lines(names))), pixels)


@dataclass(frozen=True)
class H5Pixels:
    """Pictures in an HDF5 file, read one at a time; it takes the place of an array (length, shape, one index).

    It can be pickled and forked: each process opens the file for itself, since HDF5 cannot share an open one.

    Attributes:
        path: the file.
        name: of the data set in it.
        shape: (N, H, W, 3).
    """

    path: Path
    name: str
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> "NDArray[np.uint8]":
        """One picture, uint8 (H, W, 3); ``DataError`` if the file is damaged where it lies."""
        try:
            picture: NDArray[np.uint8] = _h5_data(self.path, self.name, os.getpid())[index]
        except OSError as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{self.path}: picture {index} cannot be read ({reason}); unpack the file anew") from error
        return picture


@lru_cache(maxsize=4)
def _h5_data(path: Path, name: str, process: int) -> Any:
    """The data set ``name`` of an HDF5 file, open in this process (an own entry for each, hence the number)."""
    import h5py

    return h5py.File(path, "r")[name]


def read_pcam(folder: Path, split: str, vocabulary: "Vocabulary") -> Listing:
    """PatchCamelyon's ``val`` or ``test`` pictures from its HDF5 files, 32,768 each; label i is the i-th key.

    Raises:
        DataError: a file is missing, still compressed, truncated or without the expected content, or labels and
            pictures do not fit together.
    """
    stem = f"{_PCAM}_{_PCAM_FILES[split]}"
    pictures, labels = folder / f"{stem}_x.h5", folder / f"{stem}_y.h5"
    shape = _h5_shape(pictures, "x", 4)
    if shape[-1] != 3:
        raise DataError(f"{pictures}: its pictures have {shape[-1]} channels instead of 3; unpack the file anew")
    numbers = _h5_data_of(labels, "y", 4)
    require_pairs(labels, shape[0], len(numbers))
    pixels = cast("NDArray[np.uint8]", H5Pixels(pictures, "x", shape))  # all of an array that is asked for
    return Listing(picture_names(split, len(pixels)), keys_of(labels, numbers, vocabulary.keys), pixels)


def _h5_shape(path: Path, name: str, dimensions: int) -> tuple[int, ...]:
    """The shape of a data set of bytes; nothing else is read."""
    with _h5_opened(path, name, dimensions) as file:
        return tuple(map(int, file[name].shape))


def _h5_data_of(path: Path, name: str, dimensions: int) -> "NDArray[np.uint8]":
    """A data set of bytes, whole and flat."""
    with _h5_opened(path, name, dimensions) as file:
        content: NDArray[np.uint8] = file[name][...].reshape(-1)
    return content


def _h5_opened(path: Path, name: str, dimensions: int) -> Any:
    """An HDF5 file that holds a data set ``name`` of bytes with so many dimensions."""
    import h5py

    if not path.is_file():
        packed = path.with_name(f"{path.name}.gz")
        remedy = f"unpack {packed.name} (gunzip)" if packed.is_file() else "run `bench data prepare pcam`"
        raise DataError(f"{path}: missing; {remedy}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: is truncated or no HDF5 file ({reason}); unpack the original anew") from error
    content = file.get(name)
    if not isinstance(content, h5py.Dataset) or content.dtype != "uint8" or content.ndim != dimensions:
        file.close()
        raise DataError(f"{path}: holds no {name!r} of bytes with {dimensions} dimensions; is it PatchCamelyon's?")
    return file


_OSSCI = "https://ossci-datasets.s3.amazonaws.com/mnist"
_ZENODO = "https://zenodo.org/records/2546921/files"


def _pcam_file(name: str, md5: str) -> Download:
    file = f"camelyonpatch_level_2_split_{name}.h5.gz"
    return Download(f"{_ZENODO}/{file}", f"pcam/{file}", md5=md5)


ARRAYS = (
    ClassificationDataSet(
        name="mnist",
        title="MNIST, 10 digits",
        splits={"test": 10_000},
        read=read_mnist,
        layout="MNIST/raw/t10k-{images-idx3,labels-idx1}-ubyte, plain or .gz",
        presence=Presence(("MNIST/raw/t10k-images*", "MNIST/raw/t10k-labels*")),
        homepage="http://yann.lecun.com/exdb/mnist/",
        licence="CC BY-SA 3.0",
        downloads=tuple(
            Download(f"{_OSSCI}/{file}.gz", f"{_RAW}/{file}.gz", md5=md5)
            for file, md5 in (
                ("t10k-images-idx3-ubyte", "9fb629c4189551a2d022fa330f9573f3"),
                ("t10k-labels-idx1-ubyte", "ec29112dd5afa0611ce80d1b7f02629c"),
            )
        ),
        folder_of=None,
    ),
    ClassificationDataSet(
        name="stl10",
        title="STL-10, 10 classes",
        splits={"test": 8_000},
        read=read_stl10,
        layout="stl10_binary/{test_X.bin,test_y.bin,class_names.txt}",
        presence=Presence(tuple(f"stl10_binary/{file}" for file in ("test_X.bin", "test_y.bin", "class_names.txt"))),
        homepage="https://cs.stanford.edu/~acoates/stl10/",
        licence="none stated; the pictures are from ImageNet (non-commercial research)",
        downloads=(
            Download(
                "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
                "stl10_binary.tar.gz",
                md5="91f7769df0f17e558f3565bffb0c7dfb",
            ),
        ),
        folder_of=None,
    ),
    ClassificationDataSet(
        name="pcam",
        title="PatchCamelyon, with and without tumour",
        splits={"val": 32_768, "test": 32_768},
        read=read_pcam,
        layout="pcam/camelyonpatch_level_2_split_{valid,test}_{x,y}.h5",
        presence=Presence(tuple(f"pcam/camelyonpatch_level_2_split_valid_{part}.h5" for part in "xy")),
        homepage="https://github.com/basveeling/pcam",
        licence="CC0 1.0",
        downloads=(
            _pcam_file("valid_x", "d5b63470df7cfa627aeec8b9dc0c066e"),
            _pcam_file("valid_y", "2b85f58b927af9964a4c15b8f7e8f179"),
            _pcam_file("test_x", "d8c2d60d490dbd479f8199bdfa0cf6ec"),
            _pcam_file("test_y", "60a7035772fbdb7f34eb86d4420cf66a"),
        ),
        note=(
            "val as SLIP and its successors score it, though from the original pixels: their converter wrote JPEG "
            "files; CLIP's own number is on test"
        ),
    ),
)
"""The declarations, in the order of Table 3."""
