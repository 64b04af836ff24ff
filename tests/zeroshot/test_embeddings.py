"""The cache of embeddings: computed once, whole or absent, right whoever else writes, and nothing else is touched."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.errors import DataError
from benchmarks.files import write_text
from benchmarks.zeroshot.embeddings import EmbeddingStore, Rows, clear, entries, key_of

IDENTITY = {"checkpoint": "c" * 64, "tower": "ema", "images": "f" * 64, "sizes": [1, 2.5, None]}
NAMES = {"checkpoint": "x", "data": "y"}
COUNT, PART = 70, 16

WORKER = """
import sys, time
import numpy as np
from benchmarks.zeroshot.embeddings import EmbeddingStore
from tests.zeroshot.test_embeddings import COUNT, IDENTITY, NAMES, PART, rows_of

def encode(parts):
    for part in parts:
        print("part", flush=True)
        time.sleep(float(sys.argv[1]))
        yield part, rows_of(part)

rows = EmbeddingStore(IDENTITY, NAMES, COUNT, PART).load(encode)
print("right" if np.array_equal(rows, rows_of(range(COUNT))) else "wrong")
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's own folder inside a cache folder that nobody else uses."""
    monkeypatch.setenv("DETAILCLIP_BENCH_CACHE", str(tmp_path))
    return tmp_path / "embeddings"


def rows_of(part: range) -> Rows:
    """Rows that tell their number."""
    numbers = np.array(part, dtype=np.float32)[:, None]
    return numbers + np.array([[0.25, 0.5, -3.0]], dtype=np.float32)


class Encoding:
    """Makes rows, and remembers which it was asked for."""

    def __init__(self) -> None:
        self.asked: list[range] = []

    def __call__(self, parts: Iterator[range]) -> Iterator[tuple[range, Rows]]:
        for part in parts:
            self.asked.append(part)
            yield part, rows_of(part)

    @property
    def numbers(self) -> list[int]:
        return sorted(number for part in self.asked for number in part)


def store(part: int = PART, **changes: Any) -> EmbeddingStore:
    return EmbeddingStore(IDENTITY | changes, NAMES, COUNT, part)


def filled() -> EmbeddingStore:
    made = store()
    made.load(Encoding())
    return made


def test_rows_are_computed_once_and_come_back_as_they_were(root: Path) -> None:
    first, second = Encoding(), Encoding()
    rows = store().load(first)
    assert np.array_equal(rows, rows_of(range(COUNT)))
    assert rows.dtype == np.float32
    assert first.numbers == list(range(COUNT))
    assert max(map(len, first.asked)) == PART
    assert np.array_equal(store().load(second), rows)
    assert second.asked == []
    assert sorted(file.name for file in (root / store().key).iterdir()) == [".lock", "embeddings.npy", "meta.json"]


def test_the_array_is_mapped_and_cannot_be_written_to() -> None:
    rows = filled().load(Encoding())
    assert isinstance(rows, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        rows[0] = 1


def test_the_file_can_be_read_without_pickle_by_anyone() -> None:
    file = filled().folder / "embeddings.npy"
    assert np.array_equal(np.load(file, allow_pickle=False), rows_of(range(COUNT)))


@pytest.mark.parametrize(
    "change", [{"checkpoint": "d" * 64}, {"tower": "online"}, {"images": "0" * 64}, {"sizes": [1]}]
)
def test_another_identity_is_another_entry(change: dict[str, Any]) -> None:
    filled()
    other = Encoding()
    store(**change).load(other)
    assert other.numbers == list(range(COUNT))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=30)
@given(st.dictionaries(st.text(), values))
def test_the_key_is_the_identitys_whatever_its_order(identity: dict[str, Any]) -> None:
    key = key_of(identity)
    assert key_of(dict(reversed(identity.items()))) == key
    assert key_of(json.loads(json.dumps(identity))) == key
    assert key_of(identity | {"one more": 1}) != key


@settings(max_examples=12)
@given(count=st.integers(1, 60), part=st.integers(1, 20), world=st.integers(1, 5))
def test_the_shares_of_all_processes_are_every_row_once(count: int, part: int, world: int) -> None:
    asked = Encoding()
    clear()
    for rank in range(world):
        EmbeddingStore(IDENTITY, NAMES, count, part).encode_share(asked, rank, world)
    assert asked.numbers == list(range(count))
    late = Encoding()
    rows = EmbeddingStore(IDENTITY, NAMES, count, part).load(late)
    assert late.asked == []
    assert np.array_equal(rows, rows_of(range(count)))


def test_a_share_tells_how_many_it_encoded_and_what_is_left() -> None:
    assert store().missing() == COUNT
    assert store().encode_share(Encoding(), 1, 3) == 2 * PART - (5 * PART - COUNT)  # parts 1 and 4, the last one short
    assert store().missing() == 3 * PART
    assert store().encode_share(Encoding(), 1, 3) == 0
    store().load(Encoding())
    assert store().missing() == 0
    assert store().encode_share(Encoding(), 0, 1) == 0


def start(pause: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WORKER, str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.005)


def test_killed_in_the_middle_then_again_equals_an_uninterrupted_run() -> None:
    uninterrupted = (filled().folder / "embeddings.npy").read_bytes()
    clear()
    process = start(0.1)
    wait_for(lambda: len(list(store().folder.glob("0*.npy"))) >= 2)  # not unfinished ones, which begin with a dot
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    kept = COUNT - store().missing()
    assert PART <= kept < COUNT
    rest = Encoding()
    rows = store().load(rest)
    assert len(rest.numbers) == COUNT - kept
    assert np.array_equal(rows, rows_of(range(COUNT)))
    assert (store().folder / "embeddings.npy").read_bytes() == uninterrupted


def test_two_processes_at_once_are_both_right() -> None:
    processes = [start(0.05) for _ in range(2)]
    said = [process.communicate(timeout=100)[0].split() for process in processes]
    assert [words[-1] for words in said] == ["right", "right"]
    late = Encoding()
    store().load(late)
    assert late.asked == []
    assert len(list(store().folder.glob("*.npy"))) == 1


def test_a_part_that_appears_meanwhile_is_not_made_again() -> None:
    """Asked for, but not yet reached: another process was faster."""
    mine = Encoding()
    theirs = Encoding()

    def slow(parts: Iterator[range]) -> Iterator[tuple[range, Rows]]:
        for number, made in enumerate(mine(parts)):
            yield made
            if number == 0:
                store().encode_share(theirs)

    assert np.array_equal(store().load(slow), rows_of(range(COUNT)))
    assert sorted(mine.numbers + theirs.numbers) == list(range(COUNT))


def test_a_part_that_two_processes_made_is_used_once() -> None:
    def both(parts: Iterator[range]) -> Iterator[tuple[range, Rows]]:
        for part in parts:
            theirs = lambda _, part=part: iter([(part, rows_of(part) + np.float32(1e-6))])  # noqa: E731
            store().encode_share(theirs)
            yield part, rows_of(part)

    rows = store().load(both)
    assert rows.shape == (COUNT, 3)
    assert np.allclose(rows, rows_of(range(COUNT)), atol=1e-5)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def rubbish(file: Path) -> None:
    file.write_bytes(b"{}")


@pytest.mark.parametrize("damage", [truncate, flip, rubbish, Path.unlink])
@pytest.mark.parametrize("name", ["embeddings.npy", "meta.json"])
def test_damage_is_noticed_and_everything_made_anew(name: str, damage: Callable[[Path], object]) -> None:
    damage(filled().folder / name)
    again = Encoding()
    assert np.array_equal(store().load(again), rows_of(range(COUNT)))
    assert again.numbers == list(range(COUNT))
    assert store().read() is not None


def test_a_whole_array_that_is_not_the_one_written_is_damage_too() -> None:
    np.save(filled().folder / "embeddings.npy", rows_of(range(COUNT)) + 1)
    assert np.array_equal(store().load(Encoding()), rows_of(range(COUNT)))


def test_the_notes_of_another_entry_do_not_count() -> None:
    other = store(tower="online")
    other.load(Encoding())
    write_text(store().folder / "meta.json", (other.folder / "meta.json").read_text())
    assert store().read() is None


@pytest.mark.parametrize("damage", [truncate, flip])
def test_a_damaged_part_is_made_anew_and_no_other(damage: Callable[[Path], None]) -> None:
    store().encode_share(Encoding())
    damage(next(store().folder.glob("00000016-00000032-*.npy")))
    again = Encoding()
    assert np.array_equal(store().load(again), rows_of(range(COUNT)))
    assert again.asked == [range(16, 32)]


def test_parts_of_another_size_do_not_disturb() -> None:
    """The size of parts may change between versions of this package."""
    store(part=10).encode_share(Encoding(), 0, 2)
    assert np.array_equal(store().load(Encoding()), rows_of(range(COUNT)))


@pytest.fixture
def no_large_files() -> Iterator[None]:
    """Every write beyond 1500 bytes fails, as on a full disk: after a part of it was done."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("count", "size"), [(300, 200), (300, 100)], ids=["at a part", "at the whole"])
@pytest.mark.usefixtures("no_large_files")
def test_a_full_disk_is_one_line_and_leaves_nothing_half(count: int, size: int) -> None:
    full = EmbeddingStore(IDENTITY, NAMES, count, size)
    with pytest.raises(
        DataError, match=r"cannot be kept there \(File too large\); free some space, or point"
    ) as caught:
        full.load(Encoding())
    assert "\n" not in str(caught.value)
    assert not list(full.folder.glob(".tmp-*"))
    assert full.read() is None
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))  # space was freed
    assert np.array_equal(full.load(Encoding()), rows_of(range(count)))


def test_a_cache_folder_that_is_none_is_one_line(root: Path) -> None:
    root.write_text("a file")
    with pytest.raises(DataError, match="cannot be kept there"):
        store().load(Encoding())


def test_the_listing_tells_what_how_much_and_when() -> None:
    assert entries() == []
    filled()
    store(tower="online").encode_share(Encoding(), 0, 2)
    begun = {entry.key: entry for entry in entries()}
    whole, half = begun[store().key], begun[store(tower="online").key]
    assert (whole.names, whole.count, whole.finished) == (NAMES, COUNT, True)
    assert (half.names, half.count, half.finished) == (NAMES, COUNT, False)
    assert whole.size > COUNT * 3 * 4
    assert whole.created is not None
    assert abs(whole.created.timestamp() - time.time()) < 120


def test_an_entry_with_damaged_notes_is_listed_and_can_be_cleared() -> None:
    rubbish(filled().folder / "meta.json")
    (entry,) = entries()
    assert (entry.names, entry.finished, entry.created) == ({}, False, None)
    assert clear([entry.key]) == entry.size
    assert entries() == []


def test_clearing_removes_entries_and_nothing_else(root: Path) -> None:
    filled()
    store(tower="online").load(Encoding())
    strangers = [root.parent / "tiny.safetensors", root / "notes.txt", root / ("a" * 63) / "x", root / "verified" / "y"]
    for stranger in strangers:
        write_text(stranger, "mine")
    outside = root.parent / "outside"
    write_text(outside / "kept.npy", "mine")
    (root / ("b" * 64)).symlink_to(outside, target_is_directory=True)
    (root / ".tmp-killed" / ("c" * 64)).mkdir(parents=True)
    sizes = {entry.key: entry.size for entry in entries()}

    assert clear(["0" * 64]) == 0
    assert clear([store().key]) == sizes[store().key]
    assert store().key not in {entry.key for entry in entries()}
    clear()
    assert entries() == []
    assert all(stranger.read_text() == "mine" for stranger in [*strangers, outside / "kept.npy"])
    assert not list(root.glob(".tmp-*"))


def test_who_has_an_array_mapped_keeps_it_when_it_is_cleared() -> None:
    rows = filled().load(Encoding())
    digest = hashlib.sha256(rows.tobytes()).hexdigest()
    assert clear() > 0
    assert hashlib.sha256(rows.tobytes()).hexdigest() == digest
