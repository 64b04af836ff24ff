"""`bench data`: what is there, what is in it, how to get it."""

from pathlib import Path

import pytest

from benchmarks.data.sample import generate
from tests.command_line import Bench, assert_one_line


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "root"
    generate(folder, train=1, validation=1, pairs=13, held_out=1, views=10, described=3)
    return folder


def test_list_shows_the_state_of_every_set(bench: Bench, root: Path) -> None:
    code, out, _ = bench("data", "list", "--data-root", str(root))
    assert code == 0
    for name in ("ade20k", "pets", "pcam", "flickr30k", "food101"):
        assert name in out
    assert "sample" in out
    assert "absent" in out


def test_check_looks_into_a_set(bench: Bench, root: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.txt"
    code, out, _ = bench("data", "check", "sst2", "--data-root", str(root), "--classes", "--manifest", str(manifest))
    assert code == 0
    for text in ("sst2 test: 10 of 10 pictures, all readable", "class order (2)", "duplicates: none", "negative"):
        assert text in out
    assert len(manifest.read_text().splitlines()) >= 10
    fast = bench("data", "check", "sst2", "--data-root", str(root), "--fast")
    assert fast[0] == 0
    assert "all readable" not in fast[1]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("check", "sst3"), ("sst3", "sst2")),
        (("check", "sst2", "--split", "train"), ("train",)),
        (("check", "food101"), ("the generated data have no food101",)),
        (("prepare", "sst3"), ("sst3",)),
        (("prepare", "sst2"), ("generated data",)),
    ],
)
def test_what_cannot_be_done_is_one_line(
    bench: Bench, root: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    assert_one_line(bench("data", *arguments, "--data-root", str(root)), *parts)


def test_prepare_says_how_to_get_what_cannot_be_fetched(bench: Bench, tmp_path: Path) -> None:
    code, _, err = bench("data", "prepare", "cars", "--data-root", str(tmp_path / "data"))
    assert code == 2
    assert "cars, by hand:" in err
    assert err.splitlines()[-1].startswith("error:")
