"""Pairs listed in a table: an image column, text columns, and the images in a folder."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from benchmarks.errors import DataError
from pretrain.data.fields import IndexFields
from pretrain.data.source import decode, require_file, require_folder, require_some

_REMEDY = "name it with data.table and data.folder, relative to the data root"


def read_columns(path: Path, columns: Sequence[str]) -> Any:
    """The named columns of a table as one Arrow array of texts each; missing values become empty texts.

    Args:
        path: a CSV, TSV, Parquet, JSON (list of objects) or JSONL file; tables have a header line.
        columns: their names.

    Returns:
        ``pyarrow.Table`` with these columns in this order, of type ``large_string``.

    Raises:
        DataError: the suffix is none of these, the file is not what its suffix says, or a column is missing.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: tables are read from {', '.join(_READERS)}; convert it to one of these")
    wanted = list(dict.fromkeys(columns))
    try:
        table = reader(path, wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError, KeyError) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise DataError(f"{path}: has no column {missing[0]!r} (columns: {', '.join(table.column_names)})")
    return table.select(wanted).cast(pa.schema([(name, pa.large_string()) for name in wanted])).combine_chunks()


def _read_delimited(delimiter: str) -> Callable[[Path, list[str]], Any]:
    def read(path: Path, columns: list[str]) -> Any:
        from pyarrow import csv

        return csv.read_csv(
            path,
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.large_string())),
        )

    return read


def _read_parquet(path: Path, columns: list[str]) -> Any:
    from pyarrow import parquet

    known = parquet.read_schema(path).names
    return parquet.read_table(path, columns=[name for name in columns if name in known] or None)


def _read_json(path: Path, columns: list[str]) -> Any:
    records = json.loads(path.read_bytes())
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError("a JSON table is a list of objects")
    present = [name for name in columns if any(name in record for record in records)]
    return pa.table({name: pa.array([_text(record.get(name)) for record in records]) for name in present})


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _read_jsonl(path: Path, columns: list[str]) -> Any:
    from pyarrow import json as arrow_json

    return arrow_json.read_json(path)


_READERS: dict[str, Callable[[Path, list[str]], Any]] = {
    ".csv": _read_delimited(","),
    ".tsv": _read_delimited("\t"),
    ".parquet": _read_parquet,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
}


class IndexSource:
    """Pairs listed in a table (see :class:`IndexFields`).

    Args:
        fields: which table, folder and columns.
        data_root: what relative paths are meant beneath.

    Raises:
        DataError: the table, the folder or a column is missing, or the table has no rows.
    """

    def __init__(self, fields: IndexFields, data_root: Path) -> None:
        path = require_file(data_root / fields.table, "table of pairs", _REMEDY)
        self.folder = require_folder(data_root / fields.folder, "folder of images", _REMEDY)
        table = read_columns(path, (fields.image, *fields.captions))
        require_some(table.num_rows, path, "rows")
        self.alternatives = fields.texts == "alternatives"
        self._images = table[fields.image]
        self._captions = [table[column] for column in fields.captions]

    def __len__(self) -> int:
        return len(self._images)

    def name(self, index: int) -> str:
        """The image's path as the table has it."""
        return self._images[index].as_py() or f"row {index + 1}"

    def image(self, index: int) -> Image.Image:
        """The decoded image; raises ``OSError`` if its file is missing or damaged."""
        return decode((self.folder / self.name(index)).read_bytes())

    def texts(self, index: int) -> tuple[str, ...]:
        """The row's texts in the order of ``fields.captions``."""
        return tuple(column[index].as_py() or "" for column in self._captions)
