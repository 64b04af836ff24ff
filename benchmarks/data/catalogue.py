"""The data sets that this release can read, as the command line asks for them. A new one is one entry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import ade20k
from benchmarks.data.verify import Progress


@dataclass(frozen=True)
class DataSet:
    """What the command line can do with one data set.

    Attributes:
        title: name and size for people.
        state: what is there, by listing folders only: ``absent``, ``partial …``, ``complete`` or ``sample``.
        check: decode everything and say in lines what was found; raises ``DataError`` for the first bad file.
    """

    title: str
    state: Callable[[Path], str]
    check: Callable[[Path, Progress], list[str]]


def _check_ade20k(data_root: Path, progress: Progress) -> list[str]:
    lines = []
    for name in ade20k.OFFICIAL:
        split = ade20k.load_split(data_root, name, progress)
        lines.append(
            f"ade20k {name}: {len(split.pairs)} of {split.official} pairs, all readable, "
            f"fingerprint {split.fingerprint[:16]}"
        )
    return lines


DATA_SETS: Mapping[str, DataSet] = {
    "ade20k": DataSet(
        "ADE20K scene parsing, 150 classes, 20,210 + 2,000 images",
        lambda data_root: ade20k.summary(data_root).state,
        _check_ade20k,
    ),
}
