"""The shipped segmentation configs: the published values, and every field does something."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.checkpoints import IMAGENET, ImageTower, ensure_tiny, load_image_tower
from benchmarks.data.sample import generate
from benchmarks.dense.protocol import SegmentationFields
from benchmarks.dense.segmentation import model_config, schedule_config, train_loader
from benchmarks.dense.segmentation import plan as make_plan
from benchmarks.engine.protocol import load_protocol
from benchmarks.errors import OptionError
from benchmarks.run import Job
from benchmarks.suite import get

CPU = torch.device("cpu")
UPERNET = "segmentation/ade20k_upernet"
NAMES = ["ade20k-upernet", "ade20k-linear", "ade20k-linear-finetune"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes of the default sample, and little else of it."""
    folder = tmp_path_factory.mktemp("data") / "root"
    generate(folder, pairs=1, held_out=1, views=0, described=0, boxed=0)
    return folder


@pytest.fixture(scope="module")
def tower() -> ImageTower:
    return load_image_tower(ensure_tiny())


def fields(name: str = UPERNET, quick: bool = False, **overrides: Any) -> SegmentationFields:
    return load_protocol(
        name,
        SegmentationFields,
        quick,
        [f"{key.replace('__', '.')}={value!r}" for key, value in overrides.items()],
    )


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_config_builds(name: str, quick: bool, scenes: Path, tmp_path: Path) -> None:
    """Model, loaders' datasets and hooks: all that a Runner builds before it trains."""
    from benchmarks.engine.runner import BenchRunner

    job = Job(
        get(name),
        ensure_tiny(),
        scenes,
        quick=quick,
        overrides=("head_channels=16",) if "up" in name else (),
    )
    runner = BenchRunner.from_config(make_plan(job).config(tmp_path, tmp_path / "state"), CPU)
    assert len(runner.test_dataloader.dataset) == 24
    assert len(runner.train_dataloader.dataset) == 64
    inputs = torch.zeros(2, 3, 64, 64)
    with torch.no_grad():
        assert runner.model.eval()(inputs, mode="tensor").shape[:2] == (2, 150)


SHARED = {
    "dataset": "ade20k",
    "train_split": "training",
    "test_split": "validation",
    "num_classes": 150,
    "image_scale": [2048, 512],
    "scale_ratio": [0.5, 2.0],
    "crop_size": [512, 512],
    "crop_max_class_share": 0.75,
    "flip_probability": 0.5,
    "photometric_distortion": True,
    "test_mode": "slide",
    "test_stride": [341, 341],
    "test_scales": [1.0],
    "test_flip": False,
    "test_smallest_side": None,
    "norm_layer": "SyncBN",
    "loss_counts_ignored_pixels": True,
    "betas": [0.9, 0.999],
    "weight_decay": 0.05,
    "exempt_pos_cls": False,
    "batch_size": 16,
    "base_batch_size": 16,
    "scale_lr": "none",
    "iterations": 160_000,
    "warmup_iterations": 1500,
    "warmup_ratio": 1e-6,
    "poly_power": 1.0,
    "precision": "fp16",
}
TUNED = {
    "frozen_backbone": False,
    "drop_path_rate": 0.1,
    "lr": 8e-5,
    "decay_biases_and_norms": False,
    "layer_decay": 0.65,
}
LINEAR_HEAD = {
    "head": "linear",
    "head_channels": None,
    "head_dropout": 0.0,
    "pool_scales": None,
    "auxiliary_channels": None,
    "auxiliary_weight": None,
    "pyramid": False,
}
PUBLISHED = {
    "segmentation/ade20k_upernet": {
        **SHARED,
        **TUNED,
        "head": "upernet",
        "head_channels": 768,
        "head_dropout": 0.1,
        "pool_scales": [1, 2, 3, 6],
        "auxiliary_channels": 256,
        "auxiliary_weight": 0.4,
        "pyramid": True,
    },
    "segmentation/ade20k_linear": {
        **SHARED,
        **LINEAR_HEAD,
        "frozen_backbone": True,
        "drop_path_rate": 0.0,
        "lr": 8e-4,
        "decay_biases_and_norms": True,
        "layer_decay": 1.0,
    },
    "segmentation/ade20k_linear_finetune": {**SHARED, **LINEAR_HEAD, **TUNED},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_value(name: str) -> None:
    """The numbers that decide Table 1's ADE20K columns, as published with iBOT (docs/methodology.md)."""
    protocol = fields(name)
    assert protocol.protocol() == PUBLISHED[name]
    assert protocol.backbone.model_dump() == {
        "norm_on_taps": True,
        "force_imagenet_norm": False,
        "position_offset": 0.1,
    }


@pytest.mark.parametrize("iteration", [0, 1, 2, 9, 10, 11, 50, 99])
def test_schedule_is_the_published_formula(iteration: int) -> None:
    """Rate r = lr (1 - i/N), times 1 - (1 - i/W)(1 - ratio) while i < W (MMCV 1's rule)."""
    from mmengine.registry import PARAM_SCHEDULERS

    protocol = fields(iterations=100, warmup_iterations=10, warmup_ratio=1e-3, lr=0.5)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=protocol.lr)
    schedulers = [
        PARAM_SCHEDULERS.build(config, default_args={"optimizer": optimiser})
        for config in schedule_config(protocol, 12, CPU)["param_scheduler"]
    ]
    for _ in range(iteration):
        optimiser.step()
        for scheduler in schedulers:
            scheduler.step()
    expected = 0.5 * (1 - iteration / 100)
    if iteration < 10:
        expected *= 1 - (1 - iteration / 10) * (1 - 1e-3)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-9)


CHANGES = {
    "image_scale": (1024, 256),
    "scale_ratio": (1.0, 2.0),
    "crop_size": (352, 352),
    "crop_max_class_share": 0.5,
    "flip_probability": 0.0,
    "photometric_distortion": False,
    "test_mode": "whole",
    "test_stride": (100, 100),
    "test_scales": (0.5, 1.0),
    "test_flip": True,
    "test_smallest_side": 600,
    "head_channels": 32,
    "head_dropout": 0.0,
    "pool_scales": (1, 2),
    "auxiliary_channels": None,
    "auxiliary_weight": 0.1,
    "norm_layer": "BN",
    "loss_counts_ignored_pixels": False,
    "frozen_backbone": True,
    "drop_path_rate": 0.0,
    "lr": 1e-4,
    "betas": (0.9, 0.98),
    "weight_decay": 0.1,
    "decay_biases_and_norms": True,
    "exempt_pos_cls": True,
    "layer_decay": 0.9,
    "batch_size": 2,
    "iterations": 7,
    "warmup_iterations": 3,
    "warmup_ratio": 1e-2,
    "poly_power": 0.9,
    "precision": "bf16",
    "backbone__norm_on_taps": False,
    "backbone__force_imagenet_norm": True,
    "backbone__position_offset": 0.0,
    "execution__workers": 1,
    "execution__checkpoint_blocks": True,
    "execution__state_interval": 3,
    "execution__accumulate": 2,
}
FIXED = {"dataset", "train_split", "test_split", "num_classes", "backbone", "execution"}
RATE = {"scale_lr", "base_batch_size"}  # act together and with batch_size: tests/engine/test_division.py
HEAD = {"head", "pyramid"}  # change together: the two families of config differ in them


@pytest.fixture(scope="module")
def job(scenes: Path) -> Job:
    return Job(get("ade20k-upernet"), ensure_tiny(), scenes)


def built(job: Job, overrides: tuple[str, ...], tmp_path: Path) -> dict[str, Any]:
    """The complete MMEngine config."""
    config: dict[str, Any] = make_plan(replace(job, overrides=overrides)).config(tmp_path, tmp_path).to_dict()
    return config


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_reaches_the_engine(field: str, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No field is read and then ignored. The tiny checkpoint's statistics are ImageNet's, so they are moved."""
    if field == "backbone__force_imagenet_norm":
        other = replace(IMAGENET, mean=(0.1, 0.1, 0.1))
        monkeypatch.setattr("benchmarks.dense.plan.IMAGENET", other)
    override = f"{field.replace('__', '.')}={CHANGES[field]!r}"
    assert built(job, (override,), tmp_path) != built(job, (), tmp_path)


def test_no_field_is_forgotten_above() -> None:
    sections = {"backbone": SegmentationFields.model_fields["backbone"].annotation,
                "execution": SegmentationFields.model_fields["execution"].annotation}  # fmt: skip
    nested = {f"{name}__{field}" for name, kind in sections.items() for field in kind.model_fields}  # type: ignore[union-attr]
    assert (set(SegmentationFields.model_fields) - FIXED - HEAD - RATE) | nested == set(CHANGES)


def test_execution_is_not_part_of_the_fingerprint() -> None:
    assert fields(execution__workers=7).protocol() == fields().protocol()
    assert fields(backbone__norm_on_taps=False).protocol() == fields().protocol()
    assert fields(lr=1.0).protocol() != fields().protocol()


def test_loss_divides_by_all_pixels(tower: ImageTower, tmp_path: Path) -> None:
    """Half the pixels ignored: the published loss is half of the mean over the labelled ones."""
    from mmseg.registry import MODELS

    losses = {}
    for flag in (True, False):
        config = model_config(
            fields(loss_counts_ignored_pixels=flag), tower, ((0,) * 3, (1,) * 3), tmp_path / "unused"
        )["decode_head"]["loss_decode"]
        logits, label = torch.zeros(1, 150, 2, 2), torch.tensor([[[3, 255], [5, 255]]])
        losses[flag] = MODELS.build(config)(logits, label, ignore_index=255)
    assert losses[True] == pytest.approx(losses[False] / 2)


def test_training_pipeline_in_order(scenes: Path, tmp_path: Path) -> None:
    from benchmarks.data import ade20k

    split = ade20k.load_split(scenes, "training")
    kinds = [step["type"] for step in train_loader(fields(), split, 0, tmp_path)["dataset"]["dataset"]["pipeline"]]
    assert kinds == [
        "LoadImageFromFile", "LoadAnnotations", "RandomResize", "RandomCrop", "RandomFlip",
        "PhotoMetricDistortion", "PackSegInputs",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr=fast", "field lr"),
        ("no_such_field=1", "field no_such_field"),
        ("backbone.nothing=1", "field backbone.nothing"),
        ("lr", "field=value"),
        ("=3", "field=value"),
        ("crop_size=512", "field crop_size"),
        ("layer_decay=2", "field layer_decay"),
        ("head_channels=None", "head=upernet needs"),
        ("pyramid=False", "head=upernet needs"),
        ("batch_size=1", "batch_size of 2"),
        ("test_scales=()", "field test_scales"),
        ("test_scales=(0.0,)", "field test_scales"),
        ("num_classes=151", "field num_classes"),
        ("test_stride=(0,0)", "field test_stride"),
        ("test_stride=(600,600)", "leaves gaps"),
        ("crop_size=(0,0)", "field crop_size"),
        ("image_scale=(0,0)", "field image_scale"),
        ("pool_scales=(0,)", "field pool_scales"),
        ("scale_ratio=(2.0,0.5)", "smaller value"),
        ("betas=(1,1)", "field betas"),
        ("lr=1e999", "field lr"),
        ("lr={[]:1}", "field lr"),
        ("iterations=0", "field iterations"),
    ],
)
def test_bad_overrides_are_named(override: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        load_protocol(UPERNET, SegmentationFields, overrides=[override])


@pytest.mark.parametrize("narrow", ["head_channels=48", "head_channels=32", "auxiliary_channels=48"])
def test_groups_need_channels_to_divide(narrow: str) -> None:
    """A map pooled to 1x1 has as many values in a group as the group has channels; one cannot be normalised."""
    with pytest.raises(OptionError, match="norm_layer=GN needs head_channels and auxiliary_channels"):
        load_protocol(UPERNET, SegmentationFields, overrides=["norm_layer=GN", narrow])


def test_a_section_cannot_be_both_value_and_section() -> None:
    for options in (["lr=1e-4", "lr.x=3"], ["backbone=5", "backbone.norm_on_taps=True"]):
        with pytest.raises(OptionError, match="value of its own"):
            load_protocol(UPERNET, SegmentationFields, overrides=options)


@pytest.mark.parametrize("crop", ["(100,100)", "(500,512)", "(16,16)"])
def test_crops_must_fit_the_patches(job: Job, crop: str) -> None:
    """A remainder would be cut off and the rest stretched: a silent shift of every prediction."""
    overrides = (f"crop_size={crop}", "test_stride=(16,16)")
    with pytest.raises(OptionError, match="multiples of the tower's patch of 16 pixels, at least 32"):
        make_plan(replace(job, overrides=overrides))


def test_only_verified_pairs_are_read(job: Job, scenes: Path, tmp_path: Path) -> None:
    """Files that lie in a subfolder of the split are none of its pairs; the reader itself would take them."""
    from mmseg.registry import DATASETS

    root = Path(shutil.copytree(scenes, tmp_path / "data"))
    images = root / "ade20k/ADEChallengeData2016/images/training"
    (images / "A_old").mkdir()
    shutil.copy(next(images.glob("*.jpg")), images / "A_old/stray.jpg")
    plan = make_plan(replace(job, data_root=root, limit=3))
    config = plan.config(tmp_path, tmp_path)
    datasets = [
        DATASETS.build(config.train_dataloader.dataset.dataset),
        DATASETS.build(config.test_dataloader.dataset),
    ]
    stems = [[Path(item["img_path"]).stem for item in dataset.load_data_list()] for dataset in datasets]
    assert stems[0] == [pair.sample_id for pair in plan.training.pairs]
    assert stems[1] == [pair.sample_id for pair in plan.validation.pairs[:3]]
    assert len(stems[0]) == 64
