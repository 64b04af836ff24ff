"""Reading a checkpoint file safely: by its content, never by its name, and never by running what is in it.

Safetensors files hold nothing but tensors and text. Files of ``torch.save`` are pickles, and a pickle can run
any program: they are read by torch's restricted unpickler, which knows tensors, plain values and
:data:`ALLOWED_GLOBALS`, and refuses everything else. There is no fallback to the unrestricted one. TorchScript
archives are programs too: :mod:`benchmarks.checkpoints.torchscript` takes the tensors out and leaves the rest.
"""

import argparse
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.checkpoints.refusals import damaged, refused
from benchmarks.checkpoints.torchscript import MEMBER_OF_TORCHSCRIPT, read_torchscript
from benchmarks.errors import CheckpointError
from benchmarks.files import sha256_of

ALLOWED_GLOBALS = (argparse.Namespace,)
"""What a pickle may name beyond torch's own list: SLIP, A-CLIP and DetailCLIP store their options so."""

FOLDER_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors")
"""The weights in an exported folder, or in one of open_clip's on the Hugging Face hub."""

# What the restricted unpickler and the archive reader raise on damaged input; programming errors of ours stay
# visible, for nothing but torch.load runs under it. UnpicklingError is told apart first.
_DAMAGED = (
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    AttributeError,
    AssertionError,
    struct.error,
)

_GLOBAL = re.compile(r"GLOBAL (\S+)")


@dataclass(frozen=True)
class CheckpointFile:
    """A file that was read.

    Attributes:
        path: the file itself (inside the folder, where a folder was given).
        sha256: of the whole file, 64 hexadecimal digits.
        content: what the file holds: tensors, or dicts of them among other values.
        metadata: the text entries of a safetensors header.
    """

    path: Path
    sha256: str
    content: Mapping[str, Any]
    metadata: Mapping[str, str]


def read_checkpoint(path: Path) -> CheckpointFile:
    """Read ``path``: a safetensors file, a file of ``torch.save`` (zip or legacy) or ``torch.jit.save``, or a folder
    that holds one of :data:`FOLDER_FILES`.

    Tensors of a zip archive are mapped, not loaded: optimiser state that nobody touches costs no memory.

    Raises:
        CheckpointError: missing, empty, truncated, no checkpoint, or a pickle that names something outside the
            allow-list (nothing in it is run).
    """
    file = _locate(path)
    with file.open("rb") as stream:
        head = stream.read(16)
    if not head:
        raise CheckpointError(f"{file}: the file is empty; download or copy it again")
    metadata: Mapping[str, str] = {}
    if head.startswith(b"PK\x03\x04"):
        content = read_torchscript(file) if _is_torchscript(file) else _unpickle(file, mmap=True)
    # A safetensors file is the length of its header (8 bytes, and the first may be any, a pickle's too), then the
    # header, a JSON object. A pickle in which this byte is a brace would be refused as damaged; torch writes none.
    elif head[8:9] == b"{":
        content, metadata = _read_safetensors(file)
    elif head[0] == 0x80:  # the first opcode of every binary pickle
        content = _unpickle(file, mmap=False)
    else:
        raise CheckpointError(
            f"{file}: not a checkpoint: neither a safetensors file nor a file of torch.save; check the path "
            f"or the download"
        )
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{file}: holds a {type(content).__name__}, not a dict of tensors")
    return CheckpointFile(file, sha256_of(file), content, metadata)


def _locate(path: Path) -> Path:
    """The file to read: ``path`` itself, or the weights in an exported folder."""
    if path.is_dir():
        for name in FOLDER_FILES:
            if (path / name).is_file():
                return path / name
        raise CheckpointError(
            f"{path}: is a folder without {' or '.join(FOLDER_FILES)}; give the checkpoint file, or an exported folder"
        )
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint; check the path")
    return path


def _is_torchscript(file: Path) -> bool:
    """Whether a zip archive is one of ``torch.jit.save``, not ``torch.save``; all others are refused."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = {name.partition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError):  # the last two: damaged directory
        raise damaged(file) from None
    if "data.pkl" not in members:
        raise CheckpointError(f"{file}: not a checkpoint: a zip archive that torch.save did not write")
    return MEMBER_OF_TORCHSCRIPT in members


@contextmanager
def _only_allowed_globals() -> Iterator[None]:
    """Allow :data:`ALLOWED_GLOBALS` and nothing that other code of this process may have allowed."""
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals(list(ALLOWED_GLOBALS)):
            yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(others)


def _unpickle(file: Path, mmap: bool) -> Any:
    """Load a file of ``torch.save`` with the restricted unpickler."""
    try:
        # A pickle of another protocol is warned of before it is refused; the refusal is enough.
        with _only_allowed_globals(), warnings.catch_warnings(action="ignore"):
            if file.suffix != ".safetensors":
                return torch.load(file, weights_only=True, map_location="cpu", mmap=mmap)
            with file.open("rb") as stream:  # by its path, torch would take it for what its name says
                return torch.load(stream, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        found = _GLOBAL.search(str(error))
        raise refused(file, f"names {found.group(1)}" if found else "holds something") from None
    except _DAMAGED:
        raise damaged(file) from None


def _read_safetensors(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt", device="cpu") as archive:
            return {key: archive.get_tensor(key) for key in archive.keys()}, dict(archive.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(
            f"{file}: the safetensors file is truncated or damaged ({error}); download or copy it again"
        ) from None
