"""A tiny data root in ADE20K's layout, and a cache folder of its own for every test."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.data import ade20k, verify


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DETAILCLIP_BENCH_CACHE", str(folder))
    return folder


def write_pair(data_root: Path, split: ade20k.SplitName, stem: str) -> ade20k.Pair:
    """A noisy 24 × 16 image and its mask; the content depends on the stem alone."""
    image = ade20k.image_folder(data_root, split) / f"{stem}.jpg"
    mask = ade20k.annotation_folder(data_root, split) / f"{stem}.png"
    rng = np.random.default_rng(list(stem.encode()))
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (16, 24, 3), np.uint8)).save(image)
    Image.fromarray(rng.integers(0, 151, (16, 24), np.uint8)).save(mask)
    return ade20k.Pair(stem, image, mask)


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """Three validation pairs and two training pairs."""
    root = tmp_path / "data"
    for index in (1, 2, 3):
        write_pair(root, "validation", f"ADE_val_{index:08d}")
    for index in (1, 2):
        write_pair(root, "training", f"ADE_train_{index:08d}")
    return root


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are really opened and decoded, as they are."""
    seen: list[str] = []
    read = verify._read

    def counted(folder: Path, item: verify.Item, stamp: tuple[int, int, int]) -> verify.Verified | verify._Defect:
        seen.append(item.path)
        return read(folder, item, stamp)

    monkeypatch.setattr(verify, "_read", counted)
    return seen
