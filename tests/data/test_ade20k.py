"""ADE20K: a good folder gives its pairs; each thing that can be wrong with one gives its own clear line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.data import ade20k
from benchmarks.data.root import SAMPLE_MARKER
from benchmarks.errors import DataError
from tests.data.conftest import write_pair

STEM = "ADE_val_00000002"


def image_of(root: Path, stem: str = STEM) -> Path:
    return ade20k.image_folder(root, "validation") / f"{stem}.jpg"


def mask_of(root: Path, stem: str = STEM) -> Path:
    return ade20k.annotation_folder(root, "validation") / f"{stem}.png"


def failure(root: Path, name: ade20k.SplitName = "validation") -> str:
    """The message of the error, which must be one line."""
    with pytest.raises(DataError) as caught:
        ade20k.load_split(root, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_split_holds_sorted_pairs_that_exist(data_root: Path) -> None:
    write_pair(data_root, "validation", "ADE_val_00000000")
    split = ade20k.load_split(data_root, "validation")
    assert [pair.sample_id for pair in split.pairs] == [f"ADE_val_0000000{i}" for i in range(4)]
    assert all(pair.image.is_file() and pair.annotation.is_file() for pair in split.pairs)
    assert all(pair.image.stem == pair.annotation.stem == pair.sample_id for pair in split.pairs)
    assert split.folder == data_root / "ade20k" / "ADEChallengeData2016"
    assert (split.name, split.official, split.is_sample) == ("validation", 2000, False)


def test_splits_are_separate(data_root: Path) -> None:
    training = ade20k.load_split(data_root, "training")
    assert (len(training.pairs), training.official) == (2, 20210)
    image_of(data_root).write_bytes(b"")
    assert ade20k.load_split(data_root, "training") == training


def test_marker_file_makes_it_a_sample(data_root: Path) -> None:
    (data_root / SAMPLE_MARKER).write_text("{}")
    assert ade20k.load_split(data_root, "validation").is_sample


def test_other_files_are_ignored(data_root: Path) -> None:
    before = ade20k.load_split(data_root, "validation")
    (image_of(data_root).parent / "Thumbs.db").write_bytes(b"x")
    (image_of(data_root).parent / "._ADE_val_00000001.jpg").write_bytes(b"x")
    assert ade20k.load_split(data_root, "validation") == before


def test_missing_root_is_named(tmp_path: Path) -> None:
    message = failure(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in message
    assert "--data-root" in message


def test_missing_data_set_says_the_layout_and_the_way_to_a_sample(tmp_path: Path) -> None:
    message = failure(tmp_path)
    assert str(tmp_path / "ade20k" / "ADEChallengeData2016") in message
    assert "ade20k/ADEChallengeData2016/{images,annotations}/{training,validation}" in message
    assert "bench data sample" in message


@pytest.mark.parametrize("kind", ["images", "annotations"])
@pytest.mark.parametrize("way", ["missing", "empty"])
def test_missing_or_empty_split_is_named(data_root: Path, kind: str, way: str) -> None:
    folder = data_root / ade20k.FOLDER / kind / "validation"
    shutil.rmtree(folder)
    if way == "empty":
        folder.mkdir()
    message = failure(data_root)
    assert str(folder) in message
    assert "validation" in message


def test_image_without_mask_is_named_and_counted(data_root: Path) -> None:
    mask_of(data_root).unlink()
    message = failure(data_root)
    assert f"{image_of(data_root)}: image without mask;" in message
    mask_of(data_root, "ADE_val_00000003").unlink()
    message = failure(data_root)
    assert f"{image_of(data_root)}: image without mask (and 1 more like it)" in message


def test_mask_without_image_is_named(data_root: Path) -> None:
    image_of(data_root).unlink()
    assert f"{mask_of(data_root)}: mask without image" in failure(data_root)


@pytest.mark.parametrize("path_of", [image_of, mask_of])
def test_truncated_file_is_named(data_root: Path, path_of: Callable[[Path], Path]) -> None:
    path = path_of(data_root)
    path.write_bytes(path.read_bytes()[:-40])
    message = failure(data_root)
    assert str(path) in message
    assert "cannot be decoded" in message


def test_value_above_150_is_named_with_its_file(data_root: Path) -> None:
    values = np.asarray(Image.open(mask_of(data_root))).copy()
    values[3, 4] = 151
    Image.fromarray(values).save(mask_of(data_root))
    message = failure(data_root)
    assert str(mask_of(data_root)) in message
    assert "151" in message


def test_150_and_a_palette_are_allowed(data_root: Path) -> None:
    mask = Image.fromarray(np.full((16, 24), 150, np.uint8))
    mask.putpalette([channel for colour in ade20k.palette() for channel in colour])
    assert mask.mode == "P"
    mask.save(mask_of(data_root))
    assert len(ade20k.load_split(data_root, "validation").pairs) == 3


@pytest.mark.parametrize(("mode", "word"), [("RGB", "colour mask"), ("RGBA", "colour mask"), ("I;16", "mode I;16")])
def test_mask_of_another_kind_is_named(data_root: Path, mode: str, word: str) -> None:
    Image.new(mode, (24, 16)).save(mask_of(data_root))
    message = failure(data_root)
    assert str(mask_of(data_root)) in message
    assert word in message


def test_mask_that_is_really_a_jpeg_is_named(data_root: Path) -> None:
    Image.new("L", (24, 16), 7).save(mask_of(data_root), format="JPEG")
    message = failure(data_root)
    assert str(mask_of(data_root)) in message
    assert "lossless" in message


def test_sizes_that_differ_are_named(data_root: Path) -> None:
    Image.new("L", (16, 24), 7).save(mask_of(data_root))
    message = failure(data_root)
    assert str(mask_of(data_root)) in message
    assert "16×24" in message
    assert f"{STEM}.jpg is 24×16" in message


def test_rotated_image_needs_the_mask_of_the_upright_picture(data_root: Path) -> None:
    """OpenCV turns such an image when it decodes it: the stored size would be the wrong one to compare."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (24, 16)).save(image_of(data_root), exif=exif)
    assert str(mask_of(data_root)) in failure(data_root)
    Image.new("L", (16, 24), 7).save(mask_of(data_root))
    assert len(ade20k.load_split(data_root, "validation").pairs) == 3


def test_more_pairs_than_published_are_refused(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run over them could otherwise pass for a full one."""
    monkeypatch.setitem(ade20k.OFFICIAL, "validation", 2)
    message = failure(data_root)
    assert str(image_of(data_root).parent) in message
    assert "3 images, but 2 are published" in message


def test_fingerprint_does_not_depend_on_the_place_or_the_time(data_root: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "root"
    shutil.copytree(data_root, moved, copy_function=shutil.copyfile)
    here, there = (ade20k.load_split(root, "validation") for root in (data_root, moved))
    assert here.fingerprint == there.fingerprint
    assert len(here.fingerprint) == 64


@pytest.mark.parametrize("path_of", [image_of, mask_of])
def test_fingerprint_sees_one_byte(data_root: Path, path_of: Callable[[Path], Path]) -> None:
    before = ade20k.load_split(data_root, "validation").fingerprint
    path = path_of(data_root)
    path.write_bytes(path.read_bytes() + b"\0")  # after the end: it decodes to the same pixels
    assert ade20k.load_split(data_root, "validation").fingerprint != before


def test_fingerprint_sees_a_renamed_and_a_missing_pair(data_root: Path) -> None:
    before = ade20k.load_split(data_root, "validation").fingerprint
    for path in (image_of(data_root), mask_of(data_root)):
        path.rename(path.with_stem("ADE_val_00000004"))
    renamed = ade20k.load_split(data_root, "validation").fingerprint
    for path in (image_of(data_root, "ADE_val_00000004"), mask_of(data_root, "ADE_val_00000004")):
        path.unlink()
    assert len({before, renamed, ade20k.load_split(data_root, "validation").fingerprint}) == 3


def test_second_load_decodes_nothing(data_root: Path, reads: list[str]) -> None:
    first = ade20k.load_split(data_root, "validation")
    assert len(reads) == 6
    assert ade20k.load_split(data_root, "validation") == first
    assert len(reads) == 6


def test_progress_reaches_the_number_of_files(data_root: Path) -> None:
    seen: list[tuple[int, int]] = []
    ade20k.load_split(data_root, "validation", lambda done, total: seen.append((done, total)))
    assert seen[-1] == (6, 6)


def test_summary_counts_pairs_without_reading(data_root: Path, reads: list[str]) -> None:
    image_of(data_root).write_bytes(b"no image")
    state, counts = ade20k.summary(data_root)
    assert state == "partial 2/20210 + 3/2000"
    assert counts == {"training": 2, "validation": 3}
    assert reads == []


def test_summary_of_what_is_absent_complete_or_generated(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ade20k.summary(tmp_path / "nowhere").state == "absent"
    (tmp_path / "file").write_text("")
    assert ade20k.summary(tmp_path / "file").state == "absent"
    monkeypatch.setattr(ade20k, "OFFICIAL", {"training": 2, "validation": 3})
    assert ade20k.summary(data_root).state == "complete"
    (data_root / SAMPLE_MARKER).write_text("{}")
    assert ade20k.summary(data_root).state == "sample"


def test_classes_and_palette_are_the_150_of_mmsegmentation() -> None:
    names, colours = ade20k.classes(), ade20k.palette()
    assert len(set(names)) == len(colours) == 150
    assert (names[0], names[7], names[149]) == ("wall", "bed", "flag")
    assert (colours[0], colours[2]) == ((120, 120, 120), (6, 230, 230))


def test_a_light_command_does_not_pay_for_heavy_imports(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from benchmarks.data import ade20k, sample; "
        f"ade20k.summary(Path({str(tmp_path)!r})); "
        "heavy = {'numpy', 'torch', 'pandas', 'mmseg', 'PIL.Image', 'pydantic'}; "
        "sys.exit(','.join(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.real_data
def test_real_subset_is_read() -> None:
    root = os.environ.get("BENCH_REAL_DATA")
    if not root:
        pytest.skip("BENCH_REAL_DATA does not name a folder with real data")
    training = ade20k.load_split(Path(root), "training")
    validation = ade20k.load_split(Path(root), "validation")
    assert (len(training.pairs), len(validation.pairs)) == (8, 20)
    assert not validation.is_sample
    assert validation.pairs[0].sample_id == "ADE_val_00000001"
    assert ade20k.summary(Path(root)).state == "partial 8/20210 + 20/2000"
