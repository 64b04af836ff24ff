"""What a classification data set declares, what its reader finds, and what a verified split is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks.data.presence import Presence
from benchmarks.download import Download

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.data.images import Images, Pixels
    from benchmarks.data.vocabulary import Vocabulary

ClassOrder = Literal["list", "folders"]
"""How labels are numbered: ``list`` is the vocabulary's order. ``folders`` is the order in which the class folders
that SLIP's converters write sort as text, while the texts keep the list's: SLIP's literal reading, which mislabels
most of Flowers and three classes of Aircraft."""


@dataclass(frozen=True)
class Listing:
    """What a reader found of a split, in the split's official order, or sorted where it has none.

    Attributes:
        paths: N unique paths relative to the data set's folder, joined by "/"; for arrays unique made-up names
            (``test-00017``).
        keys: the class of each picture, as a key of the vocabulary.
        pixels: the pictures of a set that is kept as arrays; else None.
        missing: pictures that the split's official list names and that are not there.
    """

    paths: tuple[str, ...]
    keys: tuple[str, ...]
    pixels: "Pixels | None" = None
    missing: int = 0


Reader = Callable[[Path, str, "Vocabulary"], Listing]
"""Called with the data set's own folder (``<data root>/<name>``), a split's name and the vocabulary."""


@dataclass(frozen=True)
class ClassificationDataSet:
    """One data set: the whole of what the rest of the project knows about it.

    Attributes:
        name: as in the benchmark's id, and the name of its folder beneath the data root.
        title: for people.
        splits: official number of pictures by the split's name; the first is the default. 0 where none is published:
            then the reader tells how many are missing.
        read: finds the pictures and their classes; opens no picture.
        layout: what must lie beneath ``<data root>/<name>``, in one line.
        presence: the same for a listing.
        homepage: where the data set comes from.
        licence: what its owners say about use.
        downloads: files that may be fetched. Each is put where its ``filename`` says, a path beneath the data set's
            folder, and an archive is unpacked in the folder in which it then lies.
        by_hand: how to get what cannot be downloaded; empty if all can.
        note: where the paper's reading of the set is ambiguous, and what is done here.
        folder_of: the name of the folder that SLIP's converter writes for a key; None where it writes lists of
            files, so that there is no order of folders to follow.
    """

    name: str
    title: str
    splits: Mapping[str, int]
    read: Reader
    layout: str
    presence: Presence
    homepage: str
    licence: str
    downloads: tuple[Download, ...] = ()
    by_hand: str = ""
    note: str = ""
    folder_of: Callable[[str], str] | None = str

    @property
    def default_split(self) -> str:
        """The split that the benchmark scores unless another is asked for."""
        return next(iter(self.splits))


@dataclass(frozen=True)
class ClassificationSplit:
    """A verified split.

    Attributes:
        dataset: name of the data set.
        split: name of the split.
        images: N pictures.
        labels: int64 (N,), 0 to ``classes`` - 1; place of the class in the vocabulary (or see ``ClassOrder``).
        classes: number of classes of the vocabulary, of which a partial set may lack some.
        official: published number of pictures; of a generated sample the number that was generated.
        is_sample: whether the pictures are generated.
    """

    dataset: str
    split: str
    images: "Images"
    labels: "NDArray[np.int64]"
    classes: int
    official: int
    is_sample: bool

    @property
    def complete(self) -> bool:
        """Whether no picture of the split is missing."""
        return len(self.images) == self.official
