"""The named fields of the data: where the pairs come from and how a caption is made of their texts."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Fields(BaseModel):
    """Immutable, and a misspelt name is an error. Relative paths are meant beneath the data root."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CaptionFields(_Fields):
    """How the one caption of a sample is made of the texts that its source has for it.

    Attributes:
        choice: ``concatenate`` joins all parts (title, description) by one space, as the released code does; of
            alternatives (COCO's five sentences), which cannot be joined sensibly, it takes a random one. ``random``
            takes one text at random, as the paper says. ``first`` always takes the first.
        overflow: what becomes of a caption of more than 77 tokens. ``keep_eot`` cuts it and ends it with the
            end-of-text token. ``legacy_truncate`` cuts the end-of-text token off too, as the released tokeniser
            does: the text tower then reads the start token, and all such captions get the same embedding.
    """

    choice: Literal["concatenate", "random", "first"]
    overflow: Literal["keep_eot", "legacy_truncate"]


class IndexFields(_Fields):
    """A table with a column of image files and columns of texts.

    Attributes:
        table: CSV, TSV, Parquet, JSON (a list of objects) or JSONL file, told by its suffix.
        folder: what the image column's paths are relative to.
        image: name of the image column.
        captions: names of the columns that hold texts; empty cells are ignored.
        texts: whether the columns are ``parts`` of one description or ``alternatives``.
    """

    kind: Literal["index"] = "index"
    table: str
    folder: str = "."
    image: str = "image"
    captions: tuple[str, ...] = Field(default=("title", "description"), min_length=1)
    texts: Literal["parts", "alternatives"] = "parts"


class WebDatasetFields(_Fields):
    """Tar shards in webdataset's naming: files of one sample follow each other and share the name up to the first dot.

    Attributes:
        shards: the tar files: a path with ``{0000..0123}``, ``{a,b}``, ``*`` or ``?``.
        json_keys: the texts are these entries of the ``.json`` file; none: the text is the ``.txt`` file.
    """

    kind: Literal["webdataset"] = "webdataset"
    shards: str
    json_keys: tuple[str, ...] = ()


class CocoFields(_Fields):
    """COCO captions: one sample an image, its sentences are alternatives.

    Attributes:
        annotations: a ``captions_*.json`` file.
        folder: of the images.
    """

    kind: Literal["coco"] = "coco"
    annotations: str = "coco/annotations/captions_train2017.json"
    folder: str = "coco/train2017"


class KarpathyFields(_Fields):
    """A ``dataset_*.json`` in Karpathy's format (COCO, Flickr8k, Flickr30k): sentences are alternatives.

    Attributes:
        annotations: the JSON file.
        folder: of the images; a ``filepath`` in the file is a folder beneath it.
        splits: the splits to take; COCO's training usually takes ``("train", "restval")``.
    """

    kind: Literal["karpathy"] = "karpathy"
    annotations: str
    folder: str
    splits: tuple[str, ...] = Field(default=("train",), min_length=1)


class Yfcc15mFields(_Fields):
    """YFCC15M as the released code reads it: 4096 zip files of images, texts in a table of their own.

    Attributes:
        metadata: Parquet or CSV table with the columns id, hash, title and description; `bench data convert-yfcc`
            makes it of the released pickle file.
        root: the folder that holds ``test_zip_3/000.zip`` to ``test_zip_3/fff.zip``.
    """

    kind: Literal["yfcc15m"] = "yfcc15m"
    metadata: str = "yfcc15m/yfcc15m.parquet"
    root: str = "yfcc15m"


SourceFields = Annotated[
    IndexFields | WebDatasetFields | CocoFields | KarpathyFields | Yfcc15mFields, Field(discriminator="kind")
]
"""The fields of any source, told apart by ``kind``."""
