"""Runs: what is recorded, and what happens to a run that is there already."""

import time
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.checkpoints import ensure_tiny, load_image_tower
from benchmarks.data.sample import generate
from benchmarks.errors import BenchError
from benchmarks.records import Record, Store
from benchmarks.run import STATE, Job, Working, default_fingerprints, plan_job
from benchmarks.statistics import miou
from benchmarks.suite import BENCHMARKS, get
from tests.processes import finish, kill, start_bench
from tests.talk import Talk

SMALL = ("iterations=4", "batch_size=2", "execution.state_interval=2")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "root"
    generate(folder, train=4, validation=3, pairs=13, held_out=1, views=0, described=0)
    return folder


def job(name: str, data: Path, *overrides: str) -> Job:
    return Job(get(name), ensure_tiny(), data, quick=True, overrides=(*SMALL, *overrides))


def samples_of(store: Store, record: Record) -> pd.DataFrame:
    return store.read_samples(record.run_id)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ade20k-upernet", "ade20k-linear", "ade20k-linear-finetune"])
def test_a_run_leaves_a_record_that_adds_up(name: str, data: Path, tmp_path: Path) -> None:
    """The record's mIoU is the one its own per-image counts give; the state is gone, pictures are there."""
    record = Talk().session(tmp_path).run(replace(job(name, data), pictures=2, row="CLIP@25"))
    assert record is not None
    store = Store(tmp_path)
    assert store.read(record.run_id) == record
    assert (record.status, record.run_state, record.seed) == ("sample", "uninterrupted", 0)
    assert (record.counts.official, record.counts.expected, record.counts.scored) == (2000, 3, 3)
    assert record.checkpoint.row == "CLIP@25"
    assert record.norm_layer == {"ade20k-upernet": "BN"}.get(name)
    assert (record.operators, record.precision) == ("torchvision", "fp32")
    assert record.model_protocol["tapped_blocks"] == [0, 0, 1, 1]
    assert record.model_protocol["position_table"] == "14x14 to 8x8"
    samples = samples_of(store, record)
    counts = {key: np.zeros((len(samples), 150), dtype=np.int64) for key in ("intersection", "prediction", "label")}
    for row, sample in enumerate(samples.to_dict("records")):
        for key, array in counts.items():
            array[row, np.asarray(sample["classes"])] = sample[key]
    union = counts["prediction"] + counts["label"] - counts["intersection"]
    assert record.metrics["mIoU"].value == pytest.approx(miou(counts["intersection"], union))
    assert record.metrics["mIoU"].n == 3
    folder = store.folder(record.run_id)
    assert not (folder / STATE).exists()
    assert len(list((folder / "pictures").glob("*.png"))) == 2


@pytest.mark.slow
def test_the_frozen_backbone_is_unchanged_and_the_tuned_one_is_not(data: Path, tmp_path: Path) -> None:
    from benchmarks.engine.runner import BenchRunner

    before = load_image_tower(ensure_tiny()).trunk.state_dict()
    for name, frozen in (("ade20k-linear", True), ("ade20k-linear-finetune", False)):
        config = plan_job(job(name, data)).config(tmp_path / name, tmp_path / name)  # type: ignore[attr-defined]
        runner = BenchRunner.from_config(config, torch.device("cpu"))
        runner.train()
        after = runner.bare_model.backbone.trunk.state_dict()  # type: ignore[union-attr]
        names = [key for key in before if key != "pos_embed"]  # it was resized to the crop; compared below
        assert all(torch.equal(before[key], after[key]) for key in names) == frozen
        if frozen:
            runner.bare_model.backbone.assert_equals_file()  # type: ignore[union-attr, operator]
        head = runner.bare_model.decode_head.conv_seg.bias  # type: ignore[union-attr]
        assert head.abs().sum() > 0, "the head must have learnt something"  # type: ignore[operator]


@pytest.mark.slow
def test_existing_runs(data: Path, tmp_path: Path) -> None:
    """Finished: kept, or done anew on request. Another seed or field is another run."""
    linear = job("ade20k-linear", data)
    first = Talk().session(tmp_path).run(linear)
    assert first is not None
    for existing in ("resume", "skip"):
        talk = Talk()
        assert talk.session(tmp_path, existing).run(linear) is None
        assert "already done" in talk.lines[-1]
    again = Talk().session(tmp_path, "overwrite").run(linear)
    assert again is not None
    assert again.run_id == first.run_id
    assert again.started > first.started
    assert again.metrics == first.metrics, "the same seed gives the same numbers"
    for other in (replace(linear, seed=1), job("ade20k-linear", data, "lr=1e-3"), replace(linear, limit=2)):
        record = Talk().session(tmp_path).run(other)
        assert record is not None
        assert record.run_id != first.run_id
    assert len(Store(tmp_path).load_all()) == 4


@pytest.mark.slow
def test_the_row_of_a_finished_run_can_be_told_later(data: Path, tmp_path: Path) -> None:
    """Forgetting --row must not cost the training anew."""
    linear, talk = job("ade20k-linear", data), Talk()
    first = talk.session(tmp_path).run(linear)
    assert first is not None
    assert first.checkpoint.row is None
    assert talk.session(tmp_path).run(replace(linear, row="SLIP@25")) is None
    assert "SLIP@25" in talk.lines[-1]
    assert Store(tmp_path).read(first.run_id).checkpoint.row == "SLIP@25"
    assert talk.session(tmp_path).run(linear) is None
    assert Store(tmp_path).read(first.run_id).checkpoint.row == "SLIP@25", "not telling it changes nothing"


@pytest.mark.slow
def test_an_interrupted_overwriting_is_taken_up(data: Path, tmp_path: Path) -> None:
    """The old record stays until the new one is there, and the begun state is not lost."""
    linear = job("ade20k-linear", data)
    first = Talk().session(tmp_path).run(linear)
    assert first is not None
    folder = Store(tmp_path).folder(first.run_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.engine.runner.BenchRunner.test", interrupt)
        with pytest.raises(KeyboardInterrupt):
            Talk().session(tmp_path, "overwrite").run(linear)
    assert Store(tmp_path).read(first.run_id) == first
    assert (folder / STATE).exists()
    second = Talk().session(tmp_path).run(linear)
    assert second is not None
    assert second.run_state == "resumed"
    assert second.metrics == first.metrics
    assert not (folder / STATE).exists()


def interrupt(runner: object) -> None:
    raise KeyboardInterrupt


def test_a_partial_training_split_is_not_a_full_run(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All validation images present is not enough: the model would have learnt from less."""
    from benchmarks.data import ade20k

    monkeypatch.setattr("benchmarks.data.ade20k.OFFICIAL", {"training": 4, "validation": 3})
    linear = job("ade20k-linear", data)
    assert plan_job(linear).complete
    monkeypatch.setitem(ade20k.OFFICIAL, "training", 5)
    assert not plan_job(linear).complete


def test_an_unfinished_run_is_left_alone_on_request(data: Path, tmp_path: Path) -> None:
    linear, talk = job("ade20k-linear", data), Talk()
    session = talk.session(tmp_path, "skip")

    def stop(folder: Path, state: Path, working: Working) -> None:
        state.mkdir(parents=True)
        raise KeyboardInterrupt

    plan = plan_job(linear)
    object.__setattr__(plan, "execute", stop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.run.plan_job", lambda job, progress: plan)
        with pytest.raises(KeyboardInterrupt):
            session.run(linear)
    assert session.run(linear) is None
    assert "not finished" in talk.lines[-1]
    assert Store(tmp_path).load_all() == []


def test_default_fingerprints_are_those_of_unchanged_full_runs(data: Path) -> None:
    from benchmarks.records import fingerprint

    full = Job(get("ade20k-upernet"), ensure_tiny(), data)
    prints = default_fingerprints()
    assert prints.keys() == {benchmark.id for benchmark in BENCHMARKS}
    assert len(set(prints.values())) == len(prints)
    assert fingerprint(plan_job(full).protocol) == prints["ade20k-upernet"]
    assert fingerprint(plan_job(replace(full, quick=True)).protocol) != prints["ade20k-upernet"]
    assert fingerprint(plan_job(replace(full, overrides=("lr=1e-3",))).protocol) != prints["ade20k-upernet"]


KILLED = ("ade20k-upernet", "--quick", "-o", "iterations=10", "-o", "batch_size=2", "-o", "execution.state_interval=2")


@pytest.mark.slow
def test_kill_during_training_then_the_same_command(data: Path, tmp_path: Path) -> None:
    """kill -9, then the same command: resumed, and equal to an uninterrupted run in metrics and every count."""

    def begin(out: Path) -> ForkServerProcess:
        return start_bench("run", *KILLED, "--data-root", data, "--out", out)

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process, deadline = begin(killed), time.monotonic() + 300
    while not any(killed.rglob("resume.safetensors")) and time.monotonic() < deadline:
        assert process.is_alive(), "the run ended before it could be killed"
        time.sleep(0.01)
    time.sleep(0.2)
    kill(process)
    assert not list(killed.rglob("record.json"))
    assert not list(killed.rglob("samples.parquet"))
    for out in (killed, whole):
        finish(begin(out))
    (resumed,), (uninterrupted,) = Store(killed).load_all(), Store(whole).load_all()
    assert (resumed.run_state, uninterrupted.run_state) == ("resumed", "uninterrupted")
    assert resumed.run_id == uninterrupted.run_id
    assert resumed.metrics == uninterrupted.metrics
    assert resumed.per_class == uninterrupted.per_class
    pd.testing.assert_frame_equal(
        samples_of(Store(killed), resumed), samples_of(Store(whole), uninterrupted), check_exact=True
    )


@pytest.mark.slow
def test_resumed_weights_equal_uninterrupted_ones(data: Path, tmp_path: Path) -> None:
    """The whole model, optimiser and schedule of UperNet, bit for bit."""
    from benchmarks.engine.runner import BenchRunner
    from benchmarks.engine.state import load_state
    from tests.engine.test_resume import assert_same

    def train(folder: Path, iterations: int) -> Path:
        config = plan_job(job("ade20k-upernet", data)).config(folder, folder)  # type: ignore[attr-defined]
        config.train_cfg.max_iters = iterations
        runner = BenchRunner.from_config(config, torch.device("cpu"))
        runner.train()
        return runner.state_path

    train(tmp_path / "parts", 3)
    parts, whole = train(tmp_path / "parts", 6), train(tmp_path / "whole", 6)
    assert_same(load_state(parts), load_state(whole))


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", ["ade20k-upernet", "ade20k-linear-finetune"])
def test_overfits_eight_real_images(name: str, real_data: Path, tmp_path: Path) -> None:
    """Trained and scored on the same 8 images, the chain must learn them.

    Chance is below 1 mIoU, and naming one class everywhere gives about 1.
    """
    root = tmp_path / "data/ade20k/ADEChallengeData2016"
    for kind in ("images", "annotations"):
        source = real_data / f"ade20k/ADEChallengeData2016/{kind}/training"
        for split in ("training", "validation"):
            (root / kind).mkdir(parents=True, exist_ok=True)
            (root / kind / split).symlink_to(source)
    overfit = (
        "iterations=100", "batch_size=4", "lr=4e-3", "layer_decay=1.0", "scale_ratio=(1.0,1.0)",
        "photometric_distortion=False", "flip_probability=0.0", "drop_path_rate=0.0", "head_dropout=0.0",
        "image_scale=(192,64)", "crop_size=(64,96)", "test_mode='whole'",
    )  # fmt: skip
    record = (
        Talk()
        .session(tmp_path / "out")
        .run(Job(get(name), ensure_tiny(), tmp_path / "data", quick=True, overrides=overfit))
    )
    assert record is not None
    assert record.metrics["mIoU"].value > 15


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", ["ade20k-upernet", "ade20k-linear"])
def test_real_images_are_all_scored(name: str, real_data: Path, tmp_path: Path) -> None:
    record = Talk().session(tmp_path).run(job(name, real_data))
    assert record is not None
    assert record.status == "quick"
    assert (record.counts.official, record.counts.expected, record.counts.scored) == (2000, 20, 20)
    assert "ADE_val_00000001" in set(samples_of(Store(tmp_path), record)["sample_id"])


def test_errors_before_the_run_leave_nothing(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"missing\.pt"):
        Talk().session(tmp_path).run(replace(job("ade20k-linear", data), checkpoint=tmp_path / "missing.pt"))
    assert not list((tmp_path / "runs").iterdir())
