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


def test_samples_tell_what_was_found_first() -> None:
    """Caption a lies at y, b at x, c at y."""
    samples = Retrieval((("a", "b"), ("c",)), ("x", "y")).score(vectors(0, 1), vectors(1, 0, 1)).samples
    assert samples["captions"].tolist() == [["a", "b"], ["c"]]
    assert [list(top) for top in samples["i2t_top"]] == [["x#1", "x#0", "y#0"], ["x#0", "y#0", "x#1"]]
    assert [list(scores) for scores in samples["i2t_top_scores"]] == [[1, 0, 0], [1, 1, 0]]
    tops = [[list(top) for top in own] for own in samples["t2i_top"]]
    assert tops == [[["y", "x"], ["x", "y"]], [["y", "x"]]]
    assert [[list(scores) for scores in own] for own in samples["t2i_top_scores"]] == [[[1, 0], [1, 0]], [[1, 0]]]


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
    assert_fits(samples)
    return record, samples


def assert_fits(samples: pd.DataFrame) -> None:
    """The right answer is where its rank says, or in no list; pandas gives a row a caption."""
    for row in samples.to_dict("records"):
        own = {f"{row['sample_id']}#{number}" for number in range(len(row["captions"]))}
        places = [place for place, name in enumerate(row["i2t_top"], start=1) if name in own]
        assert places[:1] == ([row["i2t_rank"]] if row["i2t_rank"] <= 5 else [])
    one_each = samples.explode(["captions", "t2i_ranks", "t2i_top", "t2i_top_scores"])
    assert len(one_each) == samples["captions"].map(len).sum()
    for row in one_each.to_dict("records"):
        assert len(row["t2i_top"]) == len(row["t2i_top_scores"]) == min(5, len(samples))
        places = [place for place, name in enumerate(row["t2i_top"], start=1) if name == row["sample_id"]]
        assert places == ([row["t2i_ranks"]] if row["t2i_ranks"] <= 5 else [])
    assert {np.asarray(scores).dtype for scores in samples["i2t_top_scores"]} == {np.dtype(np.float32)}
    assert {np.asarray(scores).dtype for scores in one_each["t2i_top_scores"]} == {np.dtype(np.float32)}


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


def test_pictures_of_queries_and_of_what_they_found_are_saved(tower: Path, tmp_path: Path) -> None:
    write_set(tmp_path, described())
    out = tmp_path / "out"
    record, samples = run(towers.job("flickr8k-retrieval", tower, tmp_path, pictures=2), out)
    saved = {path.stem for path in (Store(out).folder(record.run_id) / "pictures").iterdir()}
    assert saved == {"0", "8", *samples["t2i_top"][0][0], *samples["t2i_top"][8][0]}
    assert len(saved) < 12


def test_pictures_change_no_run_and_are_not_made_of_a_finished_one(tower: Path, tmp_path: Path) -> None:
    """As of segmentation: a finished run is left alone until it is to be overwritten."""
    write_set(tmp_path, described())
    plain, with_pictures = (towers.job("flickr8k-retrieval", tower, tmp_path, pictures=count) for count in (0, 1))
    out = tmp_path / "out"
    record, samples = run(plain, out)
    pictures = Store(out).folder(record.run_id) / "pictures"
    assert not pictures.exists()
    for existing in ("skip", "resume"):
        talk = Talk()
        assert talk.session(out, existing).run(with_pictures) is None
        assert "with pictures if asked for" in talk.lines[-1]
        assert not pictures.exists()
    again = Talk().session(out, "overwrite").run(with_pictures)
    assert again is not None and again.run_id == record.run_id and pictures.is_dir()
    pd.testing.assert_frame_equal(Store(out).read_samples(record.run_id), samples)
