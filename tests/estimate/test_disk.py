"""Places on disk: published lengths, and what a run writes."""

from pathlib import Path

import pytest
import torch

from benchmarks.engine.state import save_state
from benchmarks.estimate.disk import ARCHIVES, data_places, embedding_places, training_places
from benchmarks.suite import get
from benchmarks.zeroshot.embeddings import EmbeddingStore


def test_archives_are_as_long_as_published() -> None:
    archives, unpacked = data_places(get("coco-cascade"))
    assert archives.size == unpacked.size == 20_405_354_669  # train2017, val2017 and their annotations
    assert "TensorFlow Datasets" in archives.where
    assert unpacked.where == "DATA_ROOT/coco"


def test_guessed_lengths_are_called_so() -> None:
    for name, archives in ARCHIVES.items():
        assert archives.source.startswith(("lengths", "about")), name
        assert archives.unpacked >= 0.9 * archives.download or archives.download < 10**9, name


def test_packed_arrays_grow() -> None:
    archives, unpacked = data_places(get("zeroshot/mnist"))
    assert unpacked.size == 10_000 * 785 > archives.size


def test_the_state_is_as_large_as_a_real_one(tmp_path: Path) -> None:
    layer = torch.nn.Linear(300, 400)
    optimiser = torch.optim.AdamW(layer.parameters())
    layer(torch.randn(2, 300)).sum().backward()
    optimiser.step()
    path = tmp_path / "state.safetensors"
    save_state(path, {"model": layer.state_dict(), "optimizer": optimiser.state_dict()})
    count = sum(parameter.numel() for parameter in layer.parameters())
    state = training_places(count, count, tower=0, pictures=0, scored=0)[0]
    assert state.size == pytest.approx(2 * path.stat().st_size, rel=0.02)


def test_a_frozen_tower_has_no_moments_and_pictures_take_place() -> None:
    frozen = training_places(1000, 10, tower=990, pictures=0, scored=5)
    assert [place.size for place in frozen] == [2 * 4 * 1020, 4 * 990, 5]
    assert training_places(1000, 10, 990, pictures=3, scored=5)[-1].name == "pictures"


def test_embeddings_take_at_most_twice_what_is_kept() -> None:
    rows = torch.randn(3000, 64).numpy()
    store = EmbeddingStore({"of": "a test"}, {}, count=3000)
    store.load(lambda parts: ((part, rows[part.start : part.stop]) for part in parts))
    kept = (store.folder / "embeddings.npy").stat().st_size
    places = embedding_places(images=2000, texts=1000, joint=64, queries=0)
    assert places[0].size == pytest.approx(2 * kept, rel=0.01)
    more = embedding_places(images=2000, texts=1000, joint=64, queries=10)
    assert more[:2] == places
    assert (more[2].name, more[2].size) == ("pictures", 10 * 6 * 150_000)
    assert embedding_places(images=20, texts=100, joint=64, queries=10)[2].size == 20 * 150_000
