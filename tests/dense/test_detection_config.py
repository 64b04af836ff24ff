"""The shipped detection configs: the published values, and every field does something."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.checkpoints import IMAGENET, ensure_tiny
from benchmarks.data import coco
from benchmarks.dense.detection import DetectionPlan, rate_schedule
from benchmarks.dense.detection import plan as make_plan
from benchmarks.dense.detection_data import OrientationSampler, iterations_an_epoch, train_pipeline
from benchmarks.dense.detection_model import pyramid_strides
from benchmarks.dense.detection_protocol import DetectionFields
from benchmarks.engine.protocol import load_protocol
from benchmarks.errors import DataError, OptionError
from benchmarks.run import Job
from benchmarks.suite import get
from tests.dense.coco_world import annotation, instances, job, picture, some_instances, write_root

CPU = torch.device("cpu")
CASCADE, CASCADE_3X = "detection/coco_cascade", "detection/coco_cascade_3x"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("coco"), some_instances())


def fields(name: str = CASCADE, quick: bool = False, **overrides: Any) -> DetectionFields:
    options = [f"{key.replace('__', '.')}={value!r}" for key, value in overrides.items()]
    return load_protocol(name, DetectionFields, quick, options)


PUBLISHED = {
    "dataset": "coco",
    "train_split": "train2017",
    "test_split": "val2017",
    "num_classes": 80,
    "smallest_side": 32,
    "group_by_orientation": True,
    "flip_probability": 0.5,
    "short_sides": [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800],
    "longest_side": 1333,
    "crop_probability": 0.5,
    "crop_short_sides": [400, 500, 600],
    "crop_range": [384, 600],
    "crops_without_boxes": True,
    "pad_multiple": 32,
    "test_scale": [1333, 800],
    "position_size": [672, 1092],
    "drop_path_rate": 0.2,
    "norm_layer": "SyncBN",
    "fpn_channels": 256,
    "fpn_levels": 5,
    "anchor_scale": 8.0,
    "anchor_ratios": [0.5, 1.0, 2.0],
    "rpn_channels": 256,
    "rpn_stds": [1.0, 1.0, 1.0, 1.0],
    "rpn_positive_iou": 0.7,
    "rpn_negative_iou": 0.3,
    "rpn_best_anchor_iou": 0.3,
    "rpn_allowed_border": 0,
    "rpn_samples": 256,
    "rpn_positive_share": 0.5,
    "rpn_box_beta": 1 / 9,
    "rpn_nms_iou": 0.7,
    "rpn_before_nms_training": 2000,
    "rpn_after_nms_training": 2000,
    "rpn_before_nms_test": 1000,
    "rpn_after_nms_test": 1000,
    "stage_weights": [1.0, 0.5, 0.25],
    "stage_ious": [0.5, 0.6, 0.7],
    "stage_stds": [[0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067]],
    "roi_samples": 512,
    "roi_positive_share": 0.25,
    "roi_add_truth": True,
    "box_roi_size": 7,
    "box_convs": 4,
    "box_channels": 256,
    "box_fc_channels": 1024,
    "class_agnostic_boxes": False,
    "box_loss": "giou",
    "box_loss_weight": 10.0,
    "mask_roi_size": 14,
    "mask_convs": 4,
    "mask_channels": 256,
    "score_threshold": 0.05,
    "nms_iou": 0.5,
    "max_per_image": 100,
    "mask_threshold": 0.5,
    "lr": 1e-4,
    "betas": [0.9, 0.999],
    "weight_decay": 0.05,
    "decay_biases_and_norms": False,
    "exempt_pos_cls": False,
    "layer_decay": 0.75,
    "batch_size": 16,
    "base_batch_size": 16,
    "scale_lr": "none",
    "epochs": 12,
    "drop_epochs": [8, 11],
    "drop_factor": 0.1,
    "iterations": None,
    "warmup_iterations": 500,
    "warmup_ratio": 1e-3,
    "precision": "fp16",
}


def test_every_published_value() -> None:
    """The numbers that decide Table 1's COCO columns, as published with iBOT (docs/methodology.md)."""
    protocol = fields()
    assert protocol.protocol() == PUBLISHED
    assert fields(CASCADE_3X).protocol() == {**PUBLISHED, "epochs": 36, "drop_epochs": [27, 33]}
    assert protocol.backbone.model_dump() == {
        "norm_on_taps": False,
        "force_imagenet_norm": False,
        "position_offset": 0.1,
    }
    assert protocol.execution.checkpoint_blocks


def test_model_protocol_tells_how_the_tower_is_read(root: Path) -> None:
    told = make_plan(job(root, quick=False)).model_protocol
    assert told["position_table"] == "14x14 to 42x68"
    assert told["strides"] == [4, 8, 16, 32, 64]
    assert (told["norm_on_taps"], told["tower"]) == (False, "online")


@pytest.mark.parametrize("iteration", [0, 1, 4, 9, 10, 79, 80, 81, 109, 110, 119])
def test_schedule_is_the_published_formula(iteration: int) -> None:
    """Rate lr · 0.1^(drops passed), times 1 - (1 - i/W)(1 - ratio) while i < W (MMCV 1's rule); 10 its an epoch."""
    from mmengine.registry import PARAM_SCHEDULERS

    protocol = fields(warmup_iterations=10, warmup_ratio=1e-3, lr=0.5)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=protocol.lr)
    schedulers = [
        PARAM_SCHEDULERS.build(config, default_args={"optimizer": optimiser}) for config in rate_schedule(protocol, 120)
    ]
    for _ in range(iteration):
        optimiser.step()
        for scheduler in schedulers:
            scheduler.step()
    expected = 0.5 * 0.1 ** ((iteration >= 80) + (iteration >= 110))
    if iteration < 10:
        expected *= 1 - (1 - iteration / 10) * (1 - 1e-3)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-9)


def shapes(wide: int, tall: int) -> list[coco.Picture]:
    sizes = [(64, 48)] * wide + [(48, 64)] * tall
    return [coco.Picture(number, f"{number}.jpg", *size, 1, 1) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("wide", "tall", "grouped", "single"),
    [(16, 16, 2, 2), (17, 1, 3, 2), (5, 0, 1, 1), (87_000, 30_266, 7330, 7330)],
)
def test_iterations_of_an_epoch(wide: int, tall: int, grouped: int, single: int) -> None:
    """MMDetection's logs say 7,330 iterations for 117,266 pictures in batches of 16."""
    assert iterations_an_epoch(fields(), shapes(wide, tall)) == grouped
    assert iterations_an_epoch(fields(group_by_orientation=False), shapes(wide, tall)) == single


def test_iterations_of_the_training(root: Path) -> None:
    """Three pictures are learnt from: two wide ones and a tall one make two batches an epoch."""
    whole = make_plan(job(root, quick=False))
    assert [picture.image_id for picture in whole.learnt] == [1, 2, 3]
    assert whole.iterations == 24
    assert make_plan(job(root, "iterations=7", quick=False)).iterations == 7


class Shapes:
    """As a ``SeededDataset`` of a ``CocoInstances`` is asked."""

    def __init__(self, pictures: Sequence[coco.Picture]) -> None:
        self.entries = [picture._asdict() for picture in pictures]
        self.dataset = self

    def get_data_info(self, index: int) -> dict[str, Any]:
        return self.entries[index]

    def __len__(self) -> int:
        return len(self.entries)


def stream(sampler: OrientationSampler, count: int) -> list[tuple[int, int]]:
    return [(key.epoch, key.index) for key in islice(sampler, count)]


def test_batches_have_one_orientation_and_every_picture_comes() -> None:
    data: Any = Shapes(shapes(9, 5))
    sampler = OrientationSampler(data, seed=1, together=4)
    assert sampler.size == 12 + 8
    keys = stream(sampler, 60)
    for start in range(0, 60, 4):
        assert len({index < 9 for _, index in keys[start : start + 4]}) == 1
    for epoch in range(3):
        its = [index for number, index in keys if number == epoch]
        assert len(its) == 20
        assert set(its) == set(range(14))
    assert keys[:20] != [(0, index) for _, index in keys[20:40]]


def test_stream_can_be_entered_anywhere() -> None:
    data: Any = Shapes(shapes(9, 5))
    whole = stream(OrientationSampler(data, seed=1, together=4), 50)
    for position in (4, 20, 36):
        later = OrientationSampler(data, seed=1, together=4)
        later.start_at(position)
        assert stream(later, 14) == whole[position : position + 14]
    assert stream(OrientationSampler(data, seed=2, together=4), 50) != whole


def test_one_orientation_alone_and_fewer_pictures_than_a_batch() -> None:
    data: Any = Shapes(shapes(0, 3))
    sampler = OrientationSampler(data, seed=0, together=8)
    assert sampler.size == 8
    assert {index for _, index in stream(sampler, 8)} == {0, 1, 2}


def test_training_pipeline_in_order() -> None:
    steps = train_pipeline(fields())
    assert [step["type"] for step in steps] == [
        "LoadImageFromFile", "LoadAnnotations", "RandomFlip", "RandomChoice", "PackDetInputs",
    ]  # fmt: skip
    plain, cropped = steps[3]["transforms"]
    assert [step["type"] for step in plain] == ["RandomChoiceResize"]
    assert [step["type"] for step in cropped] == ["RandomChoiceResize", "RandomCrop", "RandomChoiceResize"]
    assert steps[3]["prob"] == [0.5, 0.5]


def training_set(root: Path, tmp_path: Path, *overrides: str) -> Any:
    from mmdet.registry import DATASETS
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    config = make_plan(job(root, *overrides, quick=False)).config(tmp_path, tmp_path / "state")
    return DATASETS.build(config.train_dataloader.dataset.dataset)


@pytest.mark.parametrize("crop", [0.0, 1.0])
def test_augmented_pictures_are_as_large_as_told(root: Path, tmp_path: Path, crop: float) -> None:
    """Resized directly: a 4:3 picture at one of the short sides. Cropped first: between the crop's limits' ratios."""
    data = training_set(root, tmp_path, f"crop_probability={crop}", "short_sides=(96,120)", "crop_short_sides=(80,)",
                        "crop_range=(40,60)", "longest_side=150")  # fmt: skip
    np.random.seed(0)
    seen = {tuple(data[0]["inputs"].shape[1:]) for _ in range(20)}
    assert all(max(size) <= 150 for size in seen)
    if crop:
        assert len(seen) > 8, "the crop's sides are drawn"
    else:
        assert seen == {(96, 128), (113, 150)}, "the longest side is a limit"


def test_crowds_are_no_objects_and_boxes_are_corners(root: Path, tmp_path: Path) -> None:
    data = training_set(root, tmp_path, "crop_probability=0.0", "flip_probability=0.0", "short_sides=(48,)")
    sample = data[0]["data_samples"]
    assert sample.gt_instances.bboxes.tensor.tolist() == [[4, 4, 34, 24], [20, 10, 44, 40]]
    assert sample.gt_instances.labels.tolist() == [16, 0], "dog and person, counted from 0 without gaps"
    assert len(sample.ignored_instances.bboxes) == 1
    assert sample.gt_instances.masks.masks[0].sum() == 30 * 20
    alone = data[2]["data_samples"]
    assert (len(alone.gt_instances.bboxes), len(alone.ignored_instances.bboxes)) == (0, 1)


def test_objects_that_cannot_be_learnt_from_are_left_out(tmp_path: Path) -> None:
    """No area, a side below a pixel, or wholly outside; what reaches beyond the frame stays."""
    items = [annotation(number, 1, 1, (5, 5, 20, 20)) for number in range(1, 6)]
    items[1]["area"] = 0
    items[2]["bbox"] = [5, 5, 0.5, 20]
    items[3]["bbox"] = [70, 5, 10, 10]
    items[4]["bbox"] = [50, 5, 30, 10]
    root = write_root(tmp_path / "data", instances([picture(1)], items))
    data = training_set(root, tmp_path)
    assert [entry["bbox"] for entry in data.get_data_info(0)["instances"]] == [[5, 5, 25, 25], [50, 5, 80, 15]]


CHANGES = {
    "smallest_side": 49,
    "group_by_orientation": False,
    "flip_probability": 0.0,
    "short_sides": (480,),
    "longest_side": 1000,
    "crop_probability": 0.0,
    "crop_short_sides": (300,),
    "crop_range": (300, 500),
    "crops_without_boxes": False,
    "pad_multiple": 64,
    "test_scale": (1000, 600),
    "position_size": (224, 224),
    "drop_path_rate": 0.0,
    "norm_layer": "GN",
    "fpn_channels": 64,
    "fpn_levels": 4,
    "anchor_scale": 4,
    "anchor_ratios": (1.0,),
    "rpn_channels": 64,
    "rpn_stds": (0.1, 0.1, 0.2, 0.2),
    "rpn_positive_iou": 0.6,
    "rpn_negative_iou": 0.2,
    "rpn_best_anchor_iou": 0.2,
    "rpn_allowed_border": -1,
    "rpn_samples": 128,
    "rpn_positive_share": 0.25,
    "rpn_box_beta": 1.0,
    "rpn_nms_iou": 0.6,
    "rpn_before_nms_training": 1000,
    "rpn_after_nms_training": 1000,
    "rpn_before_nms_test": 500,
    "rpn_after_nms_test": 500,
    "stage_weights": (1.0, 1.0, 1.0),
    "stage_ious": (0.4, 0.5, 0.6),
    "stage_stds": ((0.1, 0.1, 0.2, 0.2),) * 3,
    "roi_samples": 256,
    "roi_positive_share": 0.5,
    "roi_add_truth": False,
    "box_roi_size": 5,
    "box_convs": 1,
    "box_channels": 64,
    "box_fc_channels": 64,
    "class_agnostic_boxes": True,
    "box_loss": "smooth_l1",
    "box_loss_weight": 1.0,
    "mask_roi_size": 7,
    "mask_convs": 1,
    "mask_channels": 64,
    "score_threshold": 0.1,
    "nms_iou": 0.6,
    "max_per_image": 50,
    "mask_threshold": 0.4,
    "lr": 1e-3,
    "betas": (0.9, 0.98),
    "weight_decay": 0.1,
    "decay_biases_and_norms": True,
    "exempt_pos_cls": True,
    "layer_decay": 0.9,
    "batch_size": 2,
    "epochs": 13,
    "drop_epochs": (9, 11),
    "drop_factor": 0.5,
    "iterations": 7,
    "warmup_iterations": 3,
    "warmup_ratio": 1e-2,
    "precision": "bf16",
    "backbone__norm_on_taps": True,
    "backbone__force_imagenet_norm": True,
    "backbone__position_offset": 0.0,
    "execution__workers": 1,
    "execution__checkpoint_blocks": False,
    "execution__accumulate": 2,
    "execution__state_interval": 3,
}
FIXED = {"dataset", "train_split", "test_split", "num_classes", "backbone", "execution"}
RATE = {"scale_lr", "base_batch_size"}  # act together and with batch_size: tests/engine/test_division.py


def built(root: Path, overrides: tuple[str, ...], tmp_path: Path) -> tuple[dict[str, Any], str]:
    """The complete MMEngine config, and the list of training pictures that it names."""
    config: dict[str, Any] = make_plan(job(root, *overrides, quick=False)).config(tmp_path, tmp_path).to_dict()
    return config, (tmp_path / "train2017.txt").read_text()


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_reaches_the_engine(
    field: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No field is read and then ignored. The tiny checkpoint's statistics are ImageNet's, so they are moved."""
    if field == "backbone__force_imagenet_norm":
        monkeypatch.setattr("benchmarks.dense.plan.IMAGENET", replace(IMAGENET, mean=(0.1, 0.1, 0.1)))
    if field == "smallest_side":  # the second picture is larger, so that one is left
        content = instances([picture(1), picture(2, 96, 96)], [annotation(i, i, 1, (4, 4, 30, 30)) for i in (1, 2)])
        root = write_root(tmp_path / "data", content)
    override = f"{field.replace('__', '.')}={CHANGES[field]!r}"
    assert built(root, (override,), tmp_path) != built(root, (), tmp_path)


def test_no_field_is_forgotten_above() -> None:
    sections = {name: DetectionFields.model_fields[name].annotation for name in ("backbone", "execution")}
    nested = {f"{name}__{field}" for name, kind in sections.items() for field in kind.model_fields}  # type: ignore[union-attr]
    assert (set(DetectionFields.model_fields) - FIXED - RATE) | nested == set(CHANGES)


def test_execution_is_not_part_of_the_fingerprint() -> None:
    assert fields(execution__workers=7).protocol() == fields().protocol()
    assert fields(backbone__norm_on_taps=True).protocol() == fields().protocol()
    assert fields(lr=1.0).protocol() != fields().protocol()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr=fast", "field lr"),
        ("no_such_field=1", "field no_such_field"),
        ("crop_range=(600,384)", "smaller value"),
        ("longest_side=700", "longest_side=700"),
        ("drop_epochs=(8,13)", "drop_epochs"),
        ("drop_epochs=(11,8)", "drop_epochs"),
        ("stage_ious=(0.5,0.6)", "field stage_ious"),
        ("short_sides=()", "field short_sides"),
        ("rpn_negative_iou=0.8", "rpn_negative_iou"),
        ("max_per_image=101", "field max_per_image"),
        ("fpn_levels=3", "field fpn_levels"),
        ("num_classes=81", "field num_classes"),
        ("iterations=0", "field iterations"),
        ("box_channels=100", None),
    ],
)
def test_bad_overrides_are_named(override: str, message: str | None) -> None:
    options = [override] if message else [override, "norm_layer=GN"]
    with pytest.raises(OptionError, match=message or "multiple of 32"):
        load_protocol(CASCADE, DetectionFields, overrides=options)


def test_sizes_must_fit_the_patches(root: Path) -> None:
    """A remainder would be cut off, and the coarser maps would not lie on each other."""
    for override, words in (("pad_multiple=16", "-o pad_multiple=32"), ("position_size=(8,224)", "patch of 16")):
        with pytest.raises(OptionError, match=words):
            make_plan(job(root, override))


@pytest.mark.parametrize(
    ("patch", "strides"), [(16, (4, 8, 16, 32, 64)), (14, (3.5, 7, 14, 28, 56)), (32, (8, 16, 32, 64, 128))]
)
def test_strides_follow_the_patch(patch: int, strides: tuple[float, ...]) -> None:
    assert pyramid_strides(patch) == strides


def test_limit_takes_the_first_pictures(root: Path, tmp_path: Path) -> None:
    limited = make_plan(replace(job(root), limit=2))
    assert limited.expected == 2
    assert (limited.official, limited.complete) == (5000, False)
    limited.config(tmp_path, tmp_path)
    assert (tmp_path / "val2017.txt").read_text() == "1\n2\n"
    for limit in (0, 5):
        with pytest.raises(OptionError, match="choose 1 to 4"):
            make_plan(replace(job(root), limit=limit))


def test_nothing_to_score_or_to_learn_is_an_error(tmp_path: Path) -> None:
    """AP without an object is no number; a crowd is none."""
    content = instances([picture(1), picture(2)], [annotation(1, 1, 1, (1, 1, 30, 30), crowd=True)])
    root = write_root(tmp_path / "data", content)
    with pytest.raises(OptionError, match="no object is annotated"):
        make_plan(job(root))
    write_root(root, instances([picture(1)], []))
    with pytest.raises(DataError, match="annotates none"):
        make_plan(job(root))


def test_a_whole_official_data_set_is_complete(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "OFFICIAL", {"train2017": 4, "val2017": 4})
    assert make_plan(job(root)).complete
    monkeypatch.setitem(coco.OFFICIAL, "train2017", 5)
    assert not make_plan(job(root)).complete


@pytest.mark.slow
@pytest.mark.parametrize("config", [CASCADE, CASCADE_3X])
def test_every_shipped_config_builds(config: str, root: Path, tmp_path: Path) -> None:
    """Model, loaders' data sets and hooks: all that a Runner builds before it trains, at full size but the tower."""
    from benchmarks.engine.runner import BenchRunner

    plan: DetectionPlan = make_plan(Job(replace(get("coco-cascade"), config=config), ensure_tiny(), root))
    runner = BenchRunner.from_config(plan.config(tmp_path, tmp_path / "state"), CPU)
    assert len(runner.test_dataloader.dataset) == 4
    assert len(runner.train_dataloader.dataset) == 3
    heads: Any = runner.model.roi_head
    assert [head.fc_cls.out_features for head in heads.bbox_head] == [81] * 3
    assert [head.fc_reg.out_features for head in heads.bbox_head] == [320] * 3
    assert [len(head.shared_convs) for head in heads.bbox_head] == [4] * 3
    assert len(heads.mask_head) == 3
