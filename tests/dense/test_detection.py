"""Runs of detection: what is recorded, what a kill costs, and whether the chain can learn at all."""

import gzip
import json
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks.data import coco
from benchmarks.data.root import SAMPLE_MARKER
from benchmarks.data.sample_views import write_boxes
from benchmarks.dense.average_precision import average_precision, matches_of, mean_over_classes
from benchmarks.dense.detection import DETECTIONS_NAME
from benchmarks.dense.detection import plan as make_plan
from benchmarks.records import Record, Store
from benchmarks.run import STATE
from tests.dense.coco_world import job, link_real_root, real_pictures
from tests.processes import kill, start
from tests.talk import Talk

CPU = torch.device("cpu")
SMALL = ("iterations=4", "execution.state_interval=2", "score_threshold=0.0", "max_per_image=20")
"""A detector that has learnt nothing finds something on every picture when every score will do."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six generated pictures to train on, and four to score."""
    folder = tmp_path_factory.mktemp("data")
    write_boxes(folder, 0, 6)
    (folder / SAMPLE_MARKER).write_text("{}")
    return folder


def check_sums(record: Record, store: Store) -> None:
    """The record's values are those that its own samples and its own detections give."""
    samples = store.read_samples(record.run_id)
    for kind in ("box", "mask"):
        values = 100 * mean_over_classes(average_precision(matches_of(samples, kind, 80)))[0]
        for name, value in ((f"AP_{kind}", values.mean()), (f"AP50_{kind}", values[0]), (f"AP75_{kind}", values[5])):
            metric = record.metrics[name]
            assert metric.value == pytest.approx(value, abs=1e-9)
            assert metric.low is not None
            assert metric.n == record.counts.scored
        assert list(record.per_class[f"AP_{kind}"]) == list(coco.CATEGORIES.values())
        assert list(record.per_class[f"AP_{kind}_by_area"]) == ["small", "medium", "large"]
    entries = json.loads(gzip.decompress((store.folder(record.run_id) / DETECTIONS_NAME).read_bytes()))
    assert len(entries) == samples["scores"].map(len).sum() > 0


@pytest.mark.slow
def test_a_run_leaves_a_record_that_adds_up(data: Path, tmp_path: Path) -> None:
    record = Talk().session(tmp_path).run(replace(job(data, *SMALL), pictures=2, row="CLIP"))
    assert record is not None
    store = Store(tmp_path)
    assert store.read(record.run_id) == record
    assert (record.status, record.run_state, record.seed) == ("sample", "uninterrupted", 0)
    assert (record.counts.official, record.counts.expected, record.counts.scored) == (5000, 4, 4)
    assert (record.norm_layer, record.operators, record.precision) == ("BN", "torchvision", "fp32")
    assert record.model_protocol["position_table"] == "14x14 to 10x16"
    check_sums(record, store)
    folder = store.folder(record.run_id)
    assert not (folder / STATE).exists()
    assert [path.name for path in sorted((folder / "pictures").iterdir())] == ["000000000001.png", "000000000002.png"]


@pytest.mark.slow
def test_other_choices_run_too(data: Path, tmp_path: Path) -> None:
    """Group norm, boxes for all classes together, mixed precision, a norm on the taps, few pictures."""
    others = ("norm_layer=GN", "class_agnostic_boxes=True", "box_loss=smooth_l1", "box_loss_weight=1.0",
              "precision=bf16", "backbone.norm_on_taps=True", "group_by_orientation=False")  # fmt: skip
    record = Talk().session(tmp_path).run(replace(job(data, *SMALL, *others), limit=2))
    assert record is not None
    assert (record.norm_layer, record.precision, record.counts.scored) == ("GN", "bf16", 2)


@pytest.mark.slow
def test_resumed_weights_equal_uninterrupted_ones(data: Path, tmp_path: Path) -> None:
    """The whole model, optimiser and schedule, bit for bit, taken up in the middle of an epoch."""
    from benchmarks.engine.runner import BenchRunner
    from benchmarks.engine.state import load_state
    from tests.engine.test_resume import assert_same

    def train(folder: Path, iterations: int) -> Path:
        config = make_plan(job(data, *SMALL)).config(folder, folder)
        config.train_cfg.max_iters = iterations
        runner = BenchRunner.from_config(config, CPU)
        runner.train()
        return runner.state_path

    train(tmp_path / "parts", 2)
    parts, whole = train(tmp_path / "parts", 4), train(tmp_path / "whole", 4)
    assert_same(load_state(parts), load_state(whole))


SMALLER = (
    "iterations=2", "short_sides=(64,)", "longest_side=96", "crop_short_sides=(64,)", "crop_range=(48,64)",
    "test_scale=(160,96)", "position_size=(96,160)", "fpn_channels=32", "rpn_channels=32", "mask_channels=16",
    "roi_samples=16", "rpn_after_nms_test=20", "max_per_image=10",
)  # fmt: skip
"""What is found does not matter where it is shown that all is scored, or the same again."""

KILLED = (*SMALL, *SMALLER, "iterations=8")


def run_killed(data: Path, out: Path) -> Record | None:
    """A run that there is time to kill."""
    return Talk().session(out).run(job(data, *KILLED))


@pytest.mark.slow
def test_kill_during_training_then_again(data: Path, tmp_path: Path) -> None:
    """kill -9, then the same once more: resumed, and equal to an uninterrupted run in metrics and every match."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process, deadline = start(run_killed, data, killed), time.monotonic() + 300
    while not any(killed.rglob("resume.safetensors")) and time.monotonic() < deadline:
        assert process.is_alive(), "the run ended before it could be killed"
        time.sleep(0.01)
    kill(process)
    assert not list(killed.rglob("record.json"))
    resumed, uninterrupted = (run_killed(data, out) for out in (killed, whole))
    assert resumed is not None
    assert uninterrupted is not None
    assert (resumed.run_state, uninterrupted.run_state) == ("resumed", "uninterrupted")
    assert resumed.run_id == uninterrupted.run_id
    assert resumed.metrics == uninterrupted.metrics
    assert resumed.per_class == uninterrupted.per_class
    frames = [Store(out).read_samples(resumed.run_id) for out in (killed, whole)]
    pd.testing.assert_frame_equal(frames[0], frames[1], check_exact=True)


@pytest.mark.slow
@pytest.mark.real_data
def test_real_pictures_are_all_scored(real_data: Path, tmp_path: Path) -> None:
    """Trained on the 80 pictures of train2017, scored on the 60 of val2017 that have instances."""
    record = Talk().session(tmp_path).run(job(real_data, *SMALL, *SMALLER))
    assert record is not None
    assert record.status == "quick"
    assert (record.counts.official, record.counts.expected, record.counts.scored) == (5000, 60, 60)
    check_sums(record, Store(tmp_path))


OVERFIT = (
    "iterations=110", "batch_size=4", "lr=3e-3", "layer_decay=1.0", "warmup_iterations=10", "drop_path_rate=0.0",
    "flip_probability=0.0", "crop_probability=0.0", "short_sides=(128,)", "longest_side=192", "test_scale=(192,128)",
    "position_size=(128,192)", "roi_samples=16", "mask_roi_size=7", "fpn_channels=32", "rpn_channels=32",
    "execution.state_interval=1000",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.real_data
def test_overfits_eight_real_pictures(real_data: Path, tmp_path: Path) -> None:
    """Trained and scored on the same eight pictures, the chain must learn them; a detector by chance has 0."""
    root = link_real_root(tmp_path / "data", real_data, real_pictures(real_data, 8))
    record = Talk().session(tmp_path / "out").run(job(root, *OVERFIT))
    assert record is not None
    assert record.metrics["AP_box"].value > 30
    assert record.metrics["AP_mask"].value > 20
