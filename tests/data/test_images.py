"""Pictures of a split: verified once, in order, known by content and not by place, and never opened changed."""

import hashlib
import pickle
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from benchmarks.data import images as module
from benchmarks.data import verify
from benchmarks.data.images import ArrayImages, FileImages, Images, subset, verified_files
from benchmarks.data.verify import PICTURE_FORMATS
from benchmarks.errors import DataError

PATHS = ("b/2.png", "a/1.jpg", "b/1.ppm")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures in two folders."""
    rng = np.random.default_rng(0)
    for path in PATHS:
        (tmp_path / "set" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / "set" / path)
    return tmp_path / "set"


def failure(images: Images, index: int) -> str:
    """The message of the error when a picture is opened, which must be one line."""
    with pytest.raises(DataError) as caught:
        images.open(index)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Files


def test_order_names_and_digests_are_those_of_the_files(folder: Path) -> None:
    images = verified_files(folder, PATHS, "test")
    assert images.paths == PATHS
    assert images.sample_ids == ("b/2", "a/1", "b/1")
    assert images.digests == tuple(hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in PATHS)
    assert len(images) == 3


def test_fingerprint_is_the_hash_of_names_and_digests(folder: Path) -> None:
    images = verified_files(folder, PATHS, "test")
    lines = "".join(f"{name} {digest}\n" for name, digest in zip(images.sample_ids, images.digests, strict=True))
    assert images.fingerprint == hashlib.sha256(lines.encode()).hexdigest()


def test_fingerprint_depends_on_order_names_and_content_alone(folder: Path, tmp_path: Path) -> None:
    first = verified_files(folder, PATHS, "test").fingerprint
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert verified_files(tmp_path / "elsewhere", PATHS, "other").fingerprint == first
    assert verified_files(folder, PATHS[::-1], "test").fingerprint != first
    assert verified_files(folder, PATHS, "test", sample_ids="xyz").fingerprint != first
    shutil.copy(folder / PATHS[0], folder / "b/1.ppm")
    assert verified_files(folder, PATHS, "test").fingerprint != first


def test_pictures_are_opened_as_they_are_stored(folder: Path) -> None:
    for mode, name in (("L", "grey.png"), ("P", "palette.png"), ("RGBA", "alpha.png"), ("CMYK", "print.jpg")):
        Image.new(mode, (4, 5)).save(folder / name)
    names = ("grey.png", "palette.png", "alpha.png", "print.jpg")
    images = verified_files(folder, names, "test")
    assert [images.open(index).mode for index in range(4)] == ["L", "P", "RGBA", "CMYK"]


def test_orientation_is_not_applied(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(folder / "turned.jpg", exif=exif)
    assert verified_files(folder, ["turned.jpg"], "test").open(0).size == (40, 30)


def test_suffix_does_not_decide_the_format(folder: Path) -> None:
    for form in PICTURE_FORMATS:
        Image.new("RGB", (6, 7)).save(folder / f"{form}.jpg", form)
    images = verified_files(folder, [f"{form}.jpg" for form in PICTURE_FORMATS], "test")
    assert {images.open(index).size for index in range(len(images))} == {(6, 7)}


def test_other_formats_than_the_named_ones_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"2\.png: is not a JPEG image"):
        verified_files(folder, PATHS, "test", formats=("JPEG",))
    Image.new("RGB", (4, 4)).save(folder / "a.jpg", "ICO")
    with pytest.raises(DataError, match=r"a\.jpg: is not a JPEG, PNG, GIF, BMP, PPM or WEBP image"):
        verified_files(folder, ["a.jpg"], "test")


@pytest.mark.parametrize("path", PATHS)
def test_truncated_picture_is_named_at_once(folder: Path, path: str) -> None:
    content = (folder / path).read_bytes()
    (folder / path).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cannot be decoded") as caught:
        verified_files(folder, PATHS, "test")
    assert str(folder / path) in str(caught.value)


@pytest.mark.parametrize("path", PATHS)
def test_picture_that_was_damaged_since_is_named_though_pillow_is_lenient(
    folder: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = verified_files(folder, PATHS, "test")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    content = (folder / path).read_bytes()
    (folder / path).write_bytes(content[:-20])
    assert failure(images, PATHS.index(path)).startswith(f"{folder / path}: is not the file that was verified")


def test_picture_that_was_replaced_since_is_not_taken_for_the_old_one(folder: Path) -> None:
    images = verified_files(folder, PATHS, "test")
    shutil.copy(folder / PATHS[0], folder / PATHS[1])
    assert str(folder / PATHS[1]) in failure(images, 1)


def test_picture_that_vanished_since_is_named(folder: Path) -> None:
    images = verified_files(folder, PATHS, "test")
    (folder / PATHS[1]).unlink()
    assert failure(images, 1).startswith(f"{folder / PATHS[1]}: cannot be read (No such file or directory)")


def test_two_files_of_one_name_are_an_error(folder: Path) -> None:
    shutil.copy(folder / "b/2.png", folder / "b/1.png")
    with pytest.raises(DataError, match="has the same name as") as caught:
        verified_files(folder, [*PATHS, "b/1.png"], "test")
    assert str(folder / "b/1.png") in str(caught.value)
    assert str(folder / "b/1.ppm") in str(caught.value)


def test_second_call_decodes_nothing(folder: Path, reads: list[str]) -> None:
    first = verified_files(folder, PATHS, "test")
    assert sorted(reads) == sorted(PATHS)
    assert verified_files(folder, PATHS, "test") == first
    assert len(reads) == 3


def test_workers_get_the_pictures(folder: Path) -> None:
    images = verified_files(folder, PATHS, "test")
    copy: FileImages = pickle.loads(pickle.dumps(images))
    assert copy == images
    assert copy.open(2).tobytes() == images.open(2).tobytes()


def test_progress_reaches_the_end(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    verified_files(folder, PATHS, "test", lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3, 3)


def test_file_without_suffix_keeps_its_name(folder: Path) -> None:
    shutil.copy(folder / PATHS[0], folder / "a/plain")
    assert verified_files(folder, ["a/plain"], "test").sample_ids == ("a/plain",)


# Arrays


def names(count: int) -> list[str]:
    return [f"test-{index:05d}" for index in range(count)]


@pytest.mark.parametrize(("shape", "mode"), [((3, 4, 5), "L"), ((3, 4, 5, 3), "RGB")])
def test_arrays_give_grey_and_coloured_pictures(shape: tuple[int, ...], mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    images = ArrayImages.of(pixels, names(3))
    assert len(images) == 3
    for index in range(3):
        picture = images.open(index)
        assert (picture.mode, picture.size) == (mode, (5, 4))
        assert np.array_equal(np.asarray(picture), pixels[index])


def test_turned_views_and_memory_maps_are_the_array_that_they_show(tmp_path: Path) -> None:
    """STL-10 keeps its planes and columns in another order."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 6, 7), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    turned = np.load(tmp_path / "pixels.npy", mmap_mode="r").transpose(0, 3, 2, 1)
    one, other = ArrayImages.of(turned, names(3)), ArrayImages.of(np.ascontiguousarray(turned), names(3))
    assert one.fingerprint == other.fingerprint
    assert one.open(1).tobytes() == other.open(1).tobytes()
    copy: ArrayImages = pickle.loads(pickle.dumps(one))
    assert (copy.fingerprint, copy.open(2).tobytes()) == (one.fingerprint, one.open(2).tobytes())


@given(index=st.integers(0, 4 * 3 * 2 - 1), by=st.integers(1, 255))
def test_fingerprint_of_an_array_sees_every_byte(index: int, by: int) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    changed = pixels.copy()
    changed.reshape(-1)[index] ^= np.uint8(by)
    assert ArrayImages.of(pixels, names(2)).fingerprint != ArrayImages.of(changed, names(2)).fingerprint


def test_fingerprint_of_an_array_sees_shape_and_names() -> None:
    pixels = np.zeros((2, 3, 4), np.uint8)
    prints = {
        ArrayImages.of(array, ids).fingerprint
        for array, ids in ((pixels, "ab"), (pixels, "ba"), (pixels.reshape(2, 4, 3), "ab"), (pixels[:1], "a"))
    }
    assert len(prints) == 4


def test_progress_over_an_array_counts_its_pictures() -> None:
    seen: list[tuple[int, int]] = []
    ArrayImages.of(np.zeros((3, 2, 2), np.uint8), names(3), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


# Subsets


@given(st.lists(st.integers(0, 7), unique=True))
def test_subset_is_what_a_set_of_these_pictures_alone_would_be(indices: Sequence[int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, 3), np.uint8)
    whole = ArrayImages.of(pixels, names(8))
    part = subset(whole, indices)
    alone = ArrayImages.of(pixels[list(indices)], [names(8)[index] for index in indices])
    assert (len(part), part.sample_ids) == (len(indices), alone.sample_ids)
    assert part.fingerprint == alone.fingerprint
    assert [part.open(place).tobytes() for place in range(len(part))] == [pixels[index].tobytes() for index in indices]


def test_subset_of_files_takes_indices_of_numpy_and_can_be_pickled(folder: Path) -> None:
    images = verified_files(folder, PATHS, "test")
    part: Images = pickle.loads(pickle.dumps(subset(images, np.array([2, 0]).tolist())))
    assert list(part.sample_ids) == ["b/1", "b/2"]
    assert part.open(0).tobytes() == images.open(2).tobytes()
    assert subset(part, [1]).open(0).tobytes() == images.open(0).tobytes()
    assert subset(images, range(3)).fingerprint == images.fingerprint


def test_subset_beyond_the_end_is_a_mistake_at_once(folder: Path) -> None:
    with pytest.raises(IndexError):
        subset(verified_files(folder, PATHS, "test"), [3])


def test_50_000_pictures_cost_little_beside_their_verification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = verify.Verified(1, 1, 1, "0" * 64, 1, 1)
    monkeypatch.setattr(module, "verify", lambda folder, items, name, progress: {item.path: known for item in items})
    paths = [f"val/n{index % 1000:08d}/{index:06d}.jpg" for index in range(50_000)]
    started = time.process_time()  # of this process alone: the machine may be busy
    images = verified_files(tmp_path, paths, "test")
    assert len(images.fingerprint) == 64
    assert len(pickle.dumps(images)) < 10_000_000, "each data-loader worker gets a copy"
    assert time.process_time() - started < 3
