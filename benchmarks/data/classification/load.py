"""From a declaration and a folder to a verified split."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data.classification.registry import CLASSIFICATION
from benchmarks.data.classification.split import ClassificationDataSet, ClassificationSplit, ClassOrder, Listing
from benchmarks.data.images import ArrayImages, Images, verified_files
from benchmarks.data.root import is_sample, require_root
from benchmarks.errors import DataError, OptionError

if TYPE_CHECKING:
    from benchmarks.data.verify import Progress
    from benchmarks.data.vocabulary import Vocabulary


def load_split(
    data_root: Path,
    dataset: str,
    vocabulary: "Vocabulary",
    split: str | None = None,
    class_order: ClassOrder = "list",
    progress: "Progress | None" = None,
) -> ClassificationSplit:
    """Find, verify and label the pictures of one split. The first call decodes every file, later ones what changed.

    Args:
        data_root: the folder that holds ``<dataset>/``.
        dataset: a name in ``CLASSIFICATION``.
        vocabulary: of that data set; its keys give the labels.
        split: a name that the declaration knows; by default the one that the benchmark scores.
        class_order: how labels are numbered; see ``ClassOrder``.
        progress: called with (pictures done, pictures in all).

    Raises:
        OptionError: the data set has no such split.
        DataError: the data root or the set is missing, its layout is another, a class folder is missing or unknown, a
            class is not in the vocabulary, there are no pictures or more than were published, or one is damaged.
    """
    declared = CLASSIFICATION[dataset]
    name = split or declared.default_split
    if name not in declared.splits:
        raise OptionError(f"{dataset}: no split {name!r}; it has {', '.join(declared.splits)}")
    listing = list_split(data_root, declared, vocabulary, name)
    sample = is_sample(data_root)
    official = len(listing.paths) if sample else declared.splits[name] or len(listing.paths) + listing.missing
    if len(listing.paths) > official:
        raise DataError(
            f"{data_root / dataset}: has {len(listing.paths)} pictures of {name}, but {official} are published; "
            f"remove those that do not belong to {declared.title}"
        )
    import numpy as np

    labels = np.array(_labels(data_root / dataset, declared, listing, vocabulary, class_order), np.int64)
    images = _images(data_root / dataset, listing, f"{dataset}-{name}", progress)
    return ClassificationSplit(dataset, name, images, labels, len(vocabulary.keys), official, is_sample=sample)


def list_split(data_root: Path, declared: ClassificationDataSet, vocabulary: "Vocabulary", split: str) -> Listing:
    """What is there of a split, found without opening a picture.

    Raises:
        DataError: the data root or the data set is missing, nothing of the split is there, or the layout is another.
    """
    require_root(data_root)
    folder = data_root / declared.name
    if not folder.is_dir():
        raise DataError(
            f"{folder}: {declared.title} is not there; expected {declared.layout} inside; "
            f"`bench data prepare {declared.name}` fetches it or tells how to get it"
        )
    listing = declared.read(folder, split, vocabulary)
    if not listing.paths:
        raise DataError(f"{folder}: no picture of the split {split} is there; expected {declared.layout} inside")
    return listing


def _labels(
    folder: Path, declared: ClassificationDataSet, listing: Listing, vocabulary: "Vocabulary", class_order: ClassOrder
) -> list[int]:
    """The label of each picture."""
    labels = dict(zip(vocabulary.keys, class_labels(declared, vocabulary.keys, class_order), strict=True))
    for path, key in zip(listing.paths, listing.keys, strict=True):
        if key not in labels:
            raise DataError(
                f"{folder / path}: is of the class {key!r}, which is none of the {len(labels)} classes of "
                f"{declared.name}; put the original files in their place"
            )
    return [labels[key] for key in listing.keys]


def class_labels(declared: ClassificationDataSet, keys: Sequence[str], class_order: ClassOrder) -> list[int]:
    """The label of each class: its place in the list, or the place of its folder among the folders sorted as text."""
    if class_order == "list" or declared.folder_of is None:
        return list(range(len(keys)))
    folders = [declared.folder_of(key) for key in keys]
    places = {folder: place for place, folder in enumerate(sorted(folders))}
    return [places[folder] for folder in folders]


def _images(folder: Path, listing: Listing, name: str, progress: "Progress | None") -> Images:
    if listing.pixels is not None:
        return ArrayImages.of(listing.pixels, listing.paths, progress)
    return verified_files(folder, listing.paths, f"classification-{name}", progress)
