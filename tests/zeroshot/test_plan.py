"""What the zero-shot benchmarks share: which pictures are drawn, what is refused, and what a record says of it."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.checkpoints import ensure_tiny, export_checkpoint
from benchmarks.data.classification import CLASSIFICATION
from benchmarks.data.images import ArrayImages
from benchmarks.data.vocabulary import shipped
from benchmarks.errors import CheckpointError, DataError, OptionError
from benchmarks.records import Store, fingerprint
from benchmarks.run import Job, default_fingerprints, plan_job
from benchmarks.statistics import Interval
from benchmarks.suite import BENCHMARKS
from benchmarks.tables import build
from benchmarks.zeroshot.plan import ZeroShotPlan, draw, fingerprint_with, metric, unit_vectors
from tests.data.classification import layouts
from tests.data.test_retrieval import write_flickr
from tests.talk import Talk
from tests.zeroshot import towers

LONG = "a very " * 80 + "long caption"


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return towers.slip(tmp_path_factory.mktemp("tower") / "slip.pt")


def plan_of(job: Job) -> ZeroShotPlan:
    return cast(ZeroShotPlan, plan_job(job))


@given(st.integers(1, 500), st.none() | st.integers(1, 600), st.data())
def test_pictures_are_drawn_evenly_and_limited_from_the_front(
    total: int, pictures: int | None, data: st.DataObject
) -> None:
    drawn = list(draw(total, None, pictures))
    assert len(drawn) == min(total, pictures or total)
    assert drawn[0] == 0
    gaps = np.diff([*drawn, total])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1, "as even as whole numbers can be"
    limit = data.draw(st.integers(1, len(drawn)))
    assert list(draw(total, limit, pictures)) == drawn[:limit]
    assert list(draw(total, len(drawn) + 1, pictures)) == drawn, "a smaller set is scored whole"


@given(st.integers(1, 5), st.integers(1, 8), st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_unit_vectors_keep_the_direction(rows: int, width: int, seed: int, scale: float) -> None:
    vectors = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32) * np.float32(scale)
    units = unit_vectors(vectors, "x")
    assert units.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(units * np.linalg.norm(vectors, axis=1, keepdims=True), vectors, rtol=1e-5)


@pytest.mark.parametrize("row", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [1.0, -np.inf]])
def test_vectors_without_a_direction_are_damaged_weights(row: list[float]) -> None:
    with pytest.raises(CheckpointError, match=r"my\.pt \(ema tower\): .* damaged") as caught:
        unit_vectors(np.array([[1.0, 2.0], row], np.float32), "my.pt (ema tower)")
    assert "\n" not in str(caught.value)


def test_metrics_carry_their_interval() -> None:
    assert metric(50.0, Interval(40.0, 60.0), 9).model_dump() == {"value": 50.0, "low": 40.0, "high": 60.0, "n": 9}
    assert metric(50.0, None, 1).low is None


def test_the_data_fingerprint_has_pictures_and_what_is_true_of_them() -> None:
    pixels = np.zeros((2, 4, 4), np.uint8)
    one, other = ArrayImages.of(pixels, ("a", "b")), ArrayImages.of(pixels, ("a", "c"))
    prints = {fingerprint_with(one, b"x"), fingerprint_with(one, b"y"), fingerprint_with(other, b"x")}
    assert len(prints) == 3
    assert fingerprint_with(one, b"x") in prints


def test_options_are_refused_before_the_checkpoint_and_that_before_the_data(tower: Path, tmp_path: Path) -> None:
    """The quickest check first: nobody waits for 50,000 pictures to be told of a misspelt option."""
    for benchmark, field in (("zeroshot/mnist", "classorder"), ("flickr8k-retrieval", "all_caption")):
        absent = towers.job(benchmark, tmp_path / "absent.pt", tmp_path / "nowhere")
        with pytest.raises(OptionError, match=field):
            plan_job(replace(absent, overrides=(f"{field}=1",)))
        with pytest.raises(CheckpointError, match=r"absent\.pt"):
            plan_job(absent)
        with pytest.raises(DataError, match="nowhere"):
            plan_job(replace(absent, checkpoint=tower))


@pytest.mark.parametrize("name", ["zeroshot/mnist", "flickr8k-retrieval"])
def test_a_checkpoint_without_text_side_is_refused(name: str, tmp_path: Path) -> None:
    backbone = export_checkpoint(ensure_tiny(), "backbone", tmp_path / "backbone")
    with pytest.raises(CheckpointError, match=f"no text side, which {name} needs"):
        plan_job(towers.job(name, backbone, tmp_path, image_heads=None, text_heads=None))


def test_damaged_weights_are_noticed_before_anything_is_recorded(tmp_path: Path) -> None:
    import torch

    path = towers.slip(tmp_path / "nan.pt")
    state = torch.load(path, weights_only=True)
    state["image_projection"] *= torch.nan
    torch.save(state, path)
    towers.digits(tmp_path / "data")
    with pytest.raises(CheckpointError, match=r"nan\.pt \(online tower\): gives embeddings"):
        Talk().session(tmp_path).run(towers.job("zeroshot/mnist", path, tmp_path / "data"))
    assert not list(tmp_path.rglob("record.json"))


def test_what_belongs_to_the_checkpoint_is_recorded_beside_the_protocol(tower: Path, tmp_path: Path) -> None:
    write_flickr(tmp_path, sentences=[{"raw": "short"}, {"raw": LONG}, {"raw": LONG + " too"}, {"raw": ""}][:3])
    told = plan_of(towers.job("flickr8k-retrieval", tower, tmp_path)).model_protocol
    assert told.keys() == {"tower", "architecture", "text_architecture", "preprocessing", "texts_cut"}
    assert told["tower"] == "online"
    assert told["texts_cut"] == 2
    assert told["preprocessing"]["interpolation"] == "bilinear"
    assert (told["architecture"]["width"], told["architecture"]["heads"]) == (64, 1)
    assert (told["text_architecture"]["vocabulary"], told["text_architecture"]["quick_gelu"]) == (49408, True)


def test_how_it_is_executed_decides_nothing(tower: Path, tmp_path: Path) -> None:
    """The batch size and the number of workers neither make another run nor another number."""
    towers.digits(tmp_path)
    job = towers.job("zeroshot/mnist", tower, tmp_path)
    other = towers.job("zeroshot/mnist", tower, tmp_path, "execution.workers=1", "execution.batch_size=7")
    assert plan_of(job).protocol == plan_of(other).protocol
    first, second = (Talk().session(tmp_path / name).run(one) for name, one in (("a", job), ("b", other)))
    assert first is not None
    assert second is not None
    assert (first.run_id, first.metrics) == (second.run_id, second.metrics)


@pytest.mark.parametrize("name", ["kitti", "clevr", "sst2", "dtd"])
def test_default_fingerprints_are_those_of_unchanged_runs(name: str, tower: Path, tmp_path: Path) -> None:
    layouts.write(tmp_path, name, shipped(name).keys)
    job = towers.job(f"zeroshot/{name}", tower, tmp_path)
    default = default_fingerprints()[job.benchmark.id]
    assert fingerprint(plan_of(job).protocol) == default
    assert fingerprint(plan_of(replace(job, limit=1)).protocol) == default, (
        "a limit is the status's, not the protocol's"
    )
    assert fingerprint(plan_of(replace(job, quick=True)).protocol) != default


def test_default_fingerprint_of_retrieval(tower: Path, tmp_path: Path) -> None:
    write_flickr(tmp_path)
    job = towers.job("flickr8k-retrieval", tower, tmp_path)
    assert fingerprint(plan_of(job).protocol) == default_fingerprints()["flickr8k-retrieval"]


def test_every_benchmark_has_a_default_fingerprint_of_its_own() -> None:
    prints = default_fingerprints()
    assert prints.keys() == {benchmark.id for benchmark in BENCHMARKS}
    assert len(set(prints.values())) == len(prints)


def test_a_complete_set_is_a_full_run_and_fills_its_cell(
    tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a limited, quick or incomplete one does not."""
    towers.digits(tmp_path, 30)
    declared = CLASSIFICATION["mnist"]
    job = towers.job("zeroshot/mnist", tower, tmp_path)
    statuses = []
    drawn = towers.job("zeroshot/mnist", tower, tmp_path, "pictures=10")
    for official, made in (
        (30, job),
        (40, job),
        (30, replace(job, limit=10)),
        (30, drawn),
        (30, replace(job, quick=True)),
    ):
        other = {"mnist": replace(declared, splits={"test": official})}
        monkeypatch.setattr("benchmarks.data.classification.load.CLASSIFICATION", other)
        record = Talk().session(tmp_path / "out", "overwrite").run(made)
        assert record is not None
        statuses.append(record.status)
    assert statuses == ["full", "partial", "limited", "limited", "quick"]
    table = build(3, Store(tmp_path / "out").load_all(), default_fingerprints())
    (entry,) = [entry for row in table.rows for entry in row.entries]
    (full,) = [record for record in Store(tmp_path / "out").load_all() if record.status == "full"]
    assert entry.cells.keys() == {"MNIST"}
    assert entry.cells["MNIST"].value == full.metrics["top1"].value
    assert sorted(run.status for run in table.other) == ["limited", "limited", "partial", "quick"]
