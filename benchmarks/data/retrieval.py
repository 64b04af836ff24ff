"""The retrieval sets: pictures with several captions each, in Karpathy's test splits."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from benchmarks.data.classification.listing import entries
from benchmarks.data.coco import PICTURES
from benchmarks.data.images import Images, verified_files
from benchmarks.data.karpathy import DescribedImage, read_karpathy, require_captions
from benchmarks.data.presence import Presence
from benchmarks.data.root import is_sample, require_root
from benchmarks.data.verify import Progress
from benchmarks.download import Download
from benchmarks.errors import DataError

SPLIT = "test"
"""The split of Karpathy's files that is scored."""

_CAPTIONS = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
_COCO_2014 = re.compile(r"COCO_(?:train|val)2014_(\d{12}\.jpg)")


@dataclass(frozen=True)
class RetrievalDataSet:
    """One data set: the whole of what the rest of the project knows about it.

    Attributes:
        name: as in the benchmark's id, and the name of its folder beneath the data root.
        title: for people.
        official: published number of pictures in the test split.
        captions: published number of captions in the test split.
        annotations: Karpathy's file, its path beneath the data set's folder.
        places: where the picture that the file calls so may lie beneath the data set's folder.
        layout: what must lie beneath ``<data root>/<name>``, in one line.
        presence: the same for a listing.
        homepage: where the data set comes from.
        licence: what its owners say about use.
        downloads: files that may be fetched. Each is put where its ``filename`` says, a path beneath the data set's
            folder, and an archive is unpacked in the folder in which it then lies.
        by_hand: how to get what cannot be downloaded; empty if all can.
        further: files that may be fetched when they are named: other parts of the data set.
        note: what is done where publications differ.
    """

    name: str
    title: str
    official: int
    captions: int
    annotations: str
    places: Callable[[str], tuple[str, ...]]
    layout: str
    presence: Presence
    homepage: str
    licence: str
    downloads: tuple[Download, ...]
    by_hand: str
    further: tuple[Download, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class RetrievalSplit:
    """A verified split.

    Attributes:
        dataset: name of the data set.
        split: name of the split.
        images: N pictures in the order of Karpathy's file; a picture is called as in that file, without the suffix.
        captions: all captions of each picture, none of them blank; COCO has up to six.
        official: published number of pictures; of a generated sample the number that was generated.
        official_captions: the same of captions.
        is_sample: whether the pictures are generated.
    """

    dataset: str
    split: str
    images: Images
    captions: tuple[tuple[str, ...], ...]
    official: int
    official_captions: int
    is_sample: bool

    @property
    def complete(self) -> bool:
        """Whether no picture and no caption of the split is missing."""
        captions = sum(len(own) for own in self.captions)
        return (len(self.images), captions) == (self.official, self.official_captions)


def load_split(data_root: Path, dataset: str, progress: Progress | None = None) -> RetrievalSplit:
    """Find, verify and describe the test split.

    Pictures that Karpathy's file lists and that are not there are left out together with their captions: the split
    is then not complete. The first call reads every picture; later ones only those that changed.

    Args:
        data_root: the folder that holds ``<dataset>/``.
        dataset: a key of :data:`RETRIEVAL`.
        progress: called with (files done, files in all) while files are read.

    Raises:
        DataError: the folder, Karpathy's file or every picture is missing, the file is damaged, has no test split,
            lists a picture twice or more pictures than were published, lacks a caption or has an empty one, or a
            picture cannot be decoded.
    """
    require_root(data_root)
    declared = RETRIEVAL[dataset]
    folder = data_root / declared.name
    path = annotation_file(folder, declared)
    described = read_karpathy(path, (SPLIT,))
    require_captions(path, described)
    _require_distinct(path, described)
    sample = is_sample(data_root)
    if len(described) > declared.official and not sample:
        raise DataError(
            f"{path}: lists {len(described):,} pictures of the test split, but {declared.official:,} are published; "
            "get the original file"
        )
    found = _locate(folder, declared, described)
    images = verified_files(
        folder,
        list(found.values()),
        f"{declared.name}-{SPLIT}",
        progress,
        sample_ids=[_sample_id(image) for image in found],
    )
    captions = tuple(image.captions for image in found)
    published = (declared.official, declared.captions)
    official = (len(described), sum(len(image.captions) for image in described)) if sample else published
    return RetrievalSplit(declared.name, SPLIT, images, captions, *official, is_sample=sample)


def annotation_file(folder: Path, declared: RetrievalDataSet) -> Path:
    """Karpathy's file in the data set's folder.

    Raises:
        DataError: it is not there.
    """
    path = folder / declared.annotations
    if not path.is_file():
        raise DataError(
            f"{path}: Karpathy's captions are not there; `bench data prepare {declared.name}` fetches them, or take "
            f"{path.name} out of {_CAPTIONS}"
        )
    return path


def _sample_id(image: DescribedImage) -> str:
    """The picture's own name: the same whichever of its places it lies at."""
    return PurePosixPath(image.path).stem


def _require_distinct(path: Path, described: Iterable[DescribedImage]) -> None:
    """Raise if two entries are called alike: a sample id must stand for one picture."""
    seen: set[str] = set()
    for image in described:
        name = _sample_id(image)
        if name in seen:
            raise DataError(f"{path}: lists {image.path} twice; get the original file")
        seen.add(name)


def _locate(folder: Path, declared: RetrievalDataSet, described: Sequence[DescribedImage]) -> dict[DescribedImage, str]:
    """The path of each picture that is there, in the order of the file."""
    names: dict[str, set[str]] = {}

    def is_there(path: str) -> bool:
        parent, _, name = path.rpartition("/")
        if parent not in names:  # each folder is read once, for 15,000 looks at files are slow on network drives
            names[parent] = entries(folder / parent) if (folder / parent).is_dir() else set()
        return name in names[parent]

    found = {}
    for image in described:
        there = next(filter(is_there, declared.places(image.path)), None)
        if there is not None:
            found[image] = there
    if not found:
        wanted = " or ".join(str(folder / place) for place in declared.places(described[0].path))
        raise DataError(
            f"{wanted}: none of the pictures that Karpathy's file lists is there; "
            f"`bench data prepare {declared.name}` tells how to get them"
        )
    return found


def _in_images(path: str) -> tuple[str, ...]:
    """Where Flickr's pictures lie."""
    return (f"images/{path}",)


def _in_coco(path: str) -> tuple[str, ...]:
    """Where COCO's pictures lie: those of 2014 were published again in 2017, sorted and named anew, but unchanged."""
    renamed = _COCO_2014.fullmatch(path.rpartition("/")[2])
    return (path, f"val2017/{renamed[1]}", f"train2017/{renamed[1]}") if renamed else (path,)


_DECLARED = (
    RetrievalDataSet(
        name="flickr30k",
        title="Flickr30k, Karpathy's test split: 1,000 pictures, 5 captions each",
        official=1_000,
        captions=5_000,
        annotations="dataset_flickr30k.json",
        places=_in_images,
        layout="images/<number>.jpg and dataset_flickr30k.json",
        presence=Presence(("dataset_flickr30k.json",), {"images": 31_014}),
        homepage="https://shannon.cs.illinois.edu/DenotationGraph/",
        licence="pictures belong to their Flickr authors: research and education only, by the form's terms",
        downloads=(Download(_CAPTIONS, "caption_datasets.zip"),),
        by_hand=(
            "ask for the pictures with the form at https://shannon.cs.illinois.edu/DenotationGraph/ and unpack "
            "flickr30k-images.tar.gz so that they lie in flickr30k/images"
        ),
        note="the test list of Flickr30k Entities holds other 1,000 pictures; Karpathy's is the one that is reported",
    ),
    RetrievalDataSet(
        name="flickr8k",
        title="Flickr8k, Karpathy's test split: 1,000 pictures, 5 captions each",
        official=1_000,
        captions=5_000,
        annotations="dataset_flickr8k.json",
        places=_in_images,
        layout="images/<name>.jpg and dataset_flickr8k.json",
        presence=Presence(("dataset_flickr8k.json",), {"images": 8_000}),
        homepage="https://hockenmaier.cs.illinois.edu/8k-pictures.html",
        licence="pictures belong to their Flickr authors: research and education only, by the form's terms",
        downloads=(Download(_CAPTIONS, "caption_datasets.zip"),),
        by_hand=(
            "ask for the pictures with the form that https://hockenmaier.cs.illinois.edu/8k-pictures.html links to and "
            "unpack Flickr8k_Dataset.zip so that they lie in flickr8k/images"
        ),
    ),
    RetrievalDataSet(
        name="coco",
        title="COCO captions, Karpathy's test split: 5,000 pictures, 25,010 captions",
        official=5_000,
        captions=25_010,
        annotations="annotations/dataset_coco.json",
        places=_in_coco,
        layout="val2014/COCO_val2014_<number>.jpg (or val2017/ and train2017/) and annotations/dataset_coco.json",
        presence=Presence(
            ("annotations/dataset_coco.json",),
            {"val2014": 40_504},
            instead=Presence(("annotations/dataset_coco.json",), {"val2017": 5_000, "train2017": 118_287}),
        ),
        homepage="https://cocodataset.org",
        licence="captions CC BY 4.0; pictures belong to their Flickr authors, each under its own licence",
        downloads=(
            Download(_CAPTIONS, "annotations/caption_datasets.zip"),
            Download(
                "http://images.cocodataset.org/zips/val2014.zip", "val2014.zip", md5="a3d79f5ed8d289b7a7554ce06a5782b3"
            ),
        ),
        further=PICTURES,
        by_hand="",
        note="a picture of val2014 is also found under its name of 2017 in val2017 and train2017",
    ),
)

RETRIEVAL: Mapping[str, RetrievalDataSet] = {declared.name: declared for declared in _DECLARED}
"""The retrieval sets by name."""
