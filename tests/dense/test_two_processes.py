"""Two processes, or one in several parts, give what one process gives: losses, scores, every picture once."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.data.sample import generate
from benchmarks.dense.detection import DETECTIONS_NAME
from benchmarks.records import Store
from tests.dense.several import result, run

pytestmark = pytest.mark.slow

SEGMENTATION = ("iterations=4", "batch_size=4", "crop_size=(64,64)", "image_scale=(256,64)", "test_stride=(43,43)")
LINEAR = ("ade20k-linear", *SEGMENTATION)
UPERNET = ("ade20k-upernet", *SEGMENTATION, "norm_layer=GN", "head_dropout=0.0", "drop_path_rate=0.0")
"""What draws at random within the model depends on the process; it is off."""

DETECTION = (
    "coco-cascade", "iterations=4", "batch_size=4", "norm_layer=GN", "drop_path_rate=0.0", "group_by_orientation=False",
    "rpn_samples=20000", "roi_samples=2000", "crop_probability=0.0", "score_threshold=0.0", "max_per_image=20",
    "short_sides=(64,)", "longest_side=96", "pad_multiple=96", "position_size=(96,96)", "test_scale=(96,64)",
    "fpn_channels=32", "rpn_channels=32", "box_channels=32", "box_fc_channels=64", "mask_channels=16",
)  # fmt: skip
"""All anchors and regions are drawn, and every batch is padded to one size; the heads are narrow."""

EQUAL = {
    "linear": LINEAR,
    "labelled": (*LINEAR, "loss_counts_ignored_pixels=False"),
    "upernet": UPERNET,
    "detection": DETECTION,
}
PARTS = {
    "linear-parts": (*LINEAR, "execution.accumulate=2"),
    "upernet-parts": (*UPERNET, "execution.accumulate=2"),
}
"""The loss averages over all pixels, so that parts of equal size weigh alike."""

BATCH_NORM = {"batch-norm": ("ade20k-upernet", *SEGMENTATION)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs by one process in ``1`` and by two in ``2``; five and three pictures to score: odd numbers."""
    folder = tmp_path_factory.mktemp("runs")
    generate(folder / "data", train=6, validation=5, pairs=1, held_out=1, views=0, described=0, boxed=5)
    run(folder / "data", folder / "1", 1, EQUAL)
    run(folder / "data", folder / "2", 2, {**EQUAL, **PARTS, **BATCH_NORM})
    return folder


@pytest.mark.parametrize("name", [*EQUAL, *PARTS])
def test_two_processes_equal_one(name: str, runs: Path) -> None:
    out, alone = runs / "2" / name, runs / "1" / name.removesuffix("-parts")
    (found, losses), (expected, plain) = result(out), result(alone)
    assert found.run_id == expected.run_id, "the same run, however it was divided"
    assert len(losses) == len(plain) == 4, "iterations are counted in total batches"
    for step, (one, other) in enumerate(zip(losses, plain, strict=True)):
        for loss in (key for key in other if "loss" in key):
            assert one[loss] == pytest.approx(other[loss], abs=1e-4), (step, loss)
    for metric, value in expected.metrics.items():
        assert found.metrics[metric].value == pytest.approx(value.value, abs=1e-6), metric
    assert found.counts == expected.counts
    names = [list(Store(place).read_samples(found.run_id)["sample_id"]) for place in (out, alone)]
    assert names[0] == names[1]
    assert len(set(names[0])) == len(names[0])


def test_two_processes_detect_what_one_does(runs: Path) -> None:
    """After so few iterations every AP is 0 and says nothing; the detections themselves say it."""
    found, expected = (detections(runs / n / "detection") for n in "12")
    assert len(found) == len(expected) > 20
    for one in expected:  # scores that are all but equal may change places
        assert sum(is_same(one, other) for other in found) == 1, one


def is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """The same class in the same place of the same picture, as sure of it."""
    named = all(one[key] == other[key] for key in ("image_id", "category_id"))
    return (
        named
        and other["score"] == pytest.approx(one["score"], abs=1e-6)
        and other["bbox"] == pytest.approx(one["bbox"], abs=1e-2)
    )


def detections(out: Path) -> list[dict[str, Any]]:
    (path,) = out.rglob(DETECTIONS_NAME)
    entries: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    return entries


@pytest.mark.parametrize("name", EQUAL)
def test_pictures_are_those_of_one_process(name: str, runs: Path) -> None:
    """Two were asked for, of the first two pictures, whoever scores them."""
    names = [[path.name for path in sorted((runs / n / name).rglob("pictures/*.png"))] for n in "12"]
    assert len(names[0]) == 2
    assert names[0] == names[1]


def test_the_record_says_what_ran(runs: Path) -> None:
    """Where there is no SyncBN each process normalises by itself: that is another protocol, and says so."""
    for name, device in (("upernet", "2 x cpu"), ("upernet-parts", "2 x cpu in 2 parts of 1 images")):
        record, _ = result(runs / "2" / name)
        assert (record.environment.device, record.norm_layer) == (device, "GN")
        assert "norm_batch" not in record.protocol
    record, _ = result(runs / "2" / "batch-norm")
    assert (record.norm_layer, record.protocol["norm_batch"]) == ("BN", 2)
    assert result(runs / "1" / "linear")[0].environment.device == "cpu"
