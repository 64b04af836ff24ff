"""COCO's object instances of 2017: boxes, masks and 80 categories on 118,287 + 5,000 pictures.

Annotations are one JSON file a split. A mask is a list of polygons, or a run-length code where the annotation stands
for a crowd of objects.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

from typing_extensions import TypedDict

from benchmarks.data.annotations import read_annotations
from benchmarks.data.presence import Presence
from benchmarks.data.root import is_sample, require_root
from benchmarks.data.verify import Item, Progress, Verified, verify
from benchmarks.download import Download
from benchmarks.errors import DataError
from benchmarks.files import sha256_of

SplitName = Literal["train2017", "val2017"]

FOLDER = "coco"
OFFICIAL: dict[SplitName, int] = {"train2017": 118_287, "val2017": 5_000}
"""Pictures in each split as published."""

CATEGORIES: dict[int, str] = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train", 8: "truck", 9: "boat",
    10: "traffic light", 11: "fire hydrant", 13: "stop sign", 14: "parking meter", 15: "bench", 16: "bird", 17: "cat",
    18: "dog", 19: "horse", 20: "sheep", 21: "cow", 22: "elephant", 23: "bear", 24: "zebra", 25: "giraffe",
    27: "backpack", 28: "umbrella", 31: "handbag", 32: "tie", 33: "suitcase", 34: "frisbee", 35: "skis",
    36: "snowboard", 37: "sports ball", 38: "kite", 39: "baseball bat", 40: "baseball glove", 41: "skateboard",
    42: "surfboard", 43: "tennis racket", 44: "bottle", 46: "wine glass", 47: "cup", 48: "fork", 49: "knife",
    50: "spoon", 51: "bowl", 52: "banana", 53: "apple", 54: "sandwich", 55: "orange", 56: "broccoli", 57: "carrot",
    58: "hot dog", 59: "pizza", 60: "donut", 61: "cake", 62: "chair", 63: "couch", 64: "potted plant", 65: "bed",
    67: "dining table", 70: "toilet", 72: "tv", 73: "laptop", 74: "mouse", 75: "remote", 76: "keyboard",
    77: "cell phone", 78: "microwave", 79: "oven", 80: "toaster", 81: "sink", 82: "refrigerator", 84: "book",
    85: "clock", 86: "vase", 87: "scissors", 88: "teddy bear", 89: "hair drier", 90: "toothbrush",
}  # fmt: skip
"""The published numbers and names; class i of a detector is the i-th of them, from 0."""

_SITE = "http://images.cocodataset.org"

PICTURES = (
    Download(f"{_SITE}/zips/val2017.zip", "val2017.zip", md5="442b8da7639aecaf257c1dceb8ba8c80"),
    Download(f"{_SITE}/zips/train2017.zip", "train2017.zip", md5="cced6f7f71b7629ddf16f17bbcfab6b2"),
)
"""The archives of the pictures of 2017, 1 and 18 GB."""

DOWNLOADS = (
    Download(
        f"{_SITE}/annotations/annotations_trainval2017.zip",
        "annotations_trainval2017.zip",
        md5="f4bbac642086de4f52a3fdda2de5fa2c",
    ),
    *PICTURES,
)
"""All archives; each is unpacked in the data set's folder."""

PRESENCE = Presence(
    tuple(f"annotations/instances_{name}.json" for name in OFFICIAL), {str(name): OFFICIAL[name] for name in OFFICIAL}
)
"""What must lie in the data set's folder."""

_RULES = 1  # raise it when a check of pictures becomes stricter: everything is then read again
_MORE = "; put the original file in its place"


class Listed(TypedDict):
    """A picture as the annotation file lists it."""

    id: int
    file_name: str
    width: int
    height: int


class Annotation(TypedDict):
    """An object, or a crowd of them. ``bbox`` is left, top, width, height in pixels; ``area`` that of the mask."""

    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float
    iscrowd: NotRequired[Literal[0, 1]]
    segmentation: Any


class Category(TypedDict):
    """A class."""

    id: int
    name: str


class Instances(TypedDict):
    """What an annotation file holds, and what pycocotools takes as a data set."""

    images: list[Listed]
    annotations: list[Annotation]
    categories: list[Category]


class Picture(NamedTuple):
    """A picture of a split: how much is annotated on it, and how many of that are objects, not crowds."""

    image_id: int
    file_name: str
    width: int
    height: int
    annotations: int
    objects: int

    @property
    def sample_id(self) -> str:
        """The stem of the file's name (``000000000139``)."""
        return PurePosixPath(self.file_name).stem


@dataclass(frozen=True)
class Split:
    """A verified split.

    ``pictures`` are those that the annotation file lists and that are there, by their number, ``digests`` the sha256 of
    each. ``fingerprint`` is the
    sha256 over the annotation file and (number, sha256) of all pictures: the same wherever the folder lies.
    ``official`` is the published number of pictures. ``is_sample`` marks generated data.
    """

    name: SplitName
    folder: Path
    annotation_file: Path
    pictures: tuple[Picture, ...]
    digests: tuple[str, ...]
    official: int
    fingerprint: str
    is_sample: bool

    @property
    def count(self) -> int:
        """How many pictures are there."""
        return len(self.pictures)

    @property
    def picture_folder(self) -> Path:
        """Where the pictures lie."""
        return self.folder / self.name


def annotation_path(data_root: Path, name: SplitName) -> Path:
    """Where the annotations of a split lie."""
    return data_root / FOLDER / "annotations" / f"instances_{name}.json"


def load_split(data_root: Path, name: SplitName, progress: Progress | None = None) -> Split:
    """Find, verify and fingerprint one split.

    Pictures that the annotation file lists and that are not there are left out: the split then has fewer than its
    official number. The first call reads every picture; later ones only those that changed.

    Args:
        data_root: the folder that holds ``coco/``.
        name: ``train2017`` or ``val2017``.
        progress: called with (files done, files in all) while pictures are read.

    Raises:
        DataError: the folder, the annotation file or every picture is missing; the file is damaged, of another layout
            or contradicts itself; a picture cannot be decoded or has another size than the file says; or there are
            more pictures than were published.
    """
    require_root(data_root)
    path = annotation_path(data_root, name)
    if not path.is_file():
        raise DataError(
            f"{path}: COCO's instances are not there; beneath {data_root} unpack them as "
            f"{FOLDER}/{{train2017,val2017}} and {FOLDER}/annotations/instances_{{train,val}}2017.json "
            "(`bench data prepare coco-instances` tells how)"
        )
    instances = read_instances(path)
    folder = data_root / FOLDER
    pictures = _present(folder / name, path, instances)
    if len(pictures) > OFFICIAL[name]:
        raise DataError(f"{path}: lists {len(pictures):,} pictures, but {OFFICIAL[name]:,} are published{_MORE}")
    items = [Item(f"{name}/{picture.file_name}") for picture in pictures]
    known = list(verify(folder, items, f"coco-{name}-{_RULES}", progress).values())
    _require_sizes(folder / name, pictures, known)
    digests = tuple(verified.sha256 for verified in known)
    whole = hashlib.sha256(sha256_of(path).encode())
    for picture, digest in zip(pictures, digests, strict=True):
        whole.update(f"{picture.image_id} {digest}\n".encode())
    return Split(name, folder, path, pictures, digests, OFFICIAL[name], whole.hexdigest(), is_sample(data_root))


def trained_on(pictures: Iterable[Picture], smallest_side: int) -> tuple[Picture, ...]:
    """The pictures that a detector learns from: something is annotated on them, and no side is shorter than told.

    This is the count of MMDetection (117,266 of the official 118,287): a picture that shows but a crowd stays.
    """
    return tuple(
        picture for picture in pictures if picture.annotations and min(picture.width, picture.height) >= smallest_side
    )


def truth_of(path: Path, image_ids: Collection[int]) -> Instances:
    """The content of an annotation file, restricted to some pictures, whose order it keeps; all categories stay.

    Raises:
        DataError: as :func:`read_instances`.
    """
    instances, wanted = read_instances(path), frozenset(image_ids)
    return Instances(
        images=[image for image in instances["images"] if image["id"] in wanted],
        annotations=[item for item in instances["annotations"] if item["image_id"] in wanted],
        categories=instances["categories"],
    )


def read_instances(path: Path) -> Instances:
    """A whole annotation file, checked: numbers are unique, and what they name exists.

    Raises:
        DataError: no such file, no JSON, another layout, other categories than COCO's 80, a number that occurs twice,
            an annotation of an unknown picture or category, a mask that is none.
    """
    instances = _parse(path)
    categories = {category["id"]: category["name"] for category in instances["categories"]}
    if categories != CATEGORIES:
        odd = sorted(set(categories.items()) ^ set(CATEGORIES.items()))[0]
        raise DataError(f"{path}: its categories are not COCO's 80 (category {odd[0]} {odd[1]}){_MORE}")
    images = _by_number(path, "picture", instances["images"])
    for item in _by_number(path, "annotation", instances["annotations"]).values():
        reason = _defect(item, images.get(item["image_id"]))
        if reason:
            raise DataError(f"{path}: annotation {item['id']} {reason}{_MORE}")
    return instances


def _by_number(path: Path, kind: str, entries: Iterable[Any]) -> dict[int, Any]:
    """Entries by their number, which must be unique."""
    found: dict[int, Any] = {}
    for entry in entries:
        if entry["id"] in found:
            raise DataError(f"{path}: lists {kind} {entry['id']} twice{_MORE}")
        found[entry["id"]] = entry
    return found


def _defect(item: Annotation, image: Listed | None) -> str | None:
    """What makes an annotation unusable."""
    if image is None:
        return f"is of picture {item['image_id']}, which the file does not list"
    if item["category_id"] not in CATEGORIES:
        return f"is of category {item['category_id']}, which COCO does not have"
    if len(item["bbox"]) != 4:
        return "has a box that is not left, top, width, height"
    mask = item["segmentation"]
    if isinstance(mask, dict):
        fits = mask.get("size") == [image["height"], image["width"]] and isinstance(mask.get("counts"), list | str)
        return None if fits else "has a run-length mask of another size than its picture"
    polygons = isinstance(mask, list) and mask and all(isinstance(part, list) for part in mask)
    if not polygons or any(len(part) < 6 or len(part) % 2 for part in mask):
        return "has a mask that is neither polygons of three points or more nor a run-length code"
    return None


def _present(folder: Path, path: Path, instances: Instances) -> tuple[Picture, ...]:
    """The listed pictures whose files are there, by number."""
    there = _names(folder)
    annotations = Counter(item["image_id"] for item in instances["annotations"])
    crowds = Counter(item["image_id"] for item in instances["annotations"] if item.get("iscrowd", 0))
    listed = sorted(instances["images"], key=lambda image: image["id"])
    pictures = tuple(
        Picture(
            image_id=image["id"],
            file_name=image["file_name"],
            width=image["width"],
            height=image["height"],
            annotations=annotations[image["id"]],
            objects=annotations[image["id"]] - crowds[image["id"]],
        )
        for image in listed
        if image["file_name"] in there
    )
    if not pictures:
        example = f" ({listed[0]['file_name']}, for example)" if listed else ""
        raise DataError(
            f"{folder}: none of the pictures that {path.name} lists{example} is there; unpack {folder.name}.zip"
        )
    if len({picture.sample_id for picture in pictures}) < len(pictures):
        raise DataError(f"{path}: two pictures have the same file name{_MORE}")
    return pictures


def _names(folder: Path) -> frozenset[str]:
    """The names in a folder: it is read once, for 118,287 looks at files are slow on network drives."""
    return frozenset(os.listdir(folder)) if folder.is_dir() else frozenset()  # noqa: PTH208 - strings are enough


def _require_sizes(folder: Path, pictures: Iterable[Picture], known: Iterable[Verified]) -> None:
    """Raise if a picture, upright, has another size than its annotations mean."""
    for picture, file in zip(pictures, known, strict=True):
        if (picture.width, picture.height) != (file.width, file.height):
            raise DataError(
                f"{folder / picture.file_name}: is {file.width}×{file.height} pixels, but its annotations mean "
                f"{picture.width}×{picture.height}{_MORE}"
            )


def _parse(path: Path) -> Instances:
    """The file's content, its layout checked; what COCO has beside it (licences, addresses) is passed over."""
    from pydantic import FailFast, TypeAdapter

    class File(TypedDict):
        images: Annotated[list[Listed], FailFast()]
        annotations: Annotated[list[Annotation], FailFast()]
        categories: Annotated[list[Category], FailFast()]

    name, remedy = "the layout of COCO's instances", "get instances_{train,val}2017.json"
    parsed: Instances = read_annotations(path, TypeAdapter(File), name, remedy)
    return parsed
