"""The embedded checkpoint is small, honest about itself, and the same everywhere."""

from pathlib import Path

import pytest
import torch

from benchmarks.checkpoints import VitArchitecture, ensure_tiny, load_checkpoint
from benchmarks.checkpoints.tiny import FILE_NAME
from benchmarks.files import sha256_of


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DETAILCLIP_BENCH_CACHE", str(tmp_path))
    return tmp_path


def test_it_says_that_it_has_learnt_nothing(cache: Path) -> None:
    info = load_checkpoint(ensure_tiny()).info
    assert (info.name, info.path) == ("tiny-random", cache / FILE_NAME)
    assert info.training is not None
    assert info.training["method"] == "random"
    assert info.row is None


def test_it_has_the_sizes_it_should_and_needs_no_heads(cache: Path) -> None:
    info = load_checkpoint(ensure_tiny()).info
    assert info.architecture == VitArchitecture(128, 2, 2, 16, 224, 1e-6, 4.0)
    assert info.text is not None
    assert (info.text.width, info.text.depth, info.text.heads, info.text.vocabulary) == (64, 2, 1, 49408)
    assert info.has_text


def test_it_is_written_once_and_always_the_same(cache: Path, tmp_path: Path) -> None:
    path = ensure_tiny()
    first, written = sha256_of(path), path.stat().st_mtime_ns
    assert ensure_tiny() == path
    assert path.stat().st_mtime_ns == written
    path.unlink()
    assert sha256_of(ensure_tiny()) == first


def test_its_embeddings_tell_inputs_apart(cache: Path) -> None:
    """Random features are useless, but a demo on constant ones would show nothing."""
    model = load_checkpoint(ensure_tiny()).model
    images = torch.randn(3, 3, 224, 224)
    tokens = torch.zeros(3, 77, dtype=torch.long)
    tokens[:, 0], tokens[:, 1], tokens[:, 2] = 49406, torch.tensor([320, 1125, 2368]), 49407
    with torch.no_grad():
        for embedded in (model.encode_image(images), model.encode_text(tokens)):
            assert embedded.shape == (3, 32)
            assert torch.pdist(torch.nn.functional.normalize(embedded)).min() > 0.05
