"""Every data set of the suite, as the command line asks for it: what it is, what is there, what is in it.

It is made from the registries: a new data set is one declaration there, and none here.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.data import ade20k, coco
from benchmarks.data.classification.registry import CLASSIFICATION
from benchmarks.data.classification.split import ClassificationDataSet
from benchmarks.data.inspection import (
    Inspection,
    inspect_ade20k,
    inspect_classification,
    inspect_coco,
    inspect_retrieval,
    write_manifest,
)
from benchmarks.data.retrieval import RETRIEVAL, SPLIT, RetrievalDataSet
from benchmarks.data.verify import Progress
from benchmarks.download import Download
from benchmarks.errors import OptionError

Inspector = Callable[[Path, str, bool, Progress | None], Inspection]
"""Called with the data root, the split, whether to decode, and the progress."""


@dataclass(frozen=True)
class DataSet:
    """What the command line can say of one data set, and do with it.

    Attributes:
        name: by which it is asked for.
        title: name and size for people.
        splits: published number of pictures by the split's name; 0 where none is published.
        checked: the splits that are checked unless one is named.
        layout: what must lie in its folder, in one line.
        homepage: where it comes from.
        licence: what its owners say about use.
        downloads: the files that ``prepare`` fetches.
        further: files that it fetches only when they are named: other parts of the data set.
        by_hand: how to get what cannot be downloaded; empty if all can.
        note: what a reader of numbers on it must know.
        inspect: looks into one split.
        state: ``absent``, ``partial …``, ``complete`` or ``sample``, by listing folders alone.
        folder: its folder beneath the data root, where that is not called as the data set: COCO's pictures serve two.
    """

    name: str
    title: str
    splits: Mapping[str, int]
    checked: tuple[str, ...]
    layout: str
    homepage: str
    licence: str
    downloads: tuple[Download, ...]
    by_hand: str
    inspect: Inspector
    state: Callable[[Path], str]
    further: tuple[Download, ...] = ()
    note: str = ""
    folder: str | None = None

    def beneath(self, data_root: Path) -> Path:
        """Where it lies."""
        return data_root / (self.folder or self.name)

    def check(
        self,
        data_root: Path,
        progress: Progress | None = None,
        *,
        split: str | None = None,
        decode: bool = True,
        every_class: bool = False,
        manifest: Path | None = None,
    ) -> list[str]:
        """Look into the data set and say in lines what was found.

        Args:
            data_root: the folder that holds its folder.
            progress: called with (files done, files in all).
            split: the split to look into; by default those in ``checked``.
            decode: decode and hash every picture (remembered); otherwise they are only listed.
            every_class: say the name and number of pictures of each class.
            manifest: a file to write the sha256 of all files to (see ``write_manifest``).

        Raises:
            OptionError: there is no such split.
            DataError: something is missing or damaged: the first bad file is named.
        """
        found = [self.inspect(data_root, name, decode, progress) for name in ((split,) if split else self.checked)]
        lines = []
        for inspection in found:
            lines += inspection.lines()
            if every_class and inspection.classes:
                lines += inspection.classes.every()
        if manifest:
            count = write_manifest(manifest, self.beneath(data_root), found, progress)
            lines.append(f"manifest: {manifest}, {count} files; in {self.beneath(data_root)}: sha256sum -c {manifest}")
        return lines


def find(name: str) -> DataSet:
    """The data set of this name.

    Raises:
        OptionError: there is none; the likeliest is proposed.
    """
    if name not in DATA_SETS:
        close = difflib.get_close_matches(name, DATA_SETS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(DATA_SETS)}"
        raise OptionError(f"{name}: no such data set; {hint}")
    return DATA_SETS[name]


def used_by(name: str) -> tuple[str, ...]:
    """The ids of the benchmarks that score on a data set."""
    from benchmarks.suite import BENCHMARKS

    return tuple(benchmark.id for benchmark in BENCHMARKS if benchmark.dataset == name)


def _ade20k() -> DataSet:
    """ADE20K, which has no registry of its own."""
    return DataSet(
        name="ade20k",
        title="ADE20K scene parsing, 150 classes, 20,210 + 2,000 images",
        splits={str(name): count for name, count in ade20k.OFFICIAL.items()},
        checked=tuple(ade20k.OFFICIAL),
        layout="ADEChallengeData2016/{images,annotations}/{training,validation}",
        homepage="http://sceneparsing.csail.mit.edu",
        licence="annotations BSD-3-Clause; pictures for non-commercial research and education",
        downloads=(
            Download(
                "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip", "ADEChallengeData2016.zip"
            ),
        ),
        by_hand="",
        inspect=inspect_ade20k,
        state=lambda data_root: ade20k.summary(data_root).state,
    )


def _coco_instances() -> DataSet:
    """COCO's boxes and masks, beside the captions in one folder."""
    return DataSet(
        name="coco-instances",
        title="COCO 2017 object instances, 80 classes, 118,287 + 5,000 pictures",
        splits={str(name): count for name, count in coco.OFFICIAL.items()},
        checked=tuple(coco.OFFICIAL),
        layout="{train2017,val2017}/<number>.jpg and annotations/instances_{train,val}2017.json",
        homepage="https://cocodataset.org",
        licence="annotations CC BY 4.0; pictures belong to their Flickr authors, each under its own licence",
        downloads=coco.DOWNLOADS,
        by_hand="",
        inspect=inspect_coco,
        state=lambda data_root: coco.PRESENCE.state(data_root, coco.FOLDER),
        folder=coco.FOLDER,
    )


def _classification(declared: ClassificationDataSet) -> DataSet:
    """A classification set as the command line sees it."""
    inspect = partial(inspect_classification, declared)
    return _declared(declared, declared.splits, declared.default_split, inspect)


def _retrieval(declared: RetrievalDataSet) -> DataSet:
    """A retrieval set as the command line sees it."""
    return _declared(
        declared, {SPLIT: declared.official}, SPLIT, partial(inspect_retrieval, declared), declared.further
    )


def _declared(
    declared: ClassificationDataSet | RetrievalDataSet,
    splits: Mapping[str, int],
    checked: str,
    inspect: Inspector,
    further: tuple[Download, ...] = (),
) -> DataSet:
    """What a declaration of any kind tells."""
    return DataSet(
        name=declared.name,
        title=declared.title,
        splits=splits,
        checked=(checked,),
        layout=declared.layout,
        homepage=declared.homepage,
        licence=declared.licence,
        downloads=declared.downloads,
        by_hand=declared.by_hand,
        inspect=inspect,
        state=lambda data_root: declared.presence.state(data_root, declared.name),
        further=further,
        note=declared.note,
    )


DATA_SETS: Mapping[str, DataSet] = {
    data_set.name: data_set
    for data_set in (
        _ade20k(),
        _coco_instances(),
        *map(_classification, CLASSIFICATION.values()),
        *map(_retrieval, RETRIEVAL.values()),
    )
}
"""All data sets by name."""
