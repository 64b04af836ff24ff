"""COCO's pictures for MMDetection: the verified ones, augmented, in batches of one orientation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import BaseDataset
from mmengine.registry import DATA_SAMPLERS, DATASETS

from benchmarks.data import coco
from benchmarks.dense.common import division_of
from benchmarks.dense.detection_protocol import DetectionFields
from benchmarks.engine.randomness import Purpose, derived_seed
from benchmarks.engine.sampling import EndlessShuffleSampler, SeededDataset
from benchmarks.files import write_text


@DATASETS.register_module()
class CocoInstances(BaseDataset):  # type: ignore[misc, unused-ignore]
    """Pictures of one split with their objects, in the form of MMDetection's data sets.

    An object whose mask has no area, with a side below a pixel or wholly outside of the picture is left out. Crowds
    are kept and marked: they are neither objects nor background's exceptions in training.

    Args:
        ann_file: COCO's annotation file.
        numbers: a file with the number of each picture to read, one a line; none else is, and their order is kept.
        **kwargs: of MMEngine's ``BaseDataset``.
    """

    METAINFO = {"classes": tuple(coco.CATEGORIES.values())}  # noqa: RUF012 (MMEngine's way)

    def __init__(self, ann_file: str, numbers: str, **kwargs: Any) -> None:
        self.numbers = Path(numbers)
        super().__init__(ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry a picture."""
        wanted = [int(line) for line in self.numbers.read_text(encoding="ascii").split()]
        truth = coco.truth_of(Path(self.ann_file), wanted)
        labels = {number: label for label, number in enumerate(coco.CATEGORIES)}
        images = {image["id"]: image for image in truth["images"]}
        objects: dict[int, list[dict[str, Any]]] = {number: [] for number in wanted}
        for item in truth["annotations"]:
            if _is_object(item, images[item["image_id"]]):
                objects[item["image_id"]].append(_as_object(item, labels))
        folder = Path(self.data_prefix["img_path"])
        return [
            {
                "img_id": number,
                "img_path": str(folder / images[number]["file_name"]),
                "height": images[number]["height"],
                "width": images[number]["width"],
                "instances": objects[number],
            }
            for number in wanted
        ]


def _is_object(item: coco.Annotation, image: coco.Listed) -> bool:
    """Whether an annotation can be learnt from."""
    left, top, width, height = item["bbox"]
    inside = left < image["width"] and top < image["height"] and left + width > 0 and top + height > 0
    return inside and item["area"] > 0 and min(width, height) >= 1


def _as_object(item: coco.Annotation, labels: dict[int, int]) -> dict[str, Any]:
    """An annotation in MMDetection's form."""
    left, top, width, height = item["bbox"]
    return {
        "bbox": [left, top, left + width, top + height],
        "bbox_label": labels[item["category_id"]],
        "mask": item["segmentation"],
        "ignore_flag": item.get("iscrowd", 0),
    }


@DATA_SAMPLERS.register_module()
class OrientationSampler(EndlessShuffleSampler):
    """An ``EndlessShuffleSampler`` in which ``together`` samples in a row have one orientation.

    Each epoch both orientations are shuffled, filled up to a multiple of ``together`` from their own beginning, cut
    into pieces of that size, and the pieces are shuffled (MMDetection 2's ``DistributedGroupSampler``, whose pieces
    were a process's batch instead of all processes'). The stream's position p still tells epoch and place.

    Args:
        dataset: a ``SeededDataset`` of a ``CocoInstances``.
        seed: the run's seed.
        together: the size of a batch over all processes.
    """

    def __init__(self, dataset: SeededDataset, seed: int, together: int) -> None:
        super().__init__(dataset, seed)
        entries = [dataset.dataset.get_data_info(index) for index in range(len(dataset))]
        wide = torch.tensor([entry["width"] > entry["height"] for entry in entries])
        self.groups = [group for group in (wide.nonzero()[:, 0], (~wide).nonzero()[:, 0]) if len(group)]
        self.together = together
        self.size = samples_an_epoch([len(group) for group in self.groups], together)

    def _permutation(self, epoch: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(derived_seed(Purpose.ORDER, self.seed, epoch))
        pieces = torch.cat([self._pieces(group, generator) for group in self.groups])
        return pieces[torch.randperm(len(pieces), generator=generator)].flatten()

    def _pieces(self, group: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(pieces, together) indices of one orientation, shuffled."""
        shuffled = group[torch.randperm(len(group), generator=generator)]
        wanted = samples_an_epoch([len(group)], self.together)
        return shuffled.repeat(-(-wanted // len(group)))[:wanted].view(-1, self.together)


def samples_an_epoch(groups: Sequence[int], together: int) -> int:
    """Samples of an epoch when each of the groups is filled up to a multiple of ``together``."""
    return sum(-(-size // together) * together for size in groups)


def iterations_an_epoch(fields: DetectionFields, pictures: Sequence[coco.Picture]) -> int:
    """Iterations in which every picture is seen once: the batches of both orientations, the last ones filled up."""
    wide = sum(picture.width > picture.height for picture in pictures)
    groups = [wide, len(pictures) - wide] if fields.group_by_orientation else [len(pictures)]
    return samples_an_epoch(groups, fields.batch_size) // fields.batch_size


def _dataset(
    split: coco.Split, pictures: Sequence[coco.Picture], pipeline: list[dict[str, Any]], lists: Path
) -> dict[str, Any]:
    """The reader of some pictures of a verified split; their numbers go into a file in the folder ``lists``."""
    numbers = lists / f"{split.name}.txt"
    write_text(numbers, "".join(f"{picture.image_id}\n" for picture in pictures))
    return {
        "type": "CocoInstances",
        "ann_file": str(split.annotation_file.resolve()),
        "numbers": str(numbers.resolve()),
        "data_prefix": {"img_path": str(split.picture_folder.resolve())},
        "pipeline": pipeline,
    }


def _resize(fields: DetectionFields, short_sides: Sequence[int]) -> dict[str, Any]:
    """The short side becomes one of these, the aspect ratio is kept, the long side stays within its limit."""
    scales = [(fields.longest_side, side) for side in short_sides]
    return {"type": "RandomChoiceResize", "scales": scales, "keep_ratio": True}


def train_pipeline(fields: DetectionFields) -> list[dict[str, Any]]:
    """Loading and augmentation, in order."""
    crop = {
        "type": "RandomCrop",
        "crop_type": "absolute_range",
        "crop_size": fields.crop_range,
        "allow_negative_crop": fields.crops_without_boxes,
    }
    branches = [
        [_resize(fields, fields.short_sides)],
        [_resize(fields, fields.crop_short_sides), crop, _resize(fields, fields.short_sides)],
    ]
    return [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True},
        {"type": "RandomFlip", "prob": fields.flip_probability},
        {
            "type": "RandomChoice",
            "transforms": branches,
            "prob": [1 - fields.crop_probability, fields.crop_probability],
        },
        {"type": "PackDetInputs"},
    ]


def train_loader(
    fields: DetectionFields, split: coco.Split, pictures: Sequence[coco.Picture], seed: int, lists: Path
) -> dict[str, Any]:
    """The augmented, endlessly shuffled training pictures."""
    grouped = {"type": "OrientationSampler", "together": fields.batch_size}
    return {
        "dataset": {
            "type": "SeededDataset",
            "dataset": _dataset(split, pictures, train_pipeline(fields), lists),
            "seed": seed,
        },
        "sampler": grouped if fields.group_by_orientation else {"type": "EndlessShuffleSampler"},
        "batch_size": division_of(fields).part,
        "num_workers": fields.execution.workers,
        "persistent_workers": fields.execution.workers > 0,
        "drop_last": True,
        "collate_fn": {"type": "pseudo_collate"},
    }


def test_loader(fields: DetectionFields, split: coco.Split, count: int, lists: Path) -> dict[str, Any]:
    """The first ``count`` pictures of a split, one by one, at test scale."""
    pipeline: list[dict[str, Any]] = [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": fields.test_scale, "keep_ratio": True},
        {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
    ]
    return {
        "dataset": {**_dataset(split, split.pictures[:count], pipeline, lists), "test_mode": True},
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "batch_size": 1,
        "num_workers": fields.execution.workers,
        "persistent_workers": False,
    }
