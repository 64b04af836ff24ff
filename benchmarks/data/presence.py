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


def anything_in(folder: Path) -> bool:
    """Whether a folder holds anything that is not hidden."""
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


_COCO_CAPTIONS = "annotations/dataset_coco.json|dataset_coco.json"

PRESENCE: Mapping[str, Presence] = {
    "imagenet": Presence(("val/n01440764",), {"val": 50_000}),
    "sun397": Presence(("SUN397/ClassName.txt", "SUN397/Testing_01.txt"), {"SUN397": 108_754}),
    "aircraft": Presence(("fgvc-aircraft-2013b/data/variants.txt",), {"fgvc-aircraft-2013b/data/images": 10_000}),
    "dtd": Presence(("dtd/labels/test1.txt|dtd/dtd/labels/test1.txt",), {"dtd/images|dtd/dtd/images": 5_640}),
    "pets": Presence(("oxford-iiit-pet/annotations/test.txt",), {"oxford-iiit-pet/images": 7_390}),
    "flowers": Presence(("flowers-102/setid.mat", "flowers-102/imagelabels.mat"), {"flowers-102/jpg": 8_189}),
    "gtsrb": Presence(("gtsrb/GT-final_test.csv",), {"gtsrb/GTSRB/Final_Test/Images": 12_630}),
    "mnist": Presence(("MNIST/raw/t10k-images*", "MNIST/raw/t10k-labels*")),
    "stl10": Presence(tuple(f"stl10_binary/{file}" for file in ("test_X.bin", "test_y.bin", "class_names.txt"))),
    "kitti": Presence(("Kitti/raw/training/label_2",), {"Kitti/raw/training/image_2": 7_481}),
    "country211": Presence((), {"country211/test": 21_100}),
    "pcam": Presence(tuple(f"pcam/camelyonpatch_level_2_split_valid_{part}.h5" for part in "xy")),
    "clevr": Presence(("clevr/CLEVR_v1.0/scenes/CLEVR_val_scenes.json",), {"clevr/CLEVR_v1.0/images/val": 15_000}),
    "sst2": Presence((), {"rendered-sst2/test": 1_821}),
    "food101": Presence(("food-101/meta/test.txt",), {"food-101/images": 101_000}),
    "cifar10": Presence(("cifar-10-batches-py/test_batch", "cifar-10-batches-py/batches.meta")),
    "cifar100": Presence(("cifar-100-python/test", "cifar-100-python/meta")),
    "cars": Presence(("stanford_cars/cars_test_annos_withlabels.mat",), {"stanford_cars/cars_test": 8_041}),
    "caltech101": Presence((), {"caltech101/101_ObjectCategories": 9_144}),
    "eurosat": Presence((), {"eurosat/2750": 27_000}),
    "fer2013": Presence(("fer2013/*.csv|fer2013/test",)),
    "flickr30k": Presence(("dataset_flickr30k.json",), {"images": 31_014}),
    "flickr8k": Presence(("dataset_flickr8k.json",), {"images": 8_000}),
    "coco": Presence(
        (_COCO_CAPTIONS,),
        {"val2014": 40_504},
        instead=Presence((_COCO_CAPTIONS,), {"val2017": 5_000, "train2017": 118_287}),
    ),
}
"""For the data sets of the suite; one without an entry here is ``there`` as soon as its folder holds anything."""


def state_of(data_root: Path, name: str) -> str:
    """How much of a data set is beneath the data root (see ``Presence.state``)."""
    if name in PRESENCE:
        return PRESENCE[name].state(data_root, name)
    if not anything_in(data_root / name):
        return ABSENT
    return SAMPLE if is_sample(data_root) else "there"
