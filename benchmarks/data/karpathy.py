"""Karpathy's ``dataset_*.json``: which pictures of COCO, Flickr30k and Flickr8k are whose split, and their captions.

The files come from "Deep Visual-Semantic Alignments for Generating Image Descriptions" (Karpathy and Fei-Fei, 2015);
nearly every paper on captioning and retrieval scores on their ``test`` splits. Retrieval and pretraining share this
reader.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, NotRequired

from typing_extensions import TypedDict

from benchmarks.data.annotations import read_annotations
from benchmarks.errors import DataError


class DescribedImage(NamedTuple):
    """A picture and what people wrote about it.

    Attributes:
        path: of the file; a folder that the JSON names comes before it (``val2014/COCO_val2014_000000391895.jpg``).
        captions: all of them, as they are written and in the order of the file.
    """

    path: str
    captions: tuple[str, ...]


class _Sentence(TypedDict):
    raw: str


class _Image(TypedDict):
    filename: str
    filepath: NotRequired[str | None]  # COCO's alone
    split: str
    sentences: list[_Sentence]


def read_karpathy(path: Path, splits: Sequence[str]) -> list[DescribedImage]:
    """The pictures of some splits in the order of the file; captions are not looked at.

    Everything else in the file (tokens, ids) is passed over while it is read, so that COCO's 140 MB take a few
    seconds.

    Args:
        path: the JSON file.
        splits: names of splits, such as ``test`` (COCO has ``train``, ``restval``, ``val``, ``test``).

    Raises:
        DataError: no such file, no JSON (truncated, say), another layout, or a split that does not occur in it.
    """
    images = _parse(path)
    known = {image["split"] for image in images}
    for split in splits:
        if split not in known:
            raise DataError(
                f"{path}: has no split {split!r} (splits: {', '.join(sorted(known)) or 'none'}); "
                "name one of these, or get the original file"
            )
    return [
        DescribedImage(
            "/".join(filter(None, (image.get("filepath"), image["filename"]))),
            tuple(sentence["raw"] for sentence in image["sentences"]),
        )
        for image in images
        if image["split"] in splits
    ]


def require_captions(path: Path, images: Sequence[DescribedImage]) -> None:
    """Assert that every picture has a caption and that none of them is blank.

    Retrieval counts captions, so a blank one may neither be scored nor be left out silently. (Pretraining leaves
    blank ones out, and does not ask for this.)

    Args:
        path: the file that they come from, for the message.
        images: what was read of it.

    Raises:
        DataError: naming the first picture that breaks the rule.
    """
    for image in images:
        if not image.captions:
            raise DataError(f"{path}: {image.path} has no caption; get the original file")
        for number, caption in enumerate(image.captions, 1):
            if not caption.strip():
                raise DataError(f"{path}: caption {number} of {image.path} is empty; get the original file")


def _parse(path: Path) -> list[_Image]:
    """The entries of the file's ``images``, checked."""
    from pydantic import FailFast, TypeAdapter

    class File(TypedDict):
        images: Annotated[list[_Image], FailFast()]  # a file of another kind has the same error 100,000 times

    return read_annotations(path, TypeAdapter(File), "Karpathy's layout", "name a dataset_*.json of his")["images"]
