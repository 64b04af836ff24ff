"""How much of a data set is there, by listing folders alone: cheap enough to ask for every set at once.

No file is opened, so ``complete`` means that as many files lie there as were published, not that they are the right
ones; ``bench data check`` looks into them.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.data.root import is_sample

ABSENT, COMPLETE, SAMPLE = "absent", "complete", "sample"
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".gif", ".webp")


@dataclass(frozen=True)
class Presence:
    """What a listing must find beneath ``<data root>/<name>`` for the data set to be complete.

    Places that a set may have instead of each other are separated by ``|``; the first that is there counts.

    Attributes:
        needed: files or folders, as patterns of ``Path.glob`` where their names vary.
        pictures: published number of pictures beneath each folder, subfolders included.
        instead: another layout that serves as well; the one with more pictures is judged.
    """

    needed: tuple[str, ...] = ()
    pictures: Mapping[str, int] = field(default_factory=dict)
    instead: "Presence | None" = None

    def state(self, data_root: Path, name: str) -> str:
        """``absent``, ``sample``, ``complete``, or ``partial`` with what is there of what is published."""
        folder = data_root / name
        layouts = [(layout, *layout._look(folder)) for layout in (self, self.instead) if layout]
        layout, counts, missing = max(layouts, key=lambda found: sum(found[1].values()))
        if not any(counts.values()) and len(missing) == len(layout.needed):
            return ABSENT
        if is_sample(data_root):
            return SAMPLE
        short = {path: count for path, count in counts.items() if count < layout.pictures[path]}
        parts = [layout._share(path, count) for path, count in short.items()]
        parts += [f"no {_first(places)}" for places in missing]
        return f"partial {', '.join(parts)}" if parts else COMPLETE

    def _look(self, folder: Path) -> tuple[dict[str, int], list[str]]:
        """The number of pictures at each place, and the needed files that are not there."""
        counts = {places: _count_first(folder, places.split("|")) for places in self.pictures}
        return counts, [
            places for places in self.needed if not any(any(folder.glob(path)) for path in places.split("|"))
        ]

    def _share(self, path: str, count: int) -> str:
        """How much of one folder is there; the folder is named where there are several."""
        share = f"{count}/{self.pictures[path]}"
        return share if len(self.pictures) == 1 else f"{_first(path)} {share}"


def _first(places: str) -> str:
    return places.partition("|")[0]


def _count_first(folder: Path, places: Sequence[str]) -> int:
    """The pictures at the first of some places that has any."""
    return next(filter(None, (count_pictures(folder / place) for place in places)), 0)


def count_pictures(folder: Path) -> int:
    """The number of files beneath a folder that are pictures by their suffix; hidden ones do not count."""
    return _count(str(folder))


def _count(folder: str) -> int:
    """As above, on plain strings: a hundred thousand ``Path`` objects would cost more than the listing."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - see above
    except (FileNotFoundError, NotADirectoryError):
        return 0
    shown = [name for name in names if not name.startswith(".")]
    folders = [name for name in shown if not name.lower().endswith(PICTURE_SUFFIXES)]
    return len(shown) - len(folders) + sum(_count(f"{folder}/{name}") for name in folders)
