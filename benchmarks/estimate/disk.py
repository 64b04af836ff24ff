"""How large the data sets are, as published, and what a run writes."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.estimate.result import Place
from benchmarks.suite import Benchmark

_TFDS = "lengths of the archives as recorded by TensorFlow Datasets (url_checksums)"
_ABOUT = "about; no published length is known to us"
_PICTURE = 400_000  # bytes of a saved PNG beside its original
_SMALL_PICTURE = 150_000  # of one of at most 288 pixels a side
_ANSWERS = 5  # beside a query


@dataclass(frozen=True)
class Archives:
    """What must be fetched for a benchmark.

    Attributes:
        download: bytes of the archives that hold what it needs.
        unpacked: bytes once unpacked: about the same where the archive holds JPEG files, which do not shrink.
        source: of the first number.
    """

    download: int
    unpacked: int
    source: str = _TFDS


def _pictures(download: int, source: str = _TFDS) -> Archives:
    """Archives of compressed pictures, which are as large unpacked."""
    return Archives(download, download, source)


ARCHIVES: Mapping[str, Archives] = {
    "ade20k": _pictures(967_382_037),
    "coco-instances": _pictures(19_336_861_798 + 815_585_330 + 252_907_541),
    "coco": _pictures(6_645_013_297 + 36_000_000),
    "flickr30k": _pictures(4_400_000_000, _ABOUT),
    "flickr8k": _pictures(1_120_000_000, _ABOUT),
    "imagenet": _pictures(6_744_924_160),
    "sun397": _pictures(39_077_296_924 + 18_293_705),
    "aircraft": _pictures(2_770_575_360),
    "dtd": _pictures(625_239_812),
    "pets": _pictures(791_918_971 + 19_173_078),
    "flowers": _pictures(344_862_509),
    "gtsrb": Archives(89_000_000, 89_000_000, _ABOUT),
    "mnist": Archives(1_648_877 + 4_542, 10_000 * (28 * 28 + 1)),
    "stl10": Archives(2_640_397_119, 113_000 * 96 * 96 * 3),
    "kitti": _pictures(12_569_945_557 + 5_601_213),
    "country211": _pictures(11_400_000_000, _ABOUT),
    "pcam": Archives(805_965_320 + 3_038, 32_768 * 96 * 96 * 3),
    "clevr": _pictures(19_021_600_724),
    "sst2": _pictures(130_000_000, _ABOUT),
    "food101": _pictures(4_996_278_331),
    "cifar10": Archives(170_500_000, 60_000 * (32 * 32 * 3 + 1), _ABOUT),
    "cifar100": Archives(169_000_000, 60_000 * (32 * 32 * 3 + 2), _ABOUT),
    "cars": _pictures(977_350_468 + 330_960 + 185_758),
    "caltech101": _pictures(137_400_000, _ABOUT),
    "eurosat": _pictures(94_280_567),
    "fer2013": Archives(97_000_000, 302_000_000, _ABOUT),
}
"""By the name of the data set in the suite. GTSRB, CIFAR and the like are small, whatever their exact length."""


def data_places(benchmark: Benchmark) -> list[Place]:
    """The archive and what is unpacked from it; both are there while it is unpacked."""
    archives = ARCHIVES[benchmark.dataset]
    return [
        Place("data, archives", archives.download, f"may go once unpacked; {archives.source}"),
        Place("data, unpacked", archives.unpacked, f"DATA_ROOT/{benchmark.dataset.removesuffix('-instances')}"),
    ]


def training_places(weights: int, trained: int, tower: int, pictures: int, scored: int) -> list[Place]:
    """What a dense run writes.

    Args:
        weights: parameters of the model.
        trained: those that have moments.
        tower: parameters of the tower.
        pictures: how many are saved.
        scored: bytes allowed for samples, detections and logs.
    """
    state = 4 * (weights + 2 * trained)
    return [
        Place("resume state", 2 * state, "weights and moments, old and new while one replaces the other; then removed"),
        Place("tower for the engine", 4 * tower, "beside the resume state, and removed with it"),
        Place("record, samples, logs", scored, "an allowance"),
        *([Place("pictures", pictures * _PICTURE, f"{pictures} of --pictures, an allowance")] if pictures else []),
    ]


def embedding_places(images: int, texts: int, joint: int, queries: int) -> list[Place]:
    """What a zero-shot run writes: float32 embeddings, kept for other runs of the same checkpoint.

    Args:
        images, texts: that are encoded.
        joint: dimensions of an embedding.
        queries: whose pictures are saved.
    """
    size, saved = 4 * joint * (images + texts), min(queries * (1 + _ANSWERS), images) * _SMALL_PICTURE
    return [
        Place("embeddings", 2 * size, "cache folder, parts and whole while they are joined; then half (`bench cache`)"),
        Place("record, samples", 5_000_000, "an allowance"),
        *([Place("pictures", saved, f"{queries} queries of --pictures and their answers, at most")] if queries else []),
    ]
