"""Classification: the nearest class by definition, metrics that add up, and protocol fields each of which acts."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.data.vocabulary import Vocabulary, shipped
from benchmarks.records import Record, Store
from benchmarks.run import Job, default_fingerprints, plan_job
from benchmarks.zeroshot import classification
from benchmarks.zeroshot.classification import Classification, Labels, predict
from benchmarks.zeroshot.plan import Vectors, ZeroShotPlan
from benchmarks.zeroshot.text import encode_texts
from tests.data.classification import layouts
from tests.data.classification.array_files import noise, write_pcam
from tests.talk import Talk
from tests.zeroshot import plain_loop, towers


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return towers.slip(tmp_path_factory.mktemp("tower") / "slip.pt")


def vocabulary(*names: tuple[str, ...]) -> Vocabulary:
    """Keys ``k0``, ``k1``, …, two templates."""
    return Vocabulary("toy", tuple(f"k{index}" for index in range(len(names))), names, ("a {}", "{} there"), "the test")


@st.composite
def questions(draw: st.DrawFn) -> tuple[Vectors, Vectors, Labels]:
    """Vectors of small whole numbers: products are exact, and many are equal."""
    pictures, classes = draw(st.integers(1, 6)), draw(st.integers(2, 8))
    whole = st.integers(-1, 1).map(float)
    labels = draw(hnp.arrays(np.int64, pictures, elements=st.integers(0, classes - 1)))
    images = draw(hnp.arrays(np.float32, (pictures, 2), elements=whole))
    return images, draw(hnp.arrays(np.float32, (classes, 2), elements=whole)), labels


@given(questions())
def test_predictions_are_those_of_a_stable_sort(question: tuple[Vectors, Vectors, Labels]) -> None:
    """Of equally near classes the first is the nearer, in prediction and rank alike."""
    images, weights, labels = question
    found = predict(images, weights, labels)
    for row, label in enumerate(labels):
        scores = [float(images[row] @ weight) for weight in weights]
        order = sorted(range(len(weights)), key=lambda index: (-scores[index], index))
        assert found.predicted[row] == order[0]
        assert found.rank[row] == 1 + order.index(label)
        assert found.margin[row] == scores[order[0]] - scores[order[1]]


@given(questions(), st.integers(1, 4))
def test_the_size_of_a_block_changes_nothing(question: tuple[Vectors, Vectors, Labels], block: int) -> None:
    whole = predict(*question)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classification, "_BLOCK", block)
        parts = predict(*question)
    for field in ("predicted", "rank", "margin"):
        assert getattr(parts, field).tolist() == getattr(whole, field).tolist()


@pytest.mark.parametrize(
    ("width", "classes", "one", "same"),
    [(64, 37, 1, 36), (512, 1000, 657, 744), (512, 1000, 836, 837), (768, 10, 2, 9)],
)
@pytest.mark.parametrize("count", [1, 4097])
def test_equal_classes_are_equal_wherever_they_stand(width: int, classes: int, one: int, same: int, count: int) -> None:
    """ImageNet has "missile" and "sunglasses" twice; a plain product may round equal columns differently."""
    rng = np.random.default_rng(0)
    weights, images = (rng.standard_normal((rows, width), dtype=np.float32) for rows in (classes, count))
    weights[same] = weights[one]
    images += 60 * weights[one]
    units = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (images, weights)]
    found = predict(units[0], units[1], np.full(count, same))
    assert set(found.predicted) == {one}
    assert set(found.rank) == {2}
    assert set(found.margin) == {0}


def axes(*places: int, width: int = 8) -> Vectors:
    """Unit vectors along the axes."""
    return np.eye(width, dtype=np.float32)[list(places)]


def test_a_case_worked_by_hand() -> None:
    """Class 0: two of three right; class 1: none of one; class 2: one of one; class 3 has no picture."""
    task = Classification(
        vocabulary(("cat",), ("dog",), ("bird",), ("fish",)), np.array([0, 0, 0, 1, 2]), tuple("abcde")
    )
    assert list(task.texts)[:3] == ["a cat", "cat there", "a dog"]
    scores = task.score(axes(0, 0, 1, 0, 2), axes(0, 0, 1, 1, 2, 2, 3, 3))
    assert scores.metrics.keys() == {"top1", "mean_per_class"}, "top 5 of four classes would be 100"
    assert scores.metrics["top1"].value == pytest.approx(60)
    assert scores.metrics["mean_per_class"].value == pytest.approx((200 / 3 + 0 + 100) / 3)
    assert scores.per_class["accuracy"] == pytest.approx(
        {"k0 cat": 200 / 3, "k1 dog": 0, "k2 bird": 100, "k3 fish": None}
    )
    assert scores.samples["prediction"].tolist() == [0, 0, 1, 0, 2]
    assert scores.samples["rank"].tolist() == [1, 1, 2, 2, 1]
    assert scores.samples["correct"].tolist() == [True, True, False, False, True]
    assert scores.samples["sample_id"].tolist() == list("abcde")
    assert scores.samples["margin"].tolist() == [1.0] * 5


def test_prompts_are_averaged_as_unit_vectors_and_so_are_synonyms() -> None:
    """FER-2013's classes have several names: all of them in all templates count the same."""
    task = Classification(vocabulary(("a", "b"), ("c",)), np.array([0]), ("x",))
    assert list(task.texts) == ["a a", "a there", "a b", "b there", "a c", "c there"]
    with towers.overheard() as heard:
        task.score(axes(0), axes(0, 0, 0, 1, 2, 3) * np.arange(1, 7, dtype=np.float32)[:, None])
    np.testing.assert_allclose(heard["classes"][0, :4], np.array([3, 1, 0, 0]) / 10**0.5, rtol=1e-6)
    np.testing.assert_allclose(heard["classes"][1, :4], np.array([0, 0, 1, 1]) / 2**0.5, rtol=1e-6)


@pytest.mark.parametrize(("classes", "there"), [(5, False), (6, True)])
def test_top5_is_told_only_where_it_means_something(classes: int, there: bool) -> None:
    task = Classification(vocabulary(*((f"n{index}",) for index in range(classes))), np.array([0]), ("x",))
    found = task.score(axes(1), axes(*(index for index in range(classes) for _ in range(2)))).metrics
    assert ("top5" in found) is there


def test_names_that_repeat_keep_their_own_accuracy() -> None:
    """ImageNet has two classes called missile."""
    task = Classification(vocabulary(("missile",), ("missile",)), np.array([0, 1]), ("x", "y"))
    scores = task.score(axes(0, 0), axes(0, 0, 0, 0))
    assert scores.per_class["accuracy"] == {"k0 missile": 100.0, "k1 missile": 0.0}, "a tie goes to the first"


@given(st.integers(2, 9), st.integers(1, 40), st.integers(0, 1000))
def test_samples_add_up_to_the_metrics(classes: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    task = Classification(
        vocabulary(*((f"n{index}",) for index in range(classes))), labels, tuple(map(str, range(count)))
    )
    images, texts = (rng.normal(size=(rows, 4)).astype(np.float32) for rows in (count, 2 * classes))
    scores = task.score(images, texts)
    assert_adds_up(scores.samples, {name: found.value for name, found in scores.metrics.items()})
    for found in scores.metrics.values():
        assert found.n == count
        assert found.low is None or found.low <= found.value <= found.high  # type: ignore[operator]
    shares = [share for share in scores.per_class["accuracy"].values() if share is not None]
    assert len(shares) == len(set(labels.tolist()))
    assert np.mean(shares) == pytest.approx(scores.metrics["mean_per_class"].value)


def assert_adds_up(samples: pd.DataFrame, metrics: dict[str, float]) -> None:
    """What anyone finds who computes the metrics from the samples."""
    assert (samples["correct"] == (samples["label"] == samples["prediction"])).all()
    assert (samples["correct"] == (samples["rank"] == 1)).all()
    assert metrics["top1"] == pytest.approx(100 * samples["correct"].mean())
    assert metrics["mean_per_class"] == pytest.approx(100 * samples.groupby("label")["correct"].mean().mean())
    if "top5" in metrics:
        assert metrics["top5"] == pytest.approx(100 * (samples["rank"] <= 5).mean())


def run(job: Job, out: Path) -> tuple[Record, pd.DataFrame]:
    record = Talk().session(out).run(job)
    assert record is not None
    samples = Store(out).read_samples(record.run_id)
    assert_adds_up(samples, {name: found.value for name, found in record.metrics.items()})
    return record, samples


def is_default(record: Record) -> bool:
    return record.protocol_fingerprint == default_fingerprints()[record.benchmark]


def test_a_run_gives_every_picture_once_in_the_sets_order(tower: Path, tmp_path: Path) -> None:
    towers.digits(tmp_path, 30)
    record, samples = run(towers.job("zeroshot/mnist", tower, tmp_path), tmp_path / "out")
    assert samples["sample_id"].tolist() == [f"test-{index:05d}" for index in range(30)]
    assert samples["label"].tolist() == [index % 10 for index in range(30)]
    assert (record.counts.official, record.counts.expected, record.counts.scored) == (10_000, 30, 30)
    assert (record.data.name, record.data.split) == ("mnist", "test")
    assert record.metrics.keys() == {"top1", "top5", "mean_per_class"}
    assert len(record.per_class["accuracy"]) == 10
    assert is_default(record)


def test_a_split_is_another_protocol_and_other_pictures(tower: Path, tmp_path: Path) -> None:
    for place, split in enumerate(("valid", "test")):
        write_pcam(tmp_path / "pcam", noise(6, 96, 96, 3, seed=place), [0, 1] * 3, split)
    job = towers.job("zeroshot/pcam", tower, tmp_path)
    default, _ = run(job, tmp_path / "out")
    same, _ = run(towers.job("zeroshot/pcam", tower, tmp_path, "split=val"), tmp_path / "again")
    other, samples = run(towers.job("zeroshot/pcam", tower, tmp_path, "split=test"), tmp_path / "out")
    assert (default.data.split, other.data.split) == ("val", "test")
    assert is_default(default)
    assert same.run_id == default.run_id, "naming the default split changes nothing"
    assert not is_default(other)
    assert other.data.fingerprint != default.data.fingerprint
    assert samples["sample_id"][0] == "test-00000"


def test_the_class_order_is_another_protocol_and_other_labels(tower: Path, tmp_path: Path) -> None:
    """SLIP's literal reading of Flowers: folders 1, 10, 100, 101, … sorted as text."""
    layouts.write(tmp_path, "flowers", shipped("flowers").keys)
    job = towers.job("zeroshot/flowers", tower, tmp_path)
    orders = [replace(job, overrides=(*job.overrides, f"class_order={order}")) for order in ("list", "folders")]
    plans = [cast(ZeroShotPlan, plan_job(ordered)) for ordered in orders]
    labels = []
    for plan in plans:
        assert isinstance(plan.task, Classification)
        labels.append(plan.task.labels)
    keys = sorted(str(number) for number in range(1, 103))
    assert labels[1].tolist() == [keys.index(str(label + 1)) for label in labels[0]]
    assert 0 < (labels[0] == labels[1]).mean() < 0.2
    assert plans[0].protocol["class_order"] == "list"
    assert plans[0].protocol != plans[1].protocol
    assert plans[0].data.fingerprint != plans[1].data.fingerprint, "the data's truth is another"


def test_pictures_are_drawn_and_that_is_another_protocol(tower: Path, tmp_path: Path) -> None:
    towers.digits(tmp_path, 30)
    record, samples = run(towers.job("zeroshot/mnist", tower, tmp_path, "pictures=6"), tmp_path / "out")
    assert samples["sample_id"].tolist() == [f"test-{index:05d}" for index in range(0, 30, 5)]
    assert samples["label"].tolist() == [index % 10 for index in range(0, 30, 5)]
    assert record.protocol["pictures"] == 6
    assert not is_default(record)
    limited, samples = run(towers.job("zeroshot/mnist", tower, tmp_path, limit=7), tmp_path / "out")
    assert samples["sample_id"].tolist() == [f"test-{index:05d}" for index in range(7)]
    assert is_default(limited)
    assert limited.status == "limited"


def backwards(content: dict[str, Any]) -> dict[str, Any]:
    """The names of the digits the wrong way round."""
    classes = content["classes"]
    return {"classes": dict(zip(classes, reversed(classes.values()), strict=True))}


def other_templates(content: dict[str, Any]) -> dict[str, Any]:
    return {"templates": ["{}", "the digit {} in white on black"]}


@pytest.mark.parametrize(
    ("change", "fields"),
    [(backwards, {"class_names"}), (other_templates, {"templates", "template_texts"})],
)
def test_prompts_of_ones_own_act_and_are_no_longer_the_default(
    tower: Path, tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], fields: set[str]
) -> None:
    towers.digits(tmp_path, 30)
    own = dict(zip(shipped("mnist").keys, (names[0] for names in shipped("mnist").names), strict=True))
    (tmp_path / "prompts.json").write_text(json.dumps(change({"classes": own})))
    job = towers.job("zeroshot/mnist", tower, tmp_path)
    with towers.overheard() as heard:
        default, _ = run(job, tmp_path / "out")
        before = heard["classes"]
        record, _ = run(replace(job, prompts=tmp_path / "prompts.json"), tmp_path / "out")
    assert {name for name, value in record.protocol.items() if default.protocol[name] != value} == fields
    assert not is_default(record)
    assert record.run_id != default.run_id
    assert record.data == default.data
    assert record.model_protocol["prompts"] == json.loads((tmp_path / "prompts.json").read_text())
    assert np.abs(heard["classes"] - before).max() > 0.01
    if change is backwards:
        np.testing.assert_allclose(heard["classes"], before[::-1], atol=1e-6)


@contextmanager
def counted() -> Iterator[list[str]]:
    """The texts that really go through a text tower."""
    seen: list[str] = []

    def counting(model: Any, texts: Any, *more: Any, **named: Any) -> torch.Tensor:
        seen.extend(texts)
        return encode_texts(model, texts, *more, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.zeroshot.encoder.encode_texts", counting)
        yield seen


def test_prompts_of_several_sets_are_encoded_together_each_once(
    tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETAILCLIP_BENCH_CACHE", str(tmp_path / "cache"))
    towers.digits(tmp_path)
    for name in ("kitti", "clevr"):
        layouts.write(tmp_path, name, shipped(name).keys)
    jobs = [towers.job(f"zeroshot/{name}", tower, tmp_path) for name in ("mnist", "kitti", "clevr")]
    session = Talk().session(tmp_path / "out")
    with counted() as texts:
        session.prepare(jobs)
        assert len(texts) == len(set(texts)) == 10 + 4 + 8
        with towers.overheard() as heard:
            for job in jobs:
                assert session.run(job) is not None
        assert len(texts) == 22, "a run finds its prompts encoded"
    clevr = shipped("clevr")
    plain = plain_loop.classifier(towers.model_of(tower), [names[0] for names in clevr.names], clevr.templates)
    np.testing.assert_allclose(heard["classes"], plain.numpy(), atol=1e-5)


def test_other_metrics_or_prompts_encode_no_picture_again(
    tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETAILCLIP_BENCH_CACHE", str(tmp_path / "cache"))
    towers.digits(tmp_path, 30)
    (tmp_path / "prompts.json").write_text(json.dumps({"templates": ["{}"]}))
    job = towers.job("zeroshot/mnist", tower, tmp_path)
    plan = cast(ZeroShotPlan, plan_job(job))
    before = plan.encoder.encoded
    for again in (job, replace(job, prompts=tmp_path / "prompts.json"), job):
        Talk().session(tmp_path / "out", "overwrite").run(again)
    assert plan.encoder.encoded == before + 30
