"""The shipped segmentation configs: the published values, and every field does something."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.checkpoints import ImageTower, ensure_tiny, load_image_tower
from benchmarks.data.sample import ensure
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
def test_every_shipped_config_builds(name: str, quick: bool, tmp_path: Path) -> None:
    """Model, loaders' datasets and hooks: all that a Runner builds before it trains."""
    from benchmarks.engine.runner import BenchRunner

    job = Job(
        get(name),
        ensure_tiny(),
        ensure(),
        quick=quick,
        overrides=("head_channels=16",) if "up" in name else (),
    )
    runner = BenchRunner.from_config(make_plan(job).config(tmp_path, tmp_path / "state"), CPU)
    assert len(runner.test_dataloader.dataset) == 24
    assert len(runner.train_dataloader.dataset) == 64
    inputs = torch.zeros(2, 3, 64, 64)
    with torch.no_grad():
        assert runner.model.eval()(inputs, mode="tensor").shape[:2] == (2, 150)


def test_published_values() -> None:
    """The numbers that decide Table 1's ADE20K columns, as published with iBOT (docs/methodology.md)."""
    upernet, linear = fields(), fields("segmentation/ade20k_linear")
    assert (upernet.lr, upernet.layer_decay, upernet.drop_path_rate) == (8e-5, 0.65, 0.1)
    assert (linear.lr, linear.layer_decay, linear.drop_path_rate) == (8e-4, 1.0, 0.0)
    assert linear.frozen_backbone
    assert not upernet.frozen_backbone
    for each in (upernet, linear):
        assert (each.batch_size, each.iterations, each.warmup_iterations) == (16, 160_000, 1500)
        assert (each.crop_size, each.test_stride, each.image_scale) == ((512, 512), (341, 341), (2048, 512))
        assert each.backbone.norm_on_taps


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
    "crop_size": (64, 64),
    "crop_max_class_share": 0.5,
    "flip_probability": 0.0,
    "photometric_distortion": False,
    "test_mode": "whole",
    "test_stride": (100, 100),
    "head_channels": 32,
    "head_dropout": 0.0,
    "pool_scales": (1, 2),
    "auxiliary_channels": None,
    "auxiliary_weight": 0.1,
    "norm_layer": "BN",
    "loss_counts_ignored_pixels": False,
    "frozen_backbone": True,
    "pyramid": False,
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
    "num_classes": 151,
    "backbone__norm_on_taps": False,
    "backbone__force_imagenet_norm": True,
    "backbone__position_offset": 0.0,
    "execution__workers": 1,
    "execution__checkpoint_blocks": True,
    "execution__state_interval": 3,
}
FIXED = {"dataset", "train_split", "test_split", "head", "backbone", "execution"}


@pytest.fixture(scope="module")
def job() -> Job:
    return Job(get("ade20k-upernet"), ensure_tiny(), ensure())


def built(job: Job, overrides: tuple[str, ...], tmp_path: Path) -> dict[str, Any]:
    """The complete MMEngine config."""
    config: dict[str, Any] = make_plan(replace(job, overrides=overrides)).config(tmp_path, tmp_path).to_dict()
    return config


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_reaches_the_engine(field: str, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No field is read and then ignored. The tiny checkpoint's statistics are ImageNet's, so they are moved."""
    if field == "backbone__force_imagenet_norm":
        monkeypatch.setattr("benchmarks.dense.segmentation.IMAGENET_MEAN", (0.1, 0.1, 0.1))
    override = f"{field.replace('__', '.')}={CHANGES[field]!r}"
    assert built(job, (override,), tmp_path) != built(job, (), tmp_path)


def test_no_field_is_forgotten_above() -> None:
    sections = {"backbone": SegmentationFields.model_fields["backbone"].annotation,
                "execution": SegmentationFields.model_fields["execution"].annotation}  # fmt: skip
    nested = {f"{name}__{field}" for name, kind in sections.items() for field in kind.model_fields}  # type: ignore[union-attr]
    assert (set(SegmentationFields.model_fields) - FIXED) | nested == set(CHANGES)


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


def test_photometric_distortion_is_in_the_training_pipeline_only(tower: ImageTower) -> None:
    from benchmarks.data import ade20k

    split = ade20k.load_split(ensure(), "training")
    kinds = [step["type"] for step in train_loader(fields(), split, 0)["dataset"]["dataset"]["pipeline"]]
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
    ],
)
def test_bad_overrides_are_named(override: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        load_protocol(UPERNET, SegmentationFields, overrides=[override])
