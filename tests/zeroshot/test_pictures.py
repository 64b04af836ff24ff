"""The queries that are shown lie evenly, are the same for all, and have their pictures under harmless names."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.data.images import ArrayImages
from benchmarks.zeroshot.pictures import LARGEST, file_name, needed, save_pictures, spread


@given(st.integers(1, 3000))
def test_every_place_comes_once(total: int) -> None:
    assert sorted(spread(total)) == list(range(total))


@given(st.integers(1, 3000), st.data())
def test_any_beginning_lies_evenly(total: int, data: st.DataObject) -> None:
    """No gap is more than four times the mean one; drawn from the front it would be as large as the set."""
    count = data.draw(st.integers(1, total))
    chosen = sorted(spread(total)[:count])
    assert max(np.diff([*chosen, total])) <= max(4 * total / count, 1)


def test_the_order_is_what_older_runs_have_saved_by() -> None:
    assert spread(1) == [0]
    assert spread(10) == [0, 8, 4, 2, 6, 1, 9, 5, 3, 7]
    assert spread(1000)[:8] == [0, 512, 256, 768, 128, 640, 384, 896]


@pytest.mark.parametrize("name", ["0", "COCO_val2014_000000391895", "1007129816_e794419615", "a.b-c~d"])
def test_plain_names_stay(name: str) -> None:
    assert file_name(name) == f"{name}.png"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/root", "..", ".", "", ".tmp-1", "a\x00b", "C:\\x", "\udcff", "ü" * 200, "a" * 5000]
)
def test_no_name_leads_elsewhere(tmp_path: Path, name: str) -> None:
    path = tmp_path / file_name(name)
    path.write_bytes(b"")
    assert path.resolve().parent == tmp_path.resolve()
    assert not path.name.startswith(".tmp-")
    assert len(path.name) <= 150
    assert path.name.isascii()


@given(st.text(max_size=200), st.text(max_size=200))
def test_different_samples_have_different_files(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)


SAMPLES = pd.DataFrame(
    {
        "sample_id": ["a", "b", "c", "d"],
        "t2i_top": [
            [["a", "d"], ["b", "c"]],
            [["b", "a"]],
            [["d", "c"], ["a", "b"]],
            [["d", "b"]],
        ],
    }
)


def test_needed_are_the_queries_and_what_their_first_captions_found() -> None:
    assert needed(SAMPLES, 0) == []
    assert needed(SAMPLES, 1) == ["a", "d"]
    assert needed(SAMPLES, 2) == ["a", "d", "c"], "the second query is c"
    assert needed(SAMPLES, 100) == ["a", "d", "c", "b"]


def test_pictures_are_small_and_in_colour(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 2 * LARGEST, LARGEST), dtype=np.uint8)
    images = ArrayImages.of(pixels, ["left/right", "small", "not asked for"])
    told: list[tuple[int, int]] = []
    save_pictures(tmp_path / "pictures", images, ["small", "left/right"], lambda *done: told.append(done))
    assert told == [(1, 2), (2, 2)]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["left%2Fright.png", "small.png"]
    for path in (tmp_path / "pictures").iterdir():
        with Image.open(path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (LARGEST // 2, LARGEST))


def test_small_pictures_are_not_enlarged(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 20, 3), dtype=np.uint8)
    save_pictures(tmp_path, ArrayImages.of(pixels, ["a"]), ["a"], lambda done, total: None)
    with Image.open(tmp_path / "a.png") as picture:
        assert (np.asarray(picture) == pixels[0]).all()
