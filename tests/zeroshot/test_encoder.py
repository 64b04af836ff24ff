"""The encoder: what the model gives, each picture once, found again exactly where nothing that decides it changed."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.context import ForkProcess as Process
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip import get_tokenizer
from PIL import Image
from safetensors.torch import save_file

from benchmarks.checkpoints import LoadedCheckpoint, ensure_tiny, load_checkpoint
from benchmarks.data.images import ArrayImages, Images
from benchmarks.errors import CheckpointError, DataError
from benchmarks.zeroshot import embeddings, encoder
from benchmarks.zeroshot.embeddings import Rows, entries
from benchmarks.zeroshot.encoder import Encoder, open_encoder
from benchmarks.zeroshot.preprocessing import picture_transform
from tests.checkpoints import makers

CPU = torch.device("cpu")
COUNT, BATCH = 21, 4
TEXTS = ["a dog.", "a photo of a cat.", "a dog.", "", "the quick brown fox jumps over the lazy dog"]


@dataclass(frozen=True)
class Pictures:
    """Coloured noise; that at ``bad`` cannot be decoded, and each takes ``pause`` seconds."""

    count: int = COUNT
    seed: int = 0
    bad: int | None = None
    pause: float = 0.0

    @property
    def sample_ids(self) -> Sequence[str]:
        return [f"{number}" for number in range(self.count)]

    @property
    def digests(self) -> Sequence[str]:
        return [f"{self.seed:032}{number:032}" for number in range(self.count)]

    @property
    def fingerprint(self) -> str:
        return f"{self.seed:032}{self.count:032}"

    def __len__(self) -> int:
        return self.count

    def open(self, index: int) -> Image.Image:
        if index == self.bad:
            raise DataError(f"folder/{index}.jpg: cannot be decoded; put the original file in its place")
        time.sleep(self.pause)
        generator = np.random.default_rng([self.seed, index])
        return Image.fromarray(generator.integers(0, 256, (40 + index, 60, 3), dtype=np.uint8))


SLOW = Pictures(pause=0.02)


def start(action: Callable[[], object]) -> Process:
    """A process of its own, forked: it need not import everything again."""

    def run() -> None:
        torch.set_num_threads(1)  # the threads of the parent are not there
        action()

    process = get_context("fork").Process(target=run)
    process.start()
    return process


@pytest.fixture(scope="module")
def loaded() -> LoadedCheckpoint:
    return load_checkpoint(ensure_tiny())


@pytest.fixture(autouse=True)
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: LoadedCheckpoint) -> Path:
    """A cache of the test's own, with small parts; the tiny checkpoint lies in it already."""
    folder = tmp_path / "cache"
    folder.mkdir()
    shutil.copy(loaded.info.path, folder)
    monkeypatch.setenv("DETAILCLIP_BENCH_CACHE", str(folder))
    monkeypatch.setattr(encoder, "PART", 8)
    return folder


@pytest.fixture
def tiny(loaded: LoadedCheckpoint) -> Encoder:
    return Encoder(loaded, CPU)


def plain(loaded: LoadedCheckpoint, images: Images) -> Rows:
    """One picture at a time."""
    transform = picture_transform(loaded.info.preprocessing)
    with torch.no_grad():
        rows = [loaded.model.encode_image(transform(images.open(i))[None])[0] for i in range(len(images))]
    return torch.stack(rows).numpy()


@pytest.fixture(scope="module")
def expected(loaded: LoadedCheckpoint) -> Rows:
    return plain(loaded, Pictures())


def close(ours: Rows, theirs: Rows) -> bool:
    """Within 1e-5 of each vector's length."""
    difference = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)
    return bool(ours.shape == theirs.shape and difference.max() < 1e-5)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_pictures_are_embedded_in_order_as_one_at_a_time(tiny: Encoder, expected: Rows, workers: int) -> None:
    rows = tiny.images(Pictures(), BATCH, workers)
    assert rows.dtype == np.float32
    assert not rows.flags.writeable
    assert close(rows, expected)
    assert tiny.encoded == COUNT


def test_the_workers_change_nothing(tiny: Encoder) -> None:
    here = tiny.images(Pictures(), BATCH, 0)
    embeddings.clear()
    assert np.array_equal(tiny.images(Pictures(), BATCH, 2), here)


@pytest.mark.parametrize("batch", [1, 7, 8, 100])
def test_the_batch_changes_nothing_beyond_rounding(tiny: Encoder, expected: Rows, batch: int) -> None:
    assert close(tiny.images(Pictures(), batch, 0), expected)


def test_arrays_serve_as_well(tiny: Encoder) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    images = ArrayImages.of(pixels, [f"{number}" for number in range(5)])
    assert close(tiny.images(images, BATCH, 1), plain(tiny.loaded, images))


def test_the_second_time_nothing_is_encoded_whatever_it_is_for(tiny: Encoder) -> None:
    """Batch size and workers decide no embedding; nor do the texts that the pictures are compared with."""
    first = tiny.images(Pictures(), BATCH, 0, name="one")
    again = Encoder(tiny.loaded, CPU)
    again.texts(TEXTS)
    assert np.array_equal(again.images(Pictures(), BATCH + 1, 1, name="another"), first)
    assert again.encoded == 0


def changed(loaded: LoadedCheckpoint, **changes: Any) -> Encoder:
    return Encoder(replace(loaded, info=replace(loaded.info, **changes)), CPU)


def test_all_that_decides_an_embedding_is_in_its_identity(
    tiny: Encoder, monkeypatch: pytest.MonkeyPatch, loaded: LoadedCheckpoint
) -> None:
    info, images = loaded.info, Pictures()
    assert info.text is not None
    plain_keys = embeddings.key_of(tiny.image_identity(images)), embeddings.key_of(tiny.text_identity(TEXTS))

    def keys(other: Encoder) -> tuple[bool, bool]:
        """Which of the two are still found."""
        found = embeddings.key_of(other.image_identity(images)), embeddings.key_of(other.text_identity(TEXTS))
        return found[0] == plain_keys[0], found[1] == plain_keys[1]

    neither, texts_only, images_only = (False, False), (False, True), (True, False)
    assert keys(Encoder(loaded, CPU)) == (True, True)
    assert keys(changed(loaded, name="renamed", path=Path("elsewhere"), row="CLIP@25")) == (True, True)
    assert keys(changed(loaded, sha256="0" * 64)) == neither
    assert keys(changed(loaded, tower="ema")) == neither
    assert keys(changed(loaded, architecture=replace(info.architecture, heads=4))) == texts_only
    assert keys(changed(loaded, architecture=replace(info.architecture, quick_gelu=True))) == texts_only
    assert keys(changed(loaded, preprocessing=replace(info.preprocessing, interpolation="bicubic"))) == texts_only
    assert keys(changed(loaded, preprocessing=replace(info.preprocessing, mean=(0.0, 0.0, 0.0)))) == texts_only
    assert keys(changed(loaded, text=replace(info.text, heads=2))) == images_only
    assert keys(changed(loaded, text=replace(info.text, quick_gelu=False))) == images_only
    monkeypatch.setattr(encoder, "version", lambda name: "another")
    assert keys(tiny) == neither
    monkeypatch.undo()
    monkeypatch.setattr(encoder, "ENCODING", 2)
    assert keys(tiny) == neither
    monkeypatch.undo()
    tiny.device = torch.device("meta")
    assert keys(tiny) == neither


def test_other_pictures_and_other_texts_are_other_entries(tiny: Encoder) -> None:
    assert tiny.image_identity(Pictures()) != tiny.image_identity(Pictures(seed=1))
    assert tiny.text_identity(["a", "bc"]) != tiny.text_identity(["ab", "c"])
    tiny.images(Pictures(), BATCH, 0)
    tiny.images(Pictures(seed=1), BATCH, 0)
    assert tiny.encoded == 2 * COUNT


def test_other_heads_give_other_embeddings_from_an_entry_of_their_own(tmp_path: Path) -> None:
    """The weights are the same, so that a cache keyed by the file alone would give the wrong ones."""
    weights = makers.prefixed("visual.", makers.vit(64)) | makers.text(vocabulary=49408, joint=32)
    save_file(weights | makers.random({"image_projection": (64, 32)}), tmp_path / "slip.safetensors")
    made = []
    for heads in (2, 4):
        other = open_encoder(tmp_path / "slip.safetensors", None, heads, heads, None, CPU)
        made.append((other.images(Pictures(3), BATCH, 0), other.texts(["a dog."])))
    assert not close(made[0][0], made[1][0])
    assert not close(made[0][1], made[1][1])


def test_progress_is_told_of_every_picture_and_ends_at_all(tiny: Encoder) -> None:
    told: list[tuple[int, int]] = []
    tiny.encode_share(Pictures(), BATCH, 0, 0, 3, lambda done, total: told.append((done, total)))
    assert told == [(4, COUNT), (8, COUNT)]
    tiny.images(Pictures(), BATCH, 0, lambda done, total: told.append((done, total)))
    assert told[2] == (12, COUNT)
    assert told[-1] == (COUNT, COUNT)
    told.clear()
    tiny.images(Pictures(), BATCH, 0, lambda done, total: told.append((done, total)))
    assert told == [(COUNT, COUNT)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_picture_is_one_line_and_what_was_encoded_is_kept(tiny: Encoder, workers: int) -> None:
    with pytest.raises(DataError) as caught:
        tiny.images(Pictures(bad=20), BATCH, workers)
    assert str(caught.value) == "folder/20.jpg: cannot be decoded; put the original file in its place"
    before = tiny.encoded
    tiny.images(Pictures(), BATCH, workers)
    assert before < COUNT
    assert tiny.encoded == COUNT + 4  # of the part with the bad one, which is lost


def test_three_processes_share_and_each_picture_is_encoded_once(tiny: Encoder, expected: Rows, tmp_path: Path) -> None:
    def share(rank: int) -> None:
        (tmp_path / f"{rank}").write_text(f"{tiny.encode_share(SLOW, BATCH, 1, rank, 3)}")

    shares = [start(partial(share, rank)) for rank in range(3)]
    for each in shares:
        each.join(60)
    assert [(tmp_path / f"{rank}").read_text() for rank in range(3)] == ["8", "8", "5"]
    assert close(tiny.images(Pictures(), BATCH, 0), expected)
    assert tiny.encoded == 0


def test_killed_and_started_again_equals_an_uninterrupted_run(tiny: Encoder, tmp_path: Path, cached: Path) -> None:
    def run(file: Path) -> None:
        np.save(file, tiny.images(SLOW, BATCH, 1))
        file.with_suffix(".txt").write_text(f"{tiny.encoded}")

    start(partial(run, tmp_path / "whole.npy")).join(60)
    embeddings.clear()
    killed = start(partial(run, tmp_path / "killed.npy"))
    deadline = time.monotonic() + 60
    while not list(cached.glob("embeddings/*/0*.npy")):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    killed.kill()
    killed.join()
    start(partial(run, tmp_path / "again.npy")).join(60)
    assert 0 < int((tmp_path / "again.txt").read_text()) < COUNT
    assert not (tmp_path / "killed.npy").exists()
    assert np.array_equal(np.load(tmp_path / "again.npy"), np.load(tmp_path / "whole.npy"))


def test_texts_are_the_models_own_and_equal_ones_are_encoded_once(tiny: Encoder) -> None:
    told: list[tuple[int, int]] = []
    rows = tiny.texts(TEXTS, lambda done, total: told.append((done, total)), name="prompts")
    with torch.no_grad():
        expected = tiny.loaded.model.encode_text(get_tokenizer("ViT-B-16")(TEXTS)).numpy()
    assert close(rows, expected)
    assert told[-1] == (4, 4)
    (entry,) = entries()
    assert entry.count == 4
    assert entry.names == {"checkpoint": "tiny-random", "tower": "online", "kind": "texts", "data": "prompts"}


def test_texts_come_from_the_cache_in_any_order(tiny: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tiny.texts(TEXTS)

    def refuse(*_: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(encoder, "encode_texts", refuse)
    assert np.array_equal(tiny.texts(TEXTS[::-1]), rows[::-1])
    with pytest.raises(AssertionError, match="encoded again"):
        tiny.texts([*TEXTS, "one more"])


def test_texts_of_several_sets_are_encoded_together_and_then_looked_up(tiny: Encoder) -> None:
    rows = tiny.texts(TEXTS)
    told: list[tuple[int, int]] = []
    tiny.remember([*TEXTS, "a sign.", "a digit."])
    assert sorted(entry.count for entry in entries()) == [4, 6]
    assert close(tiny.texts(TEXTS[:3], lambda done, total: told.append((done, total))), rows[:3])
    assert told == [(2, 2)]
    assert tiny.texts(["a sign."]).shape == (1, 32)
    assert len(entries()) == 2
    tiny.texts(["something else."])
    assert len(entries()) == 3


def test_a_checkpoint_without_texts_says_so_when_asked_for_some(tmp_path: Path) -> None:
    save_file(makers.simclr(width=384), tmp_path / "simclr.safetensors")
    images_only = open_encoder(tmp_path / "simclr.safetensors", None, None, None, None, CPU)
    assert images_only.images(Pictures(2), BATCH, 0).shape == (2, 384)
    with pytest.raises(CheckpointError, match=r"simclr\.safetensors .*has no text side: only benchmarks of the image"):
        images_only.texts(["a dog."])


def test_one_checkpoint_is_read_once_for_many_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counting(path: Path, *options: Any, **more: Any) -> LoadedCheckpoint:
        read.append(path)
        return load_checkpoint(path, *options, **more)

    monkeypatch.setattr(encoder, "load_checkpoint", counting)
    file = shutil.copy(ensure_tiny(), tmp_path / "mine.safetensors")
    opened = [open_encoder(file, None, None, None, None, CPU) for _ in range(17)]
    assert len(read) == 1
    assert all(each is opened[0] for each in opened)
    open_encoder(file, "online", None, None, None, CPU)
    assert len(read) == 2
    open_encoder(file, None, None, None, None, CPU)
    os.utime(file, ns=(1, 1))
    open_encoder(file, None, None, None, None, CPU)
    assert len(read) == 4


def test_a_missing_checkpoint_is_the_loaders_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        open_encoder(tmp_path / "none.pt", None, None, None, None, CPU)
