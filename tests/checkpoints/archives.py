"""TorchScript archives made by hand: real ones with an entry changed, and programs of single pickle instructions."""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path


def rewrite(
    source: Path,
    target: Path,
    changes: Mapping[str, bytes | None] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """Copy an archive; ``changes`` are by name behind the folder, None leaves the entry out. Entries lie unaligned."""
    changes = changes or {}
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            content = changes.get(name.partition("/")[2], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def entry(archive: Path, name: str) -> bytes:
    """The content of an entry, by its name behind the folder."""
    with zipfile.ZipFile(archive) as opened:
        return next(opened.read(full) for full in opened.namelist() if full.partition("/")[2] == name)


def write(path: Path, program: bytes, data: Mapping[str, bytes] | None = None, compression: int = 0) -> Path:
    """A TorchScript archive with this description and these storages."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a/data.pkl", program)
        archive.writestr("a/constants.pkl", b"\x80\x02).")
        for key, content in (data or {}).items():
            archive.writestr(f"a/data/{key}", content)
    return path


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def number(value: int) -> bytes:
    encoded = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def tensor(
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    size: int,
    key: str = "0",
    offset: int = 0,
    storage: str = "FloatStorage",
) -> bytes:
    """The instructions for a tensor in a storage of ``size`` numbers."""
    persistent = b"(" + text("storage") + name("torch", storage) + text(key) + text("cpu") + number(size) + b"tQ"
    hooks = name("collections", "OrderedDict") + b")R"
    rest = number(offset) + numbers(shape) + numbers(stride) + b"\x89" + hooks
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + persistent + rest + b"tR"


def module(attributes: Mapping[str, bytes]) -> bytes:
    """The instructions for a module with these attributes."""
    items = b"".join(text(key) + value for key, value in attributes.items())
    return name("__torch__", "M") + b")\x81}(" + items + b"ub"


def program(attributes: Mapping[str, bytes]) -> bytes:
    return b"\x80\x02" + module(attributes) + b"."
