"""`bench cache`: what is kept is shown, and removed when that is asked for, and only then."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.zeroshot.embeddings import EmbeddingStore, entries
from tests.command_line import Bench, assert_one_line


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Two kept embeddings in a cache folder of their own; their keys."""
    monkeypatch.setenv("DETAILCLIP_BENCH_CACHE", str(tmp_path / "cache"))
    for name in ("one", "two"):
        names = {"checkpoint": name, "tower": "ema", "kind": "images", "data": "mnist"}
        store = EmbeddingStore({"name": name}, names, 3)
        store.load(lambda parts: ((part, np.ones((len(part), 4), np.float32)) for part in parts))
    return [entry.key for entry in entries()]


def test_list_shows_what_is_kept(bench: Bench, kept: list[str]) -> None:
    code, out, _ = bench("cache", "list")
    assert code == 0
    for text in ("Kept embeddings: 2", "one", "two", "mnist", *(key[:12] for key in kept)):
        assert text in out


def test_clear_removes_what_is_named(bench: Bench, kept: list[str]) -> None:
    code, _, err = bench("cache", "clear", kept[0][:12])
    assert (code, err.split()[0]) == (0, "1")
    assert [entry.key for entry in entries()] == kept[1:]
    assert bench("cache", "clear", "--all")[0] == 0
    assert entries() == []


@pytest.mark.parametrize("arguments", [(), ("--all", "abc")])
def test_clear_must_be_told_what(bench: Bench, arguments: tuple[str, ...]) -> None:
    assert_one_line(bench("cache", "clear", *arguments), "--all")
    assert len(entries()) == 2


def test_an_unknown_key_removes_nothing(bench: Bench, kept: list[str]) -> None:
    assert_one_line(bench("cache", "clear", kept[0], "zzz"), "zzz")
    assert len(entries()) == 2
