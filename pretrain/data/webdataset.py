"""Pairs in tar shards that are named as webdataset does, read at random access."""

import glob
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from benchmarks.errors import DataError
from pretrain.data.archives import ArchiveReader, members
from pretrain.data.fields import WebDatasetFields
from pretrain.data.source import decode, require_some

_IMAGES = ["jpg", "jpeg", "png", "webp"]
_KEY = r"^(?P<key>(?:.*/)?[^./]+)\.(?P<extension>[^/]*)$"  # hidden files (macOS leaves "._x.jpg") do not match


def expand_braces(pattern: str) -> list[str]:
    """All texts that ``{0000..0123}`` (padded as its first number) and ``{a,b}`` in a pattern stand for, in order."""
    choices = [_choices(piece) for piece in re.split(r"(\{[^{}]*\})", pattern)]
    return ["".join(parts) for parts in itertools.product(*choices)]


def _choices(piece: str) -> list[str]:
    span = re.fullmatch(r"\{(\d+)\.\.(\d+)\}", piece)
    if span:
        first, last = span.groups()
        return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    return piece[1:-1].split(",") if piece.startswith("{") else [piece]


def find_shards(pattern: str, data_root: Path) -> list[Path]:
    """The shards that a pattern names, in its order, those of a glob sorted.

    Raises:
        DataError: a part of the pattern names no file.
    """
    shards: list[Path] = []
    for text in expand_braces(str(data_root / pattern)):
        found = sorted(Path(name) for name in glob.glob(text))  # noqa: PTH207 - the pattern may be absolute
        if not found:
            raise DataError(f"{text}: no such shard; name the tar files with data.shards, relative to the data root")
        shards += found
    return shards


def _samples(shard: Path, text_extension: str) -> Any:
    """One row an image: its key, and the places of its bytes and of its text's (-1: there is none)."""
    table = members(shard)
    parts = pc.extract_regex(table["name"].combine_chunks(), _KEY)
    keys, extensions = parts.field("key"), pc.utf8_lower(parts.field("extension"))
    image = np.flatnonzero(pc.is_in(extensions, pa.array(_IMAGES)).to_numpy(zero_copy_only=False))
    text = np.flatnonzero(pc.equal(extensions, text_extension).fill_null(False).to_numpy(zero_copy_only=False))
    found = pc.index_in(keys.take(image), keys.take(text)).fill_null(-1).to_numpy().astype(np.int64)
    offsets, sizes = table["offset"].to_numpy(), table["size"].to_numpy()
    partner = np.append(text, -1)[found]
    return pa.table({
        "key": keys.take(image).cast(pa.large_string()),
        "image_offset": offsets[image],
        "image_size": sizes[image],
        "text_offset": np.where(found < 0, -1, offsets[partner]),
        "text_size": np.where(found < 0, 0, sizes[partner]),
    })  # fmt: skip


class WebDatasetSource:
    """Pairs in tar shards (see :class:`WebDatasetFields`); every image is a sample.

    Args:
        fields: which shards, and where the text is.
        data_root: what relative paths are meant beneath.

    Raises:
        DataError: a shard is missing or damaged, the shards hold no image, or the JSON files lack the named entries.
    """

    alternatives = False

    def __init__(self, fields: WebDatasetFields, data_root: Path) -> None:
        self._json_keys = fields.json_keys
        self._shards = find_shards(fields.shards, data_root)
        tables = [_samples(shard, "json" if fields.json_keys else "txt") for shard in self._shards]
        counts = [table.num_rows for table in tables]
        require_some(sum(counts), self._shards[0], f"images ({', '.join(_IMAGES)})")
        table = pa.concat_tables(tables).combine_chunks()
        self._shard = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self._keys = table["key"]
        self._image = table["image_offset"].to_numpy(), table["image_size"].to_numpy()
        self._text = table["text_offset"].to_numpy(), table["text_size"].to_numpy()
        self._reader = ArchiveReader()
        if fields.json_keys:
            self._require_keys()

    def __len__(self) -> int:
        return len(self._shard)

    def name(self, index: int) -> str:
        """The shard's file name and the sample's key."""
        return f"{self._shards[self._shard[index]].name}:{self._keys[index].as_py()}"

    def _read(self, index: int, place: tuple[Any, Any]) -> bytes:
        offsets, sizes = place
        return self._reader.tar(self._shards[self._shard[index]], int(offsets[index]), int(sizes[index]))

    def image(self, index: int) -> Image.Image:
        """The decoded image; raises ``OSError`` if the shard became shorter or the image is damaged."""
        return decode(self._read(index, self._image))

    def texts(self, index: int) -> tuple[str, ...]:
        """The text file's content or the named JSON entries; none if the sample has no such file or it is damaged.

        Raises:
            OSError: the shard cannot be read.
        """
        if self._text[0][index] < 0:
            return ()
        content = self._read(index, self._text)
        if not self._json_keys:
            return (content.decode("utf-8", errors="replace"),)
        entries = _entries(content)
        return tuple(str(entries.get(key) or "") for key in self._json_keys)

    def _require_keys(self) -> None:
        """Raise if the first sample with a JSON file has none of the named entries: they are misspelt."""
        described = np.flatnonzero(self._text[0] >= 0)
        entries = _entries(self._read(int(described[0]), self._text)) if described.size else {}
        if not set(self._json_keys) & entries.keys():
            wanted, known = ", ".join(self._json_keys), ", ".join(entries) or "none"
            raise DataError(
                f"{self._shards[0]}: its first JSON file has no {wanted} (entries: {known}); "
                "name them with data.json_keys"
            )


def _entries(content: bytes) -> dict[str, Any]:
    """The entries of a JSON file; none if it is damaged."""
    try:
        entries = json.loads(content)
    except ValueError:
        return {}
    return entries if isinstance(entries, dict) else {}
