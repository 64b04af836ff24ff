"""Every source by the name that a configuration's ``data.kind`` calls it. A new one is its fields and one entry."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pretrain.data.fields import SourceFields
from pretrain.data.sentences import CocoSource, KarpathySource
from pretrain.data.source import Source
from pretrain.data.table import IndexSource
from pretrain.data.webdataset import WebDatasetSource
from pretrain.data.yfcc15m import Yfcc15mSource

SOURCES: Mapping[str, Callable[[Any, Path], Source]] = {
    "index": IndexSource,
    "webdataset": WebDatasetSource,
    "coco": CocoSource,
    "karpathy": KarpathySource,
    "yfcc15m": Yfcc15mSource,
}


def open_source(fields: SourceFields, data_root: Path) -> Source:
    """The source that these fields describe, validated.

    Raises:
        DataError: a file, folder or column is missing or laid out in another way.
    """
    return SOURCES[fields.kind](fields, data_root)
