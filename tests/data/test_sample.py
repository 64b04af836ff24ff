"""The sample on disk: whole or absent, the same bytes every time, and read by the loader of the real data."""

import csv
import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.data import ade20k, sample, sample_views, world
from benchmarks.data.root import SAMPLE_MARKER
from benchmarks.errors import DataError, OptionError
from benchmarks.files import cache_folder

SMALL = {"seed": 4, "train": 3, "validation": 2, "pairs": 4, "held_out": 1, "views": 0, "described": 0, "boxed": 0}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Three training and two validation scenes, four captioned pictures, one held-out picture of each class; none of
    the zero-shot views, which have tests of their own.
    """
    folder = tmp_path / "small"
    sample.generate(folder, **SMALL)
    return folder


@pytest.fixture
def small_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes ``ensure`` draw few scenes."""
    monkeypatch.setattr(sample.generate, "__defaults__", (0, 2, 1, 1, 1, 0, 0, 0))


def test_layout_is_the_official_one(small: Path) -> None:
    inner = "ade20k/ADEChallengeData2016"
    expected = {f"{inner}/images/training/ADE_train_0000000{i}.jpg" for i in (1, 2, 3)}
    expected |= {f"{inner}/annotations/training/ADE_train_0000000{i}.png" for i in (1, 2, 3)}
    expected |= {f"{inner}/images/validation/ADE_val_0000000{i}.jpg" for i in (1, 2)}
    expected |= {f"{inner}/annotations/validation/ADE_val_0000000{i}.png" for i in (1, 2)}
    expected |= {f"pairs/train/00000{i}.jpg" for i in (1, 2, 3, 4)} | {"pairs/train.csv"}
    expected |= {f"pairs/test/{name}/{i:06d}.jpg" for i, name in enumerate(world.THINGS, 1)}
    assert set(contents(small)) == expected | {SAMPLE_MARKER}


def test_marker_says_version_seed_and_counts(small: Path) -> None:
    marker = json.loads((small / SAMPLE_MARKER).read_text())
    assert marker["version"] == sample.VERSION
    assert marker["seed"] == 4
    assert marker["counts"] == {
        "training": 3, "validation": 2, "pairs": 4, "held_out": 1, "views": 0, "described": 0, "boxed": 0,
    }  # fmt: skip


def test_the_loader_of_the_real_data_reads_it(small: Path) -> None:
    split = ade20k.load_split(small, "validation")
    assert split.is_sample
    assert [pair.sample_id for pair in split.pairs] == ["ADE_val_00000001", "ADE_val_00000002"]
    assert ade20k.summary(small) == ("sample", {"training": 3, "validation": 2})


def test_files_hold_the_views_of_the_scenes(small: Path) -> None:
    for index, pair in enumerate(ade20k.load_split(small, "training").pairs):
        image, mask = world.render(world.draw_scene(4, "training", index))
        np.testing.assert_array_equal(np.asarray(Image.open(pair.annotation)), mask)
        stored = np.asarray(Image.open(pair.image), np.int32)
        assert np.abs(stored - image).mean() < 4  # JPEG of high quality


def test_table_lists_the_pictures_with_their_captions(small: Path) -> None:
    with (small / "pairs" / "train.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["image", "title", "description"]
    for row, category in zip(rows, world.THINGS[:4], strict=True):
        with Image.open(small / "pairs" / row["image"]) as image:
            assert (image.size, image.mode) == ((128, 128), "RGB")
        assert category in row["title"]
        assert category in row["description"]


def test_pictures_are_those_of_the_portraits_and_held_out_ones_are_others(small: Path) -> None:
    for index, category in enumerate(world.THINGS[:4]):
        for split, name in (("training", "train"), ("validation", f"test/{category}")):
            drawn = world.paint(world.draw_portrait(4, split, index, category, 128)[0])
            stored = np.asarray(Image.open(small / "pairs" / name / f"{index + 1:06d}.jpg"), np.int32)
            assert np.abs(stored - drawn).mean() < 8


def test_same_arguments_give_the_same_bytes_in_another_process(small: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from benchmarks.data import sample; "
        f"sample.generate(Path({str(tmp_path / 'again')!r}), **{SMALL})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert contents(tmp_path / "again") == contents(small)


def test_scene_does_not_depend_on_how_many_there_are(small: Path, tmp_path: Path) -> None:
    sample.generate(tmp_path / "fewer", **{**SMALL, "train": 1, "validation": 1, "pairs": 2})
    fewer, more = contents(tmp_path / "fewer"), contents(small)
    counted = (SAMPLE_MARKER, "pairs/train.csv")
    assert all(more[path] == content for path, content in fewer.items() if path not in counted)
    assert more["pairs/train.csv"].startswith(fewer["pairs/train.csv"])


def test_what_earlier_versions_had_is_as_it_was(tmp_path: Path) -> None:
    """The captions follow from what is drawn where, and unlike pixels they are the same with any JPEG library."""
    sample.generate(tmp_path / "new", **{**SMALL, "pairs": 26})
    table = (tmp_path / "new" / "pairs" / "train.csv").read_bytes()
    assert hashlib.sha256(table).hexdigest()[:16] == "f1926452ce2cbd33"


def test_views_are_written_beneath_the_root_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def write_views(data_root: Path, *arguments: int) -> None:
        assert not (tmp_path / "new").exists()
        asked.append(arguments)
        (data_root / "mnist").mkdir()

    monkeypatch.setattr(sample_views, "write_views", write_views)
    sample.generate(tmp_path / "new", **{**SMALL, "views": 8, "described": 3})
    assert asked == [(4, 8, 3)]
    assert (tmp_path / "new" / "mnist").is_dir()


def test_seed_changes_every_picture(small: Path, tmp_path: Path) -> None:
    sample.generate(tmp_path / "other", **{**SMALL, "seed": 5})
    other, first = contents(tmp_path / "other"), contents(small)
    assert all(other[path] != first[path] for path in first)


def test_again_into_the_same_folder_changes_nothing(small: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    sample.generate(small, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sample.generate(tmp_path / "empty", train=1, validation=1, pairs=1, held_out=1, views=0, described=0)
    assert ade20k.summary(tmp_path / "empty").state == "sample"


@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": 5},
        {"train": 2},
        {"validation": 1},
        {"pairs": 3},
        {"held_out": 2},
        {"views": 1},
        {"described": 1},
        {"boxed": 1},
    ],
)
def test_another_sample_is_not_overwritten(small: Path, arguments: dict[str, int]) -> None:
    before = contents(small)
    with pytest.raises(DataError, match="not this sample") as caught:
        sample.generate(small, **{**SMALL, **arguments})
    assert str(small) in str(caught.value)
    assert contents(small) == before


@pytest.mark.parametrize("marker", [None, "", "not JSON", "[]"])
def test_folder_with_something_else_is_refused_and_kept(tmp_path: Path, marker: str | None) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    if marker is not None:
        (tmp_path / "mine" / SAMPLE_MARKER).write_text(marker)
    before = contents(tmp_path / "mine")
    with pytest.raises(DataError) as caught:
        sample.generate(tmp_path / "mine", train=1, validation=1)
    assert str(tmp_path / "mine") in str(caught.value)
    assert contents(tmp_path / "mine") == before


def test_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "beneath"):
        with pytest.raises(DataError) as caught:
            sample.generate(folder, train=1, validation=1)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": -1},
        {"seed": 2**32},
        {"train": 0},
        {"validation": 0},
        {"train": 20_211},
        {"validation": 2_001},
        {"pairs": 0},
        {"held_out": 0},
        {"pairs": 100_001},
        {"held_out": 1_001},
        {"views": -1},
        {"views": 1_001},
        {"described": -1},
        {"described": 1_001},
        {"boxed": -1},
        {"boxed": 1_001},
    ],
)
def test_number_out_of_range_is_named(tmp_path: Path, arguments: dict[str, int]) -> None:
    (value,) = arguments.values()
    with pytest.raises(OptionError, match=str(value)):
        sample.generate(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_failure_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = world.draw_scene

    def full_disk(seed: int, split: str, index: int) -> world.Scene:
        if index == 2:
            raise OSError(28, "No space left on device")
        return draw(seed, split, index)

    monkeypatch.setattr(world, "draw_scene", full_disk)
    with pytest.raises(DataError, match="No space left on device"):
        sample.generate(tmp_path / "new", train=3, validation=1)
    assert list(tmp_path.iterdir()) == []


def test_kill_leaves_no_folder_under_the_final_name(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from benchmarks.data import sample; "
        f"sample.generate(Path({str(tmp_path / 'new')!r}), train=500, validation=1)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("ADE_train_*.png")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(tmp_path.rglob("ADE_train_*.png")), "it was killed before it wrote anything"
    assert not (tmp_path / "new").exists()
    sample.generate(tmp_path / "new", train=1, validation=1, pairs=1, held_out=1, views=0, described=0)
    assert ade20k.summary(tmp_path / "new").state == "sample"


@pytest.mark.usefixtures("small_default")
def test_ensure_draws_once(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sample.ensure()
    assert folder == cache_folder() / f"sample-v{sample.VERSION}"
    assert ade20k.summary(folder) == ("sample", {"training": 2, "validation": 1})

    def never(seed: int, split: str, index: int) -> world.Scene:
        raise AssertionError("drawn again")

    monkeypatch.setattr(world, "draw_scene", never)
    assert sample.ensure() == folder


@pytest.mark.usefixtures("small_default")
def test_loser_of_a_race_uses_the_winners_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process finishes the same sample while this one still draws."""
    write, rivals = sample._write_ade20k, [True]

    def slow(data_root: Path, seed: int, counts: dict[ade20k.SplitName, int]) -> None:
        if rivals:
            rivals.pop()
            sample.ensure()
        write(data_root, seed, counts)

    monkeypatch.setattr(sample, "_write_ade20k", slow)
    folder = sample.ensure()
    assert len(ade20k.load_split(folder, "training").pairs) == 2
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".tmp-")] == []


def test_loser_of_a_race_against_something_else_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rival(data_root: Path, seed: int, counts: dict[ade20k.SplitName, int]) -> None:
        data_root.mkdir()
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "thesis.txt").write_text("years of work")

    monkeypatch.setattr(sample, "_write_ade20k", rival)
    with pytest.raises(DataError, match="cannot be written") as caught:
        sample.generate(tmp_path / "new", train=1, validation=1, pairs=1, held_out=1, views=0, described=0)
    assert str(tmp_path / "new") in str(caught.value)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["thesis.txt"]


def test_two_processes_at_once_share_what_they_draw(tmp_path: Path) -> None:
    counts = "train=6, validation=2, pairs=13, held_out=1, views=0, described=0, boxed=0"
    code = f"import pathlib; from benchmarks.data import sample; sample.generate(pathlib.Path('sample'), {counts})"
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]
    assert ade20k.summary(tmp_path / "sample").counts == {"training": 6, "validation": 2}
