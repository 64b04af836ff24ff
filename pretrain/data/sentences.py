"""Data sets with several sentences for each image: COCO's own annotation files, and Karpathy's."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.data.karpathy import read_karpathy
from benchmarks.errors import DataError
from pretrain.data.fields import CocoFields, KarpathyFields
from pretrain.data.source import decode, require_file, require_folder, require_some, text_array, text_lists


class _SentencesSource:
    """Image files in a folder, each with a list of sentences."""

    alternatives = True

    def __init__(self, folder: Path, images: Sequence[str], sentences: Sequence[Sequence[str]]) -> None:
        self.folder = folder
        self._images = text_array(images)
        self._sentences = text_lists(sentences)

    def __len__(self) -> int:
        return len(self._images)

    def name(self, index: int) -> str:
        """The image's path beneath the folder."""
        return str(self._images[index].as_py())

    def image(self, index: int) -> Image.Image:
        """The decoded image; raises ``OSError`` if its file is missing or damaged."""
        return decode((self.folder / self.name(index)).read_bytes())

    def texts(self, index: int) -> tuple[str, ...]:
        """The sentences in the order of the file."""
        return tuple(self._sentences[index].as_py())


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: is no JSON file of COCO captions ({error}); download it again") from error


class CocoSource(_SentencesSource):
    """COCO captions: one sample an image; images without a sentence are left out.

    Args:
        fields: the annotation file and the folder of images.
        data_root: what relative paths are meant beneath.

    Raises:
        DataError: the file or folder is missing, or the file is not one of COCO's captions.
    """

    def __init__(self, fields: CocoFields, data_root: Path) -> None:
        remedy = "download COCO's images and annotations, or name them with data.annotations and data.folder"
        path = require_file(data_root / fields.annotations, "file of COCO captions", remedy)
        folder = require_folder(data_root / fields.folder, "folder of COCO images", remedy)
        content = _read_json(path)
        try:
            sentences: dict[int, list[str]] = {image["id"]: [] for image in content["images"]}
            for annotation in content["annotations"]:
                sentences[annotation["image_id"]].append(annotation["caption"])
            described = [image for image in content["images"] if sentences[image["id"]]]
            names = [image["file_name"] for image in described]
        except (KeyError, TypeError) as error:
            raise DataError(f"{path}: is not laid out as COCO captions ({error!r}); name a captions_*.json") from error
        require_some(len(names), path, "image with a caption")
        super().__init__(folder, names, [sentences[image["id"]] for image in described])


class KarpathySource(_SentencesSource):
    """Karpathy's ``dataset_*.json``: one sample an image of the chosen splits.

    Args:
        fields: the annotation file, the folder of images and the splits.
        data_root: what relative paths are meant beneath.

    Raises:
        DataError: the file or folder is missing, a split does not occur in it, or the file is of another layout.
    """

    def __init__(self, fields: KarpathyFields, data_root: Path) -> None:
        remedy = "download it, or name it with data.annotations and data.folder"
        path = require_file(data_root / fields.annotations, "Karpathy file", remedy)
        folder = require_folder(data_root / fields.folder, "folder of images", remedy)
        images = read_karpathy(path, fields.splits)
        super().__init__(folder, [image.path for image in images], [image.captions for image in images])
