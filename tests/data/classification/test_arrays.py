"""MNIST, STL-10 and PatchCamelyon: pixels and labels come out of their files as they are, damage is named."""

import gzip
import multiprocessing
import pickle
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from benchmarks.data.classification import load_split
from benchmarks.data.classification.arrays import ARRAYS, H5Pixels, read_idx, read_mnist, read_pcam, read_stl10
from benchmarks.data.images import Images
from benchmarks.data.vocabulary import Vocabulary, shipped
from benchmarks.errors import DataError
from tests.data.classification.array_files import idx, noise, sum_of, write_mnist, write_pcam, write_stl10

MNIST, STL10, PCAM = shipped("mnist"), shipped("stl10"), shipped("pcam")


def picture(images: Images, index: int) -> NDArray[Any]:
    return np.asarray(images.open(index))


# MNIST


@pytest.mark.parametrize("compressed", [False, True])
def test_mnist_is_read_without_training_files(tmp_path: Path, compressed: bool) -> None:
    pixels = noise(4, 28, 28)
    write_mnist(tmp_path / "mnist", pixels, [7, 0, 9, 7], compressed)
    split = load_split(tmp_path, "mnist", MNIST)
    assert split.labels.tolist() == [7, 0, 9, 7]
    assert (split.classes, split.official, split.complete) == (10, 10_000, False)
    assert list(split.images.sample_ids) == ["test-00000", "test-00001", "test-00002", "test-00003"]
    assert split.images.open(2).mode == "L"
    assert np.array_equal(picture(split.images, 2), pixels[2])


def test_mnist_compression_is_no_matter(tmp_path: Path) -> None:
    """A .gz that somebody compressed anew has another md5 sum than the published one, and the same digits."""
    for name, compressed in (("plain", False), ("packed", True)):
        write_mnist(tmp_path / name / "mnist", noise(3, 28, 28), [1, 2, 3], compressed)
    fingerprints = {load_split(tmp_path / name, "mnist", MNIST).images.fingerprint for name in ("plain", "packed")}
    assert len(fingerprints) == 1
    write_mnist(tmp_path / "plain/mnist", noise(3, 28, 28, seed=1), [1, 2, 3])
    assert load_split(tmp_path / "plain", "mnist", MNIST).images.fingerprint not in fingerprints


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6)), st.booleans())
def test_idx_round_trip(tmp_path_factory: pytest.TempPathFactory, values: NDArray[np.uint8], compressed: bool) -> None:
    path = tmp_path_factory.mktemp("idx") / ("values.gz" if compressed else "values")
    path.write_bytes(gzip.compress(idx(values)) if compressed else idx(values))
    found = read_idx(path, values.ndim)
    assert found.dtype == np.uint8
    assert np.array_equal(found, values)


@given(st.data())
@settings(max_examples=50)
def test_idx_of_any_other_length_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = idx(noise(3, 4, 5))
    cut = data.draw(st.integers(0, len(content) - 1))
    path = tmp_path_factory.mktemp("idx") / "values"
    for damaged in (content[:cut], content + content[: cut + 1]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"truncated|longer|no idx file"):
            read_idx(path, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no idx file"),
        (struct.pack(">II", 2049, 3) + b"abc", "is no idx file of bytes with 3 dimensions"),
        (bytes((0, 0, 9, 3)) + bytes(12), "is no idx file of bytes"),
        (bytes((0, 0, 8, 3)) + b"\xff" * 12, "claims to hold .* bytes; its header is damaged"),
        (idx(noise(2, 28, 28))[:-1], r"is truncated \(1,568 bytes are declared\)"),
        (idx(noise(2, 28, 28)) + b"x", "is longer than its header says"),
    ],
)
def test_damaged_idx_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    raw = write_mnist(tmp_path / "mnist", noise(2, 28, 28), [1, 2])
    (raw / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=rf"t10k-images-idx3-ubyte: {message}"):
        load_split(tmp_path, "mnist", MNIST)


@pytest.mark.parametrize("damage", ["cut", "flipped", "text"])
def test_damaged_compression_is_named(tmp_path: Path, damage: str) -> None:
    path = write_mnist(tmp_path, noise(2, 28, 28), [1, 2], compressed=True) / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-30]
    elif damage == "flipped":
        content[len(content) // 2] ^= 255
    else:
        content = bytearray(b"<html>not found</html>")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"\.gz: is truncated or damaged .*fetch it again"):
        read_mnist(tmp_path, "test", MNIST)


def test_mnist_labels_must_fit(tmp_path: Path) -> None:
    write_mnist(tmp_path, noise(3, 28, 28), [1, 2])
    with pytest.raises(DataError, match=r"labels-idx1-ubyte: has 2 labels for 3 pictures"):
        read_mnist(tmp_path, "test", MNIST)
    write_mnist(tmp_path, noise(2, 28, 28), [1, 10])
    with pytest.raises(DataError, match=r"holds the label 10, but there are 10 classes"):
        read_mnist(tmp_path, "test", MNIST)


def test_training_files_in_place_of_the_test_files_are_too_many(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist", noise(10_001, 1, 1), [0] * 10_001)
    with pytest.raises(DataError, match=r"10,?001 pictures .* 10,?000 are published"):
        load_split(tmp_path, "mnist", MNIST)


# STL-10


def test_stl10_turns_columns_into_rows(tmp_path: Path) -> None:
    pixels = noise(3, 96, 96, 3)
    write_stl10(tmp_path / "stl10", pixels, [1, 10, 3], STL10.keys)
    split = load_split(tmp_path, "stl10", STL10)
    assert split.labels.tolist() == [0, 9, 2]
    assert (split.official, split.complete) == (8_000, False)
    assert split.images.open(0).mode == "RGB"
    for index in range(3):
        assert np.array_equal(picture(split.images, index), pixels[index])


@pytest.mark.slow  # torchvision's import, where no test before it did that
def test_stl10_is_as_torchvision_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: True)
    write_stl10(tmp_path, noise(2, 96, 96, 3), [4, 2], STL10.keys)
    found, expected = read_stl10(tmp_path, "test", STL10), datasets.STL10(str(tmp_path), "test")
    assert found.pixels is not None
    for index, (image, label) in enumerate(expected):
        assert np.array_equal(found.pixels[index], np.asarray(image))
        assert found.keys[index] == expected.classes[label]


def test_stl10_goes_by_its_own_class_names(tmp_path: Path) -> None:
    """A list in another order must give other labels, not silently the same."""
    write_stl10(tmp_path / "stl10", noise(2, 96, 96, 3), [1, 2], STL10.keys[::-1])
    assert load_split(tmp_path, "stl10", STL10).labels.tolist() == [9, 8]
    write_stl10(tmp_path / "stl10", noise(2, 96, 96, 3), [1, 2], ["zebra", *STL10.keys])
    with pytest.raises(DataError, match="'zebra'"):
        load_split(tmp_path, "stl10", STL10)


@given(arrays.arrays(np.uint8, st.integers(1, 3)))
@settings(max_examples=10)
def test_stl10_round_trip(tmp_path_factory: pytest.TempPathFactory, seeds: NDArray[np.uint8]) -> None:
    folder = tmp_path_factory.mktemp("stl10")
    pixels = np.stack([noise(96, 96, 3, seed=int(seed)) for seed in seeds])
    labels = [int(seed) % 10 + 1 for seed in seeds]
    write_stl10(folder, pixels, labels, STL10.keys)
    found = read_stl10(folder, "test", STL10)
    assert np.array_equal(np.asarray(found.pixels), pixels)
    assert found.keys == tuple(STL10.keys[label - 1] for label in labels)


@pytest.mark.parametrize(("name", "kept"), [("test_X.bin", 96 * 96 * 3 * 2 - 1), ("test_X.bin", 0)])
def test_truncated_stl10_is_named(tmp_path: Path, name: str, kept: int) -> None:
    base = write_stl10(tmp_path, noise(2, 96, 96, 3), [1, 2], STL10.keys)
    (base / name).write_bytes((base / name).read_bytes()[:kept])
    with pytest.raises(DataError, match=rf"{name}: is truncated"):
        read_stl10(tmp_path, "test", STL10)


@pytest.mark.parametrize(
    ("labels", "message"), [(b"\x01", "has 1 labels for 2 pictures"), (b"\x01\x00", "label -1"), (b"\x0b\x01", "10")]
)
def test_stl10_labels_must_fit(tmp_path: Path, labels: bytes, message: str) -> None:
    base = write_stl10(tmp_path, noise(2, 96, 96, 3), [1, 2], STL10.keys)
    (base / "test_y.bin").write_bytes(labels)
    with pytest.raises(DataError, match=rf"test_y\.bin: .*{message}"):
        read_stl10(tmp_path, "test", STL10)


# PatchCamelyon


@pytest.mark.parametrize("storage", [{}, {"chunks": (1, 8, 8, 3)}, {"chunks": (2, 8, 8, 3), "compression": "gzip"}])
def test_pcam_val_is_the_default(tmp_path: Path, storage: dict[str, Any]) -> None:
    pixels = noise(5, 8, 8, 3)
    write_pcam(tmp_path / "pcam", pixels, [0, 1, 1, 0, 1], **storage)
    write_pcam(tmp_path / "pcam", pixels[:2], [1, 1], "test", **storage)
    split = load_split(tmp_path, "pcam", PCAM)
    assert (split.split, split.official) == ("val", 32_768)
    assert split.labels.tolist() == [0, 1, 1, 0, 1]
    assert split.images.sample_ids[4] == "val-00004"
    assert all(np.array_equal(picture(split.images, index), pixels[index]) for index in (4, 0, 2))
    assert load_split(tmp_path, "pcam", PCAM, "test").labels.tolist() == [1, 1]


def test_pcam_opens_one_picture_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """900 MB must not be loaded to show one picture, nor travel to every worker."""
    path = write_pcam(tmp_path, noise(50, 96, 96, 3), [0] * 50)
    pixels = read_pcam(tmp_path, "val", PCAM).pixels
    read: list[int] = []
    original = h5py.Dataset.__getitem__

    def counted(self: Any, index: Any, **rest: Any) -> Any:
        found = original(self, index, **rest)
        read.append(np.asarray(found).nbytes)
        return found

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    assert pixels is not None
    assert pixels[49].shape == (96, 96, 3)
    assert read == [96 * 96 * 3]
    assert len(pickle.dumps(pixels)) < 1_000 < path.stat().st_size


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_pcam_is_right_in_workers(tmp_path: Path, method: str) -> None:
    """HDF5 files that are open when a process forks give wrong bytes in both: each must open its own."""
    pixels = noise(40, 8, 8, 3)
    path = write_pcam(tmp_path, pixels, [0] * 40, chunks=(4, 8, 8, 3), compression="gzip")
    opened = H5Pixels(path, "x", pixels.shape)
    assert np.array_equal(opened[7], pixels[7]), "open in the parent"
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = dict(pool.starmap(sum_of, [(opened, index) for index in range(40)]))
    assert found == {index: int(pixels[index].astype(np.int64).sum()) for index in range(40)}
    assert np.array_equal(opened[8], pixels[8])


def test_pcam_packed_or_missing_says_what_to_do(tmp_path: Path) -> None:
    path = write_pcam(tmp_path, noise(2, 8, 8, 3), [0, 1])
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    with pytest.raises(DataError, match=r"valid_x\.h5: missing; unpack .*valid_x\.h5\.gz"):
        read_pcam(tmp_path, "val", PCAM)
    packed.unlink()
    with pytest.raises(DataError, match=r"valid_x\.h5: missing; run `bench data prepare pcam`"):
        read_pcam(tmp_path, "val", PCAM)


@pytest.mark.parametrize("damage", ["cut", "text", "labels"])
def test_damaged_pcam_is_named(tmp_path: Path, damage: str) -> None:
    path = write_pcam(tmp_path, noise(20, 8, 8, 3), [0] * 20)
    if damage == "labels":
        with h5py.File(path, "w") as file:
            file["y"] = np.zeros(3, np.uint8)
    else:
        path.write_bytes(path.read_bytes()[:-500] if damage == "cut" else b"no such page")
    with pytest.raises(DataError, match=r"valid_x\.h5: (is truncated or no HDF5 file|holds no 'x')"):
        read_pcam(tmp_path, "val", PCAM)


def test_pcam_content_must_fit(tmp_path: Path) -> None:
    write_pcam(tmp_path, noise(3, 8, 8, 3), [0, 1])
    with pytest.raises(DataError, match=r"valid_y\.h5: has 2 labels for 3 pictures"):
        read_pcam(tmp_path, "val", PCAM)
    write_pcam(tmp_path, noise(2, 8, 8, 3), [0, 2])
    with pytest.raises(DataError, match=r"valid_y\.h5: holds the label 2, but there are 2 classes"):
        read_pcam(tmp_path, "val", PCAM)
    write_pcam(tmp_path, noise(2, 8, 8, 4), [0, 1])
    with pytest.raises(DataError, match="have 4 channels"):
        read_pcam(tmp_path, "val", PCAM)


def test_pcam_damaged_where_a_picture_lies_is_named(tmp_path: Path) -> None:
    path = write_pcam(tmp_path, noise(8, 8, 8, 3), [0] * 8, chunks=(1, 8, 8, 3), compression="gzip")
    with h5py.File(path) as file:
        chunk = file["x"].id.get_chunk_info(5)
    with path.open("rb+") as stream:
        stream.seek(chunk.byte_offset)
        stream.write(bytes(chunk.size))
    pixels = read_pcam(tmp_path, "val", PCAM).pixels
    assert pixels is not None
    assert pixels[4].shape == (8, 8, 3)
    with pytest.raises(DataError, match=r"valid_x\.h5: picture 5 cannot be read"):
        pixels[5]


# All of them


def test_declared_sets_have_vocabularies_and_checksums() -> None:
    for declared in ARRAYS:
        vocabulary: Vocabulary = shipped(declared.name)
        assert vocabulary.keys
        assert all(download.md5 for download in declared.downloads)
        assert not declared.by_hand
    assert [declared.name for declared in ARRAYS] == ["mnist", "stl10", "pcam"]


@pytest.mark.real_data
def test_real_mnist(real_data: Path, tmp_path: Path) -> None:
    """All 10,000 digits, from an archive that was compressed anew."""
    (tmp_path / "mnist/MNIST").mkdir(parents=True)
    (tmp_path / "mnist/MNIST/raw").symlink_to(real_data / "zeroshot/mnist")
    split = load_split(tmp_path, "mnist", MNIST)
    assert split.complete
    assert np.bincount(split.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert split.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert split.images.open(0).size == (28, 28)
    assert len(set(split.images.sample_ids)) == 10_000


@pytest.mark.real_data
def test_real_stl10_pictures(real_data: Path, tmp_path: Path) -> None:
    """The ten real pictures put into the official form."""
    from PIL import Image

    files = [next((real_data / "zeroshot/stl10" / name).iterdir()) for name in STL10.keys]
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    write_stl10(tmp_path / "stl10", pixels, range(1, 11), STL10.keys)
    split = load_split(tmp_path, "stl10", STL10)
    assert split.labels.tolist() == list(range(10))
    assert np.array_equal(picture(split.images, 6), pixels[6])
