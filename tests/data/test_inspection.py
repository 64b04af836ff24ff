"""An inspection says what is really there, and writes a manifest that others can check."""

import hashlib
import json
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.data.ade20k import Pair
from benchmarks.data.catalogue import find
from benchmarks.data.inspection import Classes, caption_lines, duplicates_line, hash_files
from benchmarks.errors import DataError, OptionError
from tests.data.conftest import write_pair
from tests.dense.coco_world import some_instances, write_root


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_sst2(root: Path, seeds: dict[str, Sequence[int]]) -> Path:
    for key, numbers in seeds.items():
        for index, seed in enumerate(numbers):
            draw(root / "sst2" / "rendered-sst2" / "test" / key / f"{index}.png", seed)
    return root


def write_flickr8k(root: Path, captions: Sequence[Sequence[str]]) -> Path:
    images = []
    for index, texts in enumerate(captions):
        draw(root / "flickr8k" / "images" / f"{index}.jpg", index)
        images.append({"filename": f"{index}.jpg", "split": "test", "sentences": [{"raw": text} for text in texts]})
    (root / "flickr8k" / "dataset_flickr8k.json").write_text(json.dumps({"images": images}))
    return root


def write_mnist(root: Path) -> Path:
    raw = root / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    pixels[7] = pixels[3]
    labels = np.arange(20, dtype=np.uint8) % 10
    (raw / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, 20, 28, 28) + pixels.tobytes())
    (raw / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 20) + labels.tobytes())
    return root


# Classification


def test_counts_classes_and_duplicates_of_class_folders(tmp_path: Path) -> None:
    root = write_sst2(tmp_path, {"negative": [1, 2, 3], "positive": [4, 4, 1, 5, 6]})
    lines = find("sst2").check(root)
    assert lines[0].startswith("sst2 test: 8 of 1821 pictures, all readable, fingerprint ")
    assert "missing: 1813 pictures; runs on this split are partial" in lines
    assert "class order (2): 0 negative (negative), 1 positive (positive)" in lines
    assert "labels: 0 to 1" in lines
    assert "pictures a class: at least 3, median 4, at most 5" in lines
    (duplicates,) = [line for line in lines if line.startswith("duplicates")]
    assert duplicates.startswith("duplicates: 2 contents under 4 names; 1 of them with differing labels: ")
    assert "test/negative/0.png (negative) = rendered-sst2/test/positive/2.png (positive)" in duplicates


def test_every_class_on_request(tmp_path: Path) -> None:
    root = write_sst2(tmp_path, {"negative": [1, 2], "positive": [3]})
    lines = find("sst2").check(root, every_class=True)
    assert [line.split() for line in lines[-2:]] == [
        ["0", "negative", "(negative)", "2"],
        ["1", "positive", "(positive)", "1"],
    ]


def test_arrays_are_inspected_alike(tmp_path: Path) -> None:
    root = write_mnist(tmp_path)
    lines = find("mnist").check(root)
    assert lines[0].startswith("mnist test: 20 of 10000 pictures, all readable")
    assert "pictures a class: at least 2, median 2, at most 2" in lines
    assert "test-00003 (3) = test-00007 (7)" in lines[-1]


def test_unreadable_picture_is_named_unless_it_was_asked_not_to_look(tmp_path: Path) -> None:
    root = write_sst2(tmp_path, {"negative": [1], "positive": [2]})
    bad = root / "sst2/rendered-sst2/test/positive/0.png"
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(DataError, match=r"positive/0\.png"):
        find("sst2").check(root)
    lines = find("sst2").check(root, decode=False)
    assert lines[0] == "sst2 test: 2 of 1821 pictures, listed, none opened"
    assert not any(line.startswith("duplicates") for line in lines)


def test_second_look_reads_no_picture_again(tmp_path: Path, reads: list[str]) -> None:
    root = write_sst2(tmp_path, {"negative": [1], "positive": [2]})
    first = find("sst2").check(root)
    reads.clear()
    assert find("sst2").check(root) == first
    assert reads == []


def test_objects_crowds_and_bare_pictures_are_counted(tmp_path: Path) -> None:
    root = write_root(tmp_path, some_instances())
    lines = find("coco-instances").check(root, split="val2017", manifest=tmp_path / "sums")
    assert lines[0].startswith("coco-instances val2017: 4 of 5000 pictures, all readable, fingerprint ")
    assert "annotations: 3 objects and 2 crowds; on 1 pictures nothing is annotated" in lines
    sums = (tmp_path / "sums").read_text()
    assert "val2017/000000000002.jpg" in sums
    assert "annotations/instances_val2017.json" in sums
    assert find("coco-instances").check(root, split="val2017", decode=False)[0].endswith("listed, none opened")


def test_progress_is_told(tmp_path: Path) -> None:
    root = write_sst2(tmp_path, {"negative": [1], "positive": [2]})
    seen: list[tuple[int, int]] = []
    find("sst2").check(root, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2, 2)


@pytest.mark.parametrize("name", ["sst2", "flickr8k", "ade20k"])
@pytest.mark.parametrize("decode", [True, False])
def test_unknown_split_and_absent_data(tmp_path: Path, name: str, decode: bool) -> None:
    with pytest.raises(OptionError, match="no split 'traning'"):
        find(name).check(tmp_path, split="traning", decode=decode)
    if decode or name != "ade20k":
        with pytest.raises(DataError, match=name):
            find(name).check(tmp_path, decode=decode)


def test_more_pictures_than_are_published_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.data.classification.registry import CLASSIFICATION

    monkeypatch.setitem(CLASSIFICATION["sst2"].splits, "test", 1)
    root = write_sst2(tmp_path, {"negative": [1, 2], "positive": [3]})
    assert "too many: 2 pictures more than are published; runs refuse that" in find("sst2").check(root, decode=False)


# Retrieval


def test_captions_of_a_retrieval_set(tmp_path: Path) -> None:
    root = write_flickr8k(tmp_path, [["a dog", "a cat " * 60], ["two birds"] * 3, ["x"]])
    for decode in (True, False):
        lines = find("flickr8k").check(root, decode=decode)
        assert lines[0].startswith("flickr8k test: 3 of 1000 pictures")
        assert "captions: 6, 1 to 3 a picture" in lines
        assert "captions of more than 77 tokens, which are cut: 1 (the longest has 122)" in lines


def test_picture_that_is_not_there_is_missing(tmp_path: Path) -> None:
    root = write_flickr8k(tmp_path, [["a"], ["b"], ["c"]])
    (root / "flickr8k/images/1.jpg").unlink()
    for decode in (True, False):
        lines = find("flickr8k").check(root, decode=decode)
        assert "missing: 998 pictures; runs on this split are partial" in lines
        assert "captions: 2, 1 a picture" in lines


def test_length_in_tokens_is_that_of_open_clip_s_own_tokenizer() -> None:
    from open_clip import get_tokenizer

    texts = ["a", "word " * 75, "word " * 76, "Ünïcödé 🦜 — ok"]
    tokens = get_tokenizer("ViT-B-16", context_length=200)(texts)
    lengths = (tokens != 0).sum(1).tolist()
    assert [length > 77 for length in lengths] == [False, False, True, False]
    for text, length in zip(texts, lengths, strict=True):
        assert f"(the longest has {length})" in caption_lines([[text]], None)[1]


def test_fewer_captions_than_published_are_said() -> None:
    assert caption_lines([["a"], ["b"]], 5)[0] == "captions: 2 (5 are published), 1 a picture"
    assert caption_lines([["a"], ["b"]], 2)[0] == "captions: 2, 1 a picture"


# ADE20K


def test_ade20k_is_inspected_alike(data_root: Path, tmp_path: Path) -> None:
    first, second = (data_root / f"ade20k/ADEChallengeData2016/images/training/ADE_train_{i:08d}.jpg" for i in (1, 2))
    shutil.copy(first, second)
    lines = find("ade20k").check(data_root, manifest=tmp_path / "sums")
    assert [line.partition(",")[0] for line in lines if line.startswith("ade20k")] == [
        "ade20k training: 2 of 20210 pairs",
        "ade20k validation: 3 of 2000 pairs",
    ]
    assert "duplicates: 1 contents under 2 names" in lines
    assert len((tmp_path / "sums").read_text().splitlines()) == 10
    assert find("ade20k").check(data_root, split="validation", decode=False)[0] == (
        "ade20k validation: 3 of 2000 pairs, listed, none opened"
    )


def test_pair_without_partner_is_an_error_here_too(data_root: Path) -> None:
    pair: Pair = write_pair(data_root, "validation", "ADE_val_00000009")
    pair.annotation.unlink()
    with pytest.raises(DataError, match="ADE_val_00000009"):
        find("ade20k").check(data_root)


# Manifests


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize(("name", "count"), [("sst2", 3), ("mnist", 2), ("flickr8k", 2)])
def test_manifest_is_one_that_sha256sum_reads(tmp_path: Path, name: str, count: int, decode: bool) -> None:
    {
        "sst2": lambda: write_sst2(tmp_path, {"negative": [1, 2], "positive": [3]}),
        "mnist": lambda: write_mnist(tmp_path),
        "flickr8k": lambda: write_flickr8k(tmp_path, [["a"]]),
    }[name]()
    (tmp_path / name / "archive.zip").write_bytes(b"zip")
    (tmp_path / name / ".prepare").mkdir()
    (tmp_path / name / ".prepare" / "unpacked.json").write_text("{}")
    manifest = tmp_path / "out" / "sums.txt"
    lines = find(name).check(tmp_path, decode=decode, manifest=manifest)
    assert f"manifest: {manifest}, {count} files" in lines[-1]
    command = ["sha256sum", "-c", "--strict", str(manifest)]
    assert subprocess.run(command, cwd=tmp_path / name, check=True, capture_output=True).stdout.count(b": OK") == count
    changed = next(
        path for path in (tmp_path / name).rglob("*") if path.suffix in (".png", ".json", "") and path.is_file()
    )
    changed.write_bytes(b"changed")
    assert subprocess.run(command, cwd=tmp_path / name, check=False, capture_output=True).returncode == 1


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_odd_names_are_escaped_as_sha256sum_wants_them(tmp_path: Path) -> None:
    root = write_mnist(tmp_path)
    (root / "mnist" / "line\nbreak.txt").write_bytes(b"1")
    (root / "mnist" / "back\\slash and space.txt").write_bytes(b"2")
    find("mnist").check(root, manifest=tmp_path / "sums")
    command = ["sha256sum", "-c", "--strict", str(tmp_path / "sums")]
    assert subprocess.run(command, cwd=root / "mnist", check=True, capture_output=True).stdout.count(b": OK") == 4


def test_hashes_are_those_of_the_contents_and_a_missing_file_is_named(tmp_path: Path) -> None:
    paths = [f"{index}.bin" for index in range(5)]
    for path in paths:
        (tmp_path / path).write_bytes(path.encode())
    assert hash_files(tmp_path, paths) == [hashlib.sha256(path.encode()).hexdigest() for path in paths]
    with pytest.raises(DataError, match=r"nowhere\.bin: cannot be read"):
        hash_files(tmp_path, [*paths, "nowhere.bin"])


# Lines


@given(digests=st.lists(st.sampled_from("abcde"), max_size=12), torn=st.booleans())
def test_duplicates_are_counted_as_a_plain_loop_does(digests: list[str], torn: bool) -> None:
    names = [str(index) for index in range(len(digests))]
    labels = names if torn else ["same"] * len(names)
    twice = {digest for digest in digests if digests.count(digest) > 1}
    line = duplicates_line(names, digests, labels)
    if not twice:
        assert line == "duplicates: none"
    else:
        under = sum(digest in twice for digest in digests)
        assert line.startswith(f"duplicates: {len(twice)} contents under {under} names")
        assert ("differing labels" in line) == torn


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 100])
def test_order_shows_the_first_and_the_last_class_once(count: int) -> None:
    keys = tuple(f"k{index}" for index in range(count))
    line = Classes(keys, keys, (1,) * count).lines()[0]
    assert line.count(f"{count - 1} k{count - 1} (") == 1
    assert ("…" in line) == (count > 4)


def test_classes_without_a_picture_are_counted() -> None:
    lines = Classes(("a", "b", "c"), ("a", "b", "c"), (0, 2, 0)).lines()
    assert "labels: 1 to 1; 2 classes have no picture" in lines
    assert Classes(("a",), ("a",), (0,)).lines()[1] == "labels: none"


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "found"), [("ade20k", "20 of 2000 pairs"), ("flickr8k", "100 of 1000 pictures")])
def test_real_subsets(real_data: Path, tmp_path: Path, name: str, found: str) -> None:
    lines = find(name).check(real_data, manifest=tmp_path / "sums")
    assert any(found in line for line in lines)
    if name == "flickr8k":
        assert "captions: 500, 5 a picture" in lines
