"""Small data sets in the array formats of MNIST, STL-10, PatchCamelyon and CIFAR, written into a folder."""

import gzip
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def noise(*shape: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def idx(values: Bytes) -> bytes:
    """MNIST's format."""
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes((0, 0, 8, values.ndim)) + sizes + values.tobytes()


def write_mnist(folder: Path, pixels: Bytes, labels: Sequence[int], compressed: bool = False) -> Path:
    raw = folder / "MNIST/raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name, values in (
        ("t10k-images-idx3-ubyte", pixels),
        ("t10k-labels-idx1-ubyte", np.array(labels, np.uint8)),
    ):
        content = idx(values)
        (raw / f"{name}{'.gz' if compressed else ''}").write_bytes(gzip.compress(content) if compressed else content)
    return raw


def write_stl10(folder: Path, pixels: Bytes, labels: Sequence[int], names: Sequence[str]) -> Path:
    """``pixels`` are (N, 96, 96, 3), ``labels`` begin at 1."""
    base = folder / "stl10_binary"
    base.mkdir(parents=True, exist_ok=True)
    (base / "test_X.bin").write_bytes(np.ascontiguousarray(pixels.transpose(0, 3, 2, 1)).tobytes())
    (base / "test_y.bin").write_bytes(bytes(labels))
    (base / "class_names.txt").write_text("".join(f"{name}\n" for name in names))
    return base


def write_pcam(folder: Path, pixels: Bytes, labels: Sequence[int], split: str = "valid", **storage: Any) -> Path:
    """``storage``: ``chunks`` or ``compression`` of the pictures."""
    base = folder / "pcam"
    base.mkdir(parents=True, exist_ok=True)
    stem = f"camelyonpatch_level_2_split_{split}"
    with h5py.File(base / f"{stem}_x.h5", "w") as file:
        file.create_dataset("x", data=pixels, **storage)
    with h5py.File(base / f"{stem}_y.h5", "w") as file:
        file.create_dataset("y", data=np.array(labels, np.uint8).reshape(-1, 1, 1, 1))
    return base / f"{stem}_x.h5"


def sum_of(pixels: Any, index: int) -> tuple[int, int]:
    """For workers: a picture's number and the sum of its bytes."""
    return index, int(pixels[index].astype(np.int64).sum())


def python2_pickle(content: Mapping[str, Any]) -> bytes:
    """A dict of texts, lists and byte arrays (N, M) as Python 2 and NumPy 1 pickled CIFAR: protocol 2, byte strings."""
    return b"\x80\x02" + _dumped(dict(content)) + b"."


def _dumped(value: Any) -> bytes:
    match value:
        case dict():
            return b"}(" + b"".join(_dumped(key) + _dumped(item) for key, item in value.items()) + b"u"
        case list():
            return b"](" + b"".join(map(_dumped, value)) + b"e"
        case str():
            return _string(value.encode("latin1"))
        case int():
            return b"J" + struct.pack("<i", value)
        case np.ndarray():
            kind = b"cnumpy\ndtype\n(" + _string(b"u1") + _dumped(0) + _dumped(1) + b"tR"
            state = b"(" + _dumped(3) + _string(b"|") + b"NNN" + _dumped(-1) + _dumped(-1) + _dumped(0) + b"tb"
            empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + _dumped(0) + b"t" + _string(b"b")
            shape = b"(" + b"".join(map(_dumped, value.shape)) + b"t"
            return empty + b"tR(" + _dumped(1) + shape + kind + state + b"\x89" + _string(value.tobytes()) + b"tb"
    raise TypeError(value)


def _string(content: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(content)) + content
