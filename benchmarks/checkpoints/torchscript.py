"""Taking the tensors out of a TorchScript archive without running any of it.

A file of ``torch.jit.save`` (OpenAI publishes CLIP so) is a zip archive: ``NAME/data.pkl`` describes a tree of modules,
``NAME/data/N`` are the raw numbers of their tensors, and ``NAME/code`` is a program. torch's own loader parses that
program, which an untrusted file must not make us do. Here the code is not looked at; the description is taken as data
(:mod:`benchmarks.checkpoints.inert_pickle`), and the numbers are mapped from where they lie in the file.
"""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from benchmarks.checkpoints.inert_pickle import (
    DamagedPickleError,
    Record,
    RefusedPickleError,
    StoredTensor,
    run_inert,
)
from benchmarks.checkpoints.refusals import damaged, refused

MEMBER_OF_TORCHSCRIPT = "constants.pkl"
"""What ``torch.jit.save`` always writes and ``torch.save`` never does."""

# Far beyond every model known: OpenAI's largest needs a tenth of a megabyte for its description.
_LARGEST_DESCRIPTION = 4 * 2**20
_MOST_ENTRIES = 100_000
_LONGEST_NAME = 1_000
# Tensors may share a storage (tied weights), but not so that a small file asks for much memory.
_MOST_SHARING = 2

_LOCAL_HEADER = struct.Struct("<4s22xHH")


def read_torchscript(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a TorchScript archive by their dotted names, in the archive's order.

    They are mapped from the file, not loaded. Attributes that are no tensors (``training`` and the like) are left out.

    Raises:
        CheckpointError: the archive is damaged, its description names or does anything beyond plain modules and
            tensors, or a tensor does not lie inside the numbers that the archive holds for it.
    """
    try:
        archive = _Archive(file)
        return archive.tensors(_flatten(run_inert(archive.description())))
    except RefusedPickleError as error:
        raise refused(file, str(error)) from None
    except DamagedPickleError as error:
        raise damaged(file, str(error)) from None


class _Archive:
    """The entries of the zip file, which all must be stored as they are: so none is larger than the file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.size = file.stat().st_size
        with zipfile.ZipFile(file) as archive:
            self.entries = {entry.filename: entry for entry in archive.infolist()}
        folders = [name.removesuffix("/data.pkl") for name in self.entries if name.partition("/")[2] == "data.pkl"]
        if len(folders) != 1:
            raise DamagedPickleError(f"{len(folders)} descriptions of the tensors")
        self.folder = folders[0]

    def description(self) -> bytes:
        """The pickle that describes the tensors."""
        start, size = self._place(f"{self.folder}/data.pkl")
        if size > _LARGEST_DESCRIPTION:
            raise DamagedPickleError(f"{size} bytes to describe the tensors")
        return self._bytes(start, size)

    def tensors(self, stored: Mapping[str, StoredTensor]) -> dict[str, torch.Tensor]:
        """The tensors, mapped from the file."""
        self._check_byte_order()
        needed = sum(tensor.size * tensor.storage.dtype.itemsize for tensor in stored.values())
        if needed > _MOST_SHARING * self.size:
            raise DamagedPickleError(f"tensors of {needed} bytes in a file of {self.size}")
        mapping = cast(torch.UntypedStorage, torch.UntypedStorage.from_file(str(self.file), False, self.size))
        return {name: self._tensor(mapping, name, tensor) for name, tensor in stored.items()}

    def _tensor(self, mapping: torch.UntypedStorage, name: str, tensor: StoredTensor) -> torch.Tensor:
        """One tensor as a view of the file's mapping."""
        storage = tensor.storage
        start, size = self._place(f"{self.folder}/data/{storage.key}")
        wanted = storage.size * storage.dtype.itemsize
        if size < wanted:
            raise DamagedPickleError(f"{name} needs {wanted} bytes, {storage.key} has {size}")
        if not tensor.fits:
            raise DamagedPickleError(f"{name} of shape {list(tensor.shape)} does not fit its {storage.size} numbers")
        raw = mapping[start : start + wanted]
        if start % storage.dtype.itemsize:  # torch aligns its entries; a program that packed them again may not
            raw = raw.clone()
        numbers = torch.empty(0, dtype=storage.dtype)
        return numbers.set_(raw, tensor.offset, tensor.shape, tensor.stride)

    def _check_byte_order(self) -> None:
        """Refuse numbers of a machine with the other byte order; files before torch 2.1 do not say it."""
        name = f"{self.folder}/byteorder"
        if name in self.entries and self._bytes(*self._place(name)) != b"little":
            raise DamagedPickleError("its numbers are not little-endian")

    def _place(self, name: str) -> tuple[int, int]:
        """Where the bytes of an entry begin in the file, and how many there are."""
        if name not in self.entries:
            raise DamagedPickleError(f"{name} is missing")
        entry = self.entries[name]
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            raise DamagedPickleError(f"{name} is compressed or encrypted, which torch never does")
        start = entry.header_offset + _LOCAL_HEADER.size
        if entry.header_offset < 0 or start > self.size:
            raise DamagedPickleError(f"{name} lies outside of the file")
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(
            self._bytes(entry.header_offset, _LOCAL_HEADER.size)
        )
        start += name_length + extra_length
        if signature != b"PK\x03\x04" or start + entry.file_size > self.size:
            raise DamagedPickleError(f"{name} lies outside of the file")
        return start, entry.file_size

    def _bytes(self, start: int, size: int) -> bytes:
        """A piece of the file."""
        with self.file.open("rb") as stream:
            stream.seek(start)
            return stream.read(size)


def _flatten(root: Any) -> dict[str, StoredTensor]:
    """The tensors of a tree of records, dicts, lists and tuples, by the dotted way to each."""
    if not isinstance(root, Record):
        raise DamagedPickleError("it describes no module")
    found: dict[str, StoredTensor] = {}
    waiting: list[tuple[str, Any]] = [("", root)]
    seen = 0
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, StoredTensor):
            if name in found:
                raise DamagedPickleError(f"two tensors of the name {name}")
            found[name] = value
            continue
        children = _children(value)
        seen += len(children)
        if seen > _MOST_ENTRIES or len(name) > _LONGEST_NAME:
            raise DamagedPickleError("modules nested without end")
        waiting.extend((f"{name}.{key}" if name else str(key), child) for key, child in reversed(children))
    return found


def _children(value: Any) -> list[tuple[Any, Any]]:
    """What lies directly in a value, with the name of each."""
    if isinstance(value, Record):
        # A class may store itself in a form of its own: what is in there must not vanish without a word.
        return list(value.state.items()) if isinstance(value.state, dict) else [("state", value.state)]
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list | tuple) else []
