"""Retrieval: recalls by definition, samples that add up, and protocol fields each of which acts."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.records import Record, Store
from benchmarks.run import Job, default_fingerprints
from benchmarks.zeroshot.retrieval import RECALLS, Retrieval, recalls
from tests.data.test_karpathy import entry, write
from tests.data.test_retrieval import write_picture
from tests.talk import Talk
from tests.zeroshot import towers


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return towers.slip(tmp_path_factory.mktemp("tower") / "slip.pt")


def write_set(root: Path, captions: list[list[str]]) -> None:
    for index in range(len(captions)):
        write_picture(root / f"flickr8k/images/{index}.jpg", index)
    entries = [entry(f"{index}.jpg", "test", *texts) for index, texts in enumerate(captions)]
    write(root / "flickr8k/dataset_flickr8k.json", *entries)


def described(pictures: int = 12, most: int = 7) -> list[list[str]]:
    """Five to ``most`` captions a picture."""
    return [
        [f"caption {number} of picture {index}" for number in range(5 + index % (most - 4))]
        for index in range(pictures)
    ]


def test_recalls_worked_by_hand() -> None:
    """Four pictures with 1, 2, 1 and 2 captions."""
    by_image, by_text, sizes = np.array([1, 2, 6, 11]), np.array([1, 1, 5, 6, 1, 20]), np.array([1, 2, 1, 2])
    found = recalls(by_image, by_text, sizes)
    assert {name: metric.value for name, metric in found.items()} == pytest.approx(
        {
            "i2t_r1": 25,
            "i2t_r5": 50,
            "i2t_r10": 75,
            "t2i_r1": 50,
            "t2i_r5": 100 * 4 / 6,
            "t2i_r10": 100 * 5 / 6,
        }
    )
    assert {metric.n for name, metric in found.items() if name.startswith("i2t")} == {4}
    assert {metric.n for name, metric in found.items() if name.startswith("t2i")} == {6}


def vectors(*places: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.eye(8, dtype=np.float32)[list(places)]


def test_any_of_a_pictures_captions_is_a_hit() -> None:
    """The second caption alone lies at its picture; the first lies at the other's."""
    task = Retrieval((("a", "b"), ("c",)), ("x", "y"))
    assert list(task.texts) == ["a", "b", "c"]
    scores = task.score(vectors(0, 1), vectors(1, 0, 1))
    assert scores.samples["i2t_rank"].tolist() == [1, 2], "of equal captions the earlier comes first"
    assert [ranks.tolist() for ranks in scores.samples["t2i_ranks"]] == [[2, 1], [1]]
    assert scores.metrics["i2t_r1"].value == 50
    assert scores.metrics["t2i_r1"].value == pytest.approx(200 / 3)
    assert scores.per_class == {}


@given(st.lists(st.integers(1, 7), min_size=1, max_size=15), st.integers(0, 1000))
def test_samples_add_up_to_the_metrics(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    captions = tuple(tuple(f"{i} {j}" for j in range(size)) for i, size in enumerate(sizes))
    images, texts = (rng.normal(size=(rows, 3)).astype(np.float32) for rows in (len(sizes), sum(sizes)))
    scores = Retrieval(captions, tuple(map(str, range(len(sizes))))).score(images, texts)
    assert [len(ranks) for ranks in scores.samples["t2i_ranks"]] == sizes
    assert_adds_up(scores.samples, {name: metric.value for name, metric in scores.metrics.items()})
    for metric in scores.metrics.values():
        assert metric.low is None or metric.low <= metric.value <= metric.high  # type: ignore[operator]


def assert_adds_up(samples: pd.DataFrame, metrics: dict[str, float]) -> None:
    ranks = np.concatenate(samples["t2i_ranks"].to_list())
    for k in RECALLS:
        assert metrics[f"i2t_r{k}"] == pytest.approx(100 * (samples["i2t_rank"] <= k).mean())
        assert metrics[f"t2i_r{k}"] == pytest.approx(100 * (ranks <= k).mean())


def run(job: Job, out: Path) -> tuple[Record, pd.DataFrame]:
    record = Talk().session(out).run(job)
    assert record is not None
    samples = Store(out).read_samples(record.run_id)
    assert_adds_up(samples, {name: metric.value for name, metric in record.metrics.items()})
    return record, samples


def is_default(record: Record) -> bool:
    return record.protocol_fingerprint == default_fingerprints()[record.benchmark]


def test_five_captions_are_used_and_all_on_request(tower: Path, tmp_path: Path) -> None:
    """The sixth and seventh compete with the others, and are another protocol."""
    captions = described()
    write_set(tmp_path, captions)
    with towers.overheard() as heard:
        five, samples = run(towers.job("flickr8k-retrieval", tower, tmp_path), tmp_path / "out")
        assert len(heard["texts"]) == five.metrics["t2i_r1"].n == 60
        assert {len(ranks) for ranks in samples["t2i_ranks"]} == {5}
        every, samples = run(towers.job("flickr8k-retrieval", tower, tmp_path, "all_captions=True"), tmp_path / "out")
    assert len(heard["texts"]) == every.metrics["t2i_r1"].n == sum(map(len, captions))
    assert [len(ranks) for ranks in samples["t2i_ranks"]] == list(map(len, captions))
    assert is_default(five)
    assert not is_default(every)
    assert (five.protocol["captions"], every.protocol["captions"]) == (5, "all")
    assert five.data.fingerprint != every.data.fingerprint


def test_only_what_is_drawn_competes(tower: Path, tmp_path: Path) -> None:
    write_set(tmp_path, described())
    with towers.overheard() as heard:
        drawn, samples = run(towers.job("flickr8k-retrieval", tower, tmp_path, "pictures=4"), tmp_path / "out")
        assert heard["texts"].shape[0] == 20
    assert samples["sample_id"].tolist() == ["0", "3", "6", "9"]
    assert not is_default(drawn)
    limited, samples = run(towers.job("flickr8k-retrieval", tower, tmp_path, limit=3), tmp_path / "out")
    assert samples["sample_id"].tolist() == ["0", "1", "2"]
    assert (limited.status, limited.metrics["t2i_r1"].n) == ("limited", 15)
    assert is_default(limited)


def test_other_captions_are_other_data(tower: Path, tmp_path: Path) -> None:
    captions = described()
    write_set(tmp_path, captions)
    first, _ = run(towers.job("flickr8k-retrieval", tower, tmp_path), tmp_path / "out")
    captions[3][0] = "something else"
    write_set(tmp_path, captions)
    second, _ = run(towers.job("flickr8k-retrieval", tower, tmp_path), tmp_path / "out")
    assert first.data.fingerprint != second.data.fingerprint
    assert first.run_id != second.run_id
    assert is_default(second)


def test_equal_captions_have_one_embedding_and_the_stated_order(tower: Path, tmp_path: Path) -> None:
    """Everyone says the same: a caption's place is decided by the split's order alone."""
    write_set(tmp_path, [["the same"] * 5] * 6)
    with towers.overheard() as heard:
        _, samples = run(towers.job("flickr8k-retrieval", tower, tmp_path), tmp_path / "out")
    assert (heard["texts"] == heard["texts"][0]).all()
    assert samples["i2t_rank"].tolist() == [1 + 5 * index for index in range(6)]
