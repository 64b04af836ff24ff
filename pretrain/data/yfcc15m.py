"""YFCC15M in the layout of the released code: images in 4096 zip files, texts in a table made from its pickle."""

import pickle
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from pyarrow import csv, parquet

from benchmarks.errors import DataError
from benchmarks.files import atomic_path
from pretrain.data.archives import ArchiveReader, members
from pretrain.data.fields import Yfcc15mFields
from pretrain.data.source import decode, require_file, require_folder, require_some
from pretrain.data.table import read_columns

COLUMNS = ("id", "hash", "title", "description")
_FOLDER = "test_zip_3"
_HASH = "^[0-9a-f]{7,64}$"  # it becomes part of a file name


class Yfcc15mSource:
    """YFCC15M (see :class:`Yfcc15mFields`).

    The image of a hash lies in ``<root>/test_zip_3/<hash[:3]>.zip`` as
    ``data/images/<hash[:3]>/<hash[3:6]>/<hash>.jpg``.

    Args:
        fields: the table of texts and the folder of zip files.
        data_root: what relative paths are meant beneath.

    Raises:
        DataError: the table or a zip file that it needs is missing or damaged, or a hash is not hexadecimal.
    """

    alternatives = False

    def __init__(self, fields: Yfcc15mFields, data_root: Path) -> None:
        remedy = "make it from the released pickle with `bench data convert-yfcc`, or name it with data.metadata"
        path = require_file(data_root / fields.metadata, "YFCC15M table", remedy)
        remedy = "name the folder that holds it with data.root"
        self.folder = require_folder(data_root / fields.root / _FOLDER, "folder of zip files", remedy)
        table = read_columns(path, COLUMNS[1:])
        require_some(table.num_rows, path, "rows")
        self._hashes, self._texts = table["hash"], (table["title"], table["description"])
        valid = pc.match_substring_regex(self._hashes, _HASH).fill_null(False)
        if not pc.all(valid).as_py():
            row = pc.index(valid, False).as_py()
            raise DataError(f"{path}: row {row + 1}: {self._hashes[row].as_py()!r} is no hash; convert the pickle anew")
        self._offset, self._size, self._method = self._places()
        self._reader = ArchiveReader()

    def _archive(self, prefix: str) -> Path:
        return self.folder / f"{prefix}.zip"

    def _places(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int8]]:
        """Where each sample's bytes lie in its zip file; the method is -1 where they are missing."""
        count = len(self._hashes)
        encoded = pc.utf8_slice_codeunits(self._hashes, 0, 3).combine_chunks().dictionary_encode()
        prefixes: list[str] = encoded.dictionary.to_pylist()
        missing = sorted(prefix for prefix in prefixes if not self._archive(prefix).is_file())
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise DataError(f"{self._archive(missing[0])}: is missing{more}; download it, or leave its rows out")
        offset, size = np.zeros(count, np.int64), np.zeros(count, np.int32)
        method = np.full(count, -1, np.int8)
        group = encoded.indices.to_numpy()
        order = np.argsort(group, kind="stable")
        bounds = np.searchsorted(group[order], np.arange(len(prefixes) + 1))
        for prefix, start, stop in zip(prefixes, bounds[:-1], bounds[1:], strict=True):
            rows = order[start:stop]
            table = members(self._archive(prefix))
            found = pc.index_in(_member_names(self._hashes.take(pa.array(rows))), table["name"].combine_chunks())
            there = found.is_valid().to_numpy(zero_copy_only=False)
            rows, found = rows[there], found.drop_null()
            offset[rows], size[rows] = table["offset"].take(found).to_numpy(), table["size"].take(found).to_numpy()
            method[rows] = table["method"].take(found).to_numpy()
        return offset, size, method

    def __len__(self) -> int:
        return len(self._hashes)

    def name(self, index: int) -> str:
        """The hash."""
        return str(self._hashes[index].as_py())

    def image(self, index: int) -> Image.Image:
        """The decoded image; raises ``OSError`` if its zip file does not hold it, or it is damaged."""
        archive = self._archive(self.name(index)[:3])
        if self._method[index] < 0:
            raise FileNotFoundError(f"{archive}: holds no image of {self.name(index)}")
        place = int(self._offset[index]), int(self._size[index]), int(self._method[index])
        return decode(self._reader.zip(archive, *place))

    def texts(self, index: int) -> tuple[str, ...]:
        """Title and description, as they are."""
        return tuple(column[index].as_py() or "" for column in self._texts)


def _member_names(hashes: Any) -> Any:
    """What a zip file calls the images of these hashes."""
    hashes = pc.cast(hashes, pa.string())
    first, second = pc.utf8_slice_codeunits(hashes, 0, 3), pc.utf8_slice_codeunits(hashes, 3, 6)
    files = pc.binary_join_element_wise(hashes, ".jpg", "")
    return pc.binary_join_element_wise("data/images", first, second, files, "/").combine_chunks()


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, tuples, texts and numbers; whatever else a pickle asks for would be code, and is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it wants to call {module}.{name}")


# What a damaged pickle makes the unpickler raise.
_PICKLE_ERRORS = (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, AttributeError, TypeError,
                  OverflowError, MemoryError)  # fmt: skip


def _read_pickle(path: Path) -> list[Any]:
    try:
        with path.open("rb") as stream:
            content = _PlainUnpickler(stream).load()
    except _PICKLE_ERRORS as error:
        raise DataError(
            f"{path}: is not a pickle of plain rows ({error}); nothing was executed, get the original"
        ) from error
    if not isinstance(content, list) or not content:
        raise DataError(f"{path}: holds no list of rows ({', '.join(COLUMNS)}); get the released metadata")
    return content


def _require_row(path: Path, number: int, row: object) -> None:
    """Raise unless this is (id, hash, title, description)."""
    if not isinstance(row, tuple | list):
        raise DataError(f"{path}: row {number} is no tuple ({', '.join(COLUMNS)}); get the released metadata")
    if len(row) == 3:
        raise DataError(
            f"{path}: row {number} has 3 entries (id, title, description), as in SLIP's list, which lacks the hashes "
            "that the zip files go by; look them up in YFCC100M's own table and add them as the second entry"
        )
    if len(row) != 4 or not isinstance(row[1], str):
        raise DataError(f"{path}: row {number} is not ({', '.join(COLUMNS)}); get the released metadata")


def convert_metadata(pickle_path: Path, out_path: Path) -> int:
    """Turn the released pickle, a list of (id, hash, title, description), into a table that can be read safely.

    Texts are kept as they are; missing ones become empty. Nothing that the pickle names is imported or called.

    Args:
        pickle_path: the released file; it is read as a whole (about 10 GB of memory for 15 million rows).
        out_path: ends in ``.parquet`` or ``.csv``.

    Returns:
        The number of rows.

    Raises:
        DataError: the pickle is missing, damaged, holds other things than plain rows, or rows without a hash, or the
            table's suffix is another.
    """
    write = _WRITERS.get(out_path.suffix)
    if write is None:
        raise DataError(f"{out_path}: is written as {' or '.join(_WRITERS)}; choose one of these suffixes")
    rows = _read_pickle(require_file(pickle_path, "pickle of metadata", "name the released file"))
    for number, row in enumerate(rows, 1):
        _require_row(pickle_path, number, row)
    columns = {
        name: pa.array(("" if row[place] is None else str(row[place]) for row in rows), pa.large_string())
        for place, name in enumerate(COLUMNS)
    }
    with atomic_path(out_path) as temporary:
        write(pa.table(columns), temporary)
    return len(rows)


_WRITERS = {".parquet": parquet.write_table, ".csv": csv.write_csv}
