"""Prediction at test time, in windows or whole, from one view or several: compared with loops written out here."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmarks.checkpoints import ensure_tiny
from benchmarks.data.sample import generate
from benchmarks.dense.protocol import SegmentationFields
from benchmarks.dense.segmentation import SegmentationPlan
from benchmarks.dense.segmentation import plan as make_plan
from benchmarks.engine.protocol import load_protocol
from benchmarks.errors import OptionError
from benchmarks.records import Store
from benchmarks.run import Job
from benchmarks.suite import get
from tests.talk import Talk

CPU = torch.device("cpu")
LINEAR = "segmentation/ade20k_linear"
SMALL = ("image_scale=(160,80)", "crop_size=(64,64)", "test_stride=(40,48)", "batch_size=2", "iterations=1")
RELEASED = ("test_scales=(0.5,0.75,1.0,1.25,1.5,1.75)", "test_flip=True", "test_smallest_side=512")
"""As iBOT's and BEiT's multi-scale configs of 512 pixels have it."""

Predicted = list[tuple[Path, np.ndarray]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures to train on and two to score."""
    folder = tmp_path_factory.mktemp("data") / "root"
    generate(folder, train=2, validation=2, pairs=13, held_out=1, views=0, described=0, boxed=0)
    return folder


def small_plan(data: Path, *overrides: str, limit: int = 2) -> SegmentationPlan:
    overrides = (*SMALL, *overrides)
    return make_plan(Job(get("ade20k-linear"), ensure_tiny(), data, quick=True, limit=limit, overrides=overrides))


def predict(plan: SegmentationPlan, folder: Path) -> tuple[Any, Predicted]:
    """The model with its random head, and what the engine's own test loop would predict with it."""
    from benchmarks.engine.runner import BenchRunner

    runner = BenchRunner.from_config(plan.config(folder, folder / "state"), CPU)
    model = runner.model.eval()
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=1.0, generator=torch.Generator().manual_seed(0))
    found = []
    with torch.no_grad():
        for batch in runner.test_dataloader:
            (sample,) = model.test_step(batch)
            assert sample.gt_sem_seg.data.shape == sample.pred_sem_seg.data.shape
            found.append((Path(sample.img_path), sample.pred_sem_seg.data.squeeze(0).numpy()))
    return model, found


def normalised(picture: np.ndarray) -> torch.Tensor:
    """(1, 3, H, W) of the bytes of a BGR picture, with ImageNet's statistics."""
    pixels = torch.from_numpy(picture[:, :, ::-1].astype(np.float32))
    statistics = torch.tensor([[123.675, 116.28, 103.53], [58.395, 57.12, 57.375]])
    return ((pixels - statistics[0]) / statistics[1]).permute(2, 0, 1)[None]


def starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin, the last one moved back to the border."""
    last = max(length - window, 0)
    return [min(start, last) for start in range(0, last + stride, stride)] if last else [0]


def logits_of(model: Any, image: torch.Tensor, fields: SegmentationFields) -> torch.Tensor:
    """(1, 150, H, W): a window at a time, averaged where windows overlap."""
    height, width = image.shape[2:]
    window = fields.crop_size if fields.test_mode == "slide" else (height, width)
    total, visits = torch.zeros(1, 150, height, width), torch.zeros(height, width)
    for top in starts(height, window[0], fields.test_stride[0]):
        for left in starts(width, window[1], fields.test_stride[1]):
            area = (..., slice(top, top + window[0]), slice(left, left + window[1]))
            part = image[area]
            total[area] += functional.interpolate(model(part, mode="tensor"), size=part.shape[2:], mode="bilinear")
            visits[area] += 1
    return total / visits


def by_hand(model: Any, path: Path, fields: SegmentationFields, sizes: list[int], flips: list[bool]) -> np.ndarray:
    """(H, W): the mean of the softmax over views whose short side is one of ``sizes``, and the likeliest class."""
    picture: Any = cv2.imread(str(path))
    height, width = picture.shape[:2]
    shares = torch.zeros(150, height, width)
    for short in sizes:
        factor = short / min(height, width)
        size = (int(width * factor + 0.5), int(height * factor + 0.5))
        for flip in flips:
            view = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
            logits = logits_of(model, normalised(view[:, ::-1] if flip else view), fields)
            logits = logits.flip(3) if flip else logits
            shares += functional.interpolate(logits, size=(height, width), mode="bilinear")[0].softmax(0)
    predicted: np.ndarray = shares.argmax(0).numpy()
    return predicted


@pytest.mark.parametrize(
    ("overrides", "sizes", "flips"),
    [
        ((), [80], [False]),
        (("test_mode=whole",), [80], [False]),
        (("test_scales=(1.25,)",), [100], [False]),
        (("test_flip=True",), [80], [False, True]),
        (("test_scales=(0.5,1.0,1.5)", "test_flip=True", "test_smallest_side=64"), [64, 80, 120], [False, True]),
    ],
    ids=["slide", "whole", "one other scale", "mirrored", "released form"],
)
def test_predictions_are_those_made_by_hand(
    overrides: tuple[str, ...], sizes: list[int], flips: list[bool], data: Path, tmp_path: Path
) -> None:
    """Pixel by pixel; where two classes are as likely to the last digits, either may win."""
    plan = small_plan(data, *overrides)
    model, found = predict(plan, tmp_path)
    assert len(found) == 2
    with torch.no_grad():
        for path, predicted in found:
            assert len(np.unique(predicted)) > 3
            assert np.mean(predicted == by_hand(model, path, plan.fields, sizes, flips)) > 0.999


def test_each_choice_changes_predictions(data: Path, tmp_path: Path) -> None:
    """The comparison above would be worth little if all of them gave the same."""
    choices = [(), ("test_mode=whole",), ("test_flip=True",), ("test_scales=(1.0,1.5)",)]
    maps = [predict(small_plan(data, *choice, limit=1), tmp_path / str(place))[1][0][1]
            for place, choice in enumerate(choices)]  # fmt: skip
    assert all((maps[0] != other).mean() > 0.01 for other in maps[1:])


def fields(*overrides: str) -> SegmentationFields:
    return load_protocol(LINEAR, SegmentationFields, overrides=overrides)


def test_sizes_of_the_views() -> None:
    """Factors on image_scale; with a floor, on which the released configs insist, the long side has no limit."""
    assert fields().test_sizes == ((2048, 512),)
    assert not fields().many_views
    assert fields("test_scales=(0.5,1.75)").test_sizes == ((1024, 256), (3584, 896))
    assert [short for _, short in fields(*RELEASED).test_sizes] == [512, 512, 512, 640, 768, 896]
    assert all(long > 100_000 for long, _ in fields(*RELEASED).test_sizes)
    assert fields(*RELEASED).many_views


def test_views_too_small_for_the_tower_are_refused(data: Path) -> None:
    with pytest.raises(OptionError, match="8 pixels for an image's short side, of which the tower needs 16"):
        small_plan(data, "test_scales=(0.1,1.0)")
    small_plan(data, "test_scales=(0.1,1.0)", "test_smallest_side=32")


def test_the_record_tells_and_no_table_takes_it(data: Path, tmp_path: Path) -> None:
    """A whole run with many views: scored, and of another fingerprint than one with a single view."""
    runs = {}
    for name, overrides in {"one": (), "many": ("test_scales=(0.75,1.0)", "test_flip=True")}.items():
        plan = small_plan(data, *overrides)
        record = Talk().session(tmp_path / name).run(replace(plan.job, pictures=1))
        assert record is not None
        assert record.counts.scored == 2
        assert len(list((Store(tmp_path / name).folder(record.run_id) / "pictures").iterdir())) == 1
        runs[name] = record
    assert runs["many"].protocol["test_scales"] == [0.75, 1.0]
    assert runs["many"].protocol_fingerprint != runs["one"].protocol_fingerprint
    assert runs["many"].metrics["mIoU"].value != runs["one"].metrics["mIoU"].value
