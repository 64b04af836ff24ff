"""The registry knows every data set of the suite, and tells from folder listings alone how much of it is there."""

import builtins
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.data.catalogue import DATA_SETS, find, used_by
from benchmarks.data.classification.registry import CLASSIFICATION
from benchmarks.data.presence import Presence, count_pictures
from benchmarks.data.retrieval import RETRIEVAL
from benchmarks.data.root import SAMPLE_MARKER
from benchmarks.errors import OptionError
from benchmarks.suite import BENCHMARKS

PRESENCE = {name: declared.presence for name, declared in CLASSIFICATION.items()}
PRESENCE |= {name: declared.presence for name, declared in RETRIEVAL.items()}


def touch(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def test_every_data_set_of_the_suite_and_of_the_registries_is_known() -> None:
    assert set(DATA_SETS) == {"ade20k", "coco-instances", *CLASSIFICATION, *RETRIEVAL}
    assert {benchmark.dataset for benchmark in BENCHMARKS} <= set(DATA_SETS)


@pytest.mark.parametrize("name", DATA_SETS)
def test_each_can_be_shown(name: str) -> None:
    data_set = find(name)
    assert data_set.name == name
    for text in (data_set.title, data_set.layout, data_set.licence, data_set.homepage):
        assert text
        assert "\n" not in text
    assert set(data_set.checked) <= set(data_set.splits)


def test_benchmarks_of_a_data_set() -> None:
    assert used_by("ade20k") == ("ade20k-upernet", "ade20k-linear", "ade20k-linear-finetune")
    assert used_by("mnist") == ("zeroshot/mnist",)


@pytest.mark.parametrize(("asked", "named"), [("flowers102", "did you mean flowers"), ("qqqq", "there are ade20k")])
def test_unknown_name(asked: str, named: str) -> None:
    with pytest.raises(OptionError, match=named):
        find(asked)


# States


@pytest.mark.parametrize("name", DATA_SETS)
def test_nothing_is_absent(tmp_path: Path, name: str) -> None:
    assert find(name).state(tmp_path) == "absent"
    (tmp_path / name).mkdir()
    assert find(name).state(tmp_path) == "absent"
    assert find(name).state(tmp_path / "nowhere") == "absent"


@pytest.mark.parametrize("name", PRESENCE)
def test_partial_until_every_needed_file_is_there(tmp_path: Path, name: str) -> None:
    presence = Presence(PRESENCE[name].needed, dict.fromkeys(PRESENCE[name].pictures, 1))
    paths = [places.partition("|")[0].replace("*", "x.csv") for places in presence.needed]
    paths += [f"{places.partition('|')[0]}/deep/x.png" for places in presence.pictures]
    for path in paths:
        state = presence.state(tmp_path, name)
        assert state.startswith("partial") or (path == paths[0] and state == "absent"), state
        touch(tmp_path / name, path)
    assert presence.state(tmp_path, name) == "complete"
    (tmp_path / SAMPLE_MARKER).touch()
    assert presence.state(tmp_path, name) == "sample"


def test_partial_says_how_much(tmp_path: Path) -> None:
    touch(tmp_path / "imagenet", "val/n01440764/1.JPEG", "val/n01443537/2.JPEG")
    assert find("imagenet").state(tmp_path) == "partial 2/50000"
    touch(tmp_path / "coco", "annotations/dataset_coco.json")
    assert find("coco").state(tmp_path) == "partial 0/40504"
    touch(tmp_path / "coco", "val2017/1.jpg")
    assert find("coco").state(tmp_path) == "partial val2017 1/5000, train2017 0/118287"
    touch(tmp_path / "gtsrb", "gtsrb/GTSRB/Final_Test/Images/00000.ppm")
    assert find("gtsrb").state(tmp_path) == "partial 1/12630, no gtsrb/GT-final_test.csv"


def test_either_of_two_places_will_do(tmp_path: Path) -> None:
    presence = Presence(("a/list.txt|b/list.txt",), {"a/images|b/images": 1})
    touch(tmp_path / "x", "b/list.txt", "b/images/1.jpg")
    assert presence.state(tmp_path, "x") == "complete"


@given(
    tree=st.dictionaries(
        st.lists(st.sampled_from(["a", "b", ".h"]), max_size=3).map(tuple),
        st.sets(st.sampled_from(["1.jpg", "2.PNG", "._1.jpg", "list.txt", "no_suffix", "3.JPEG"])),
        max_size=5,
    )
)
def test_pictures_are_counted_at_any_depth(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[tuple[str, ...], set[str]]
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    expected = 0
    for parts, names in tree.items():
        for name in names:
            touch(folder, "/".join((*parts, name)))
        if ".h" not in parts:
            expected += len(names & {"1.jpg", "2.PNG", "3.JPEG"})
    assert count_pictures(folder) == expected


def test_no_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, presence in PRESENCE.items():
        for places in presence.needed:
            touch(tmp_path / name, places.partition("|")[0].replace("*", "x.csv"))

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("opened")

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    assert [find(name).state(tmp_path) for name in DATA_SETS]


@pytest.mark.slow
def test_twenty_thousand_pictures_are_counted_in_a_fraction_of_a_second(tmp_path: Path) -> None:
    for letter in range(200):
        folder = tmp_path / "sun397" / "SUN397" / "a" / str(letter)
        folder.mkdir(parents=True)
        for index in range(100):
            os.close(os.open(folder / f"sun_{index}.jpg", os.O_CREAT))
    started = time.process_time()
    assert find("sun397").state(tmp_path).startswith("partial 20000/108754")
    assert time.process_time() - started < 0.08  # a busy machine is slower


def test_registry_loads_nothing_heavy() -> None:
    """``bench list`` asks it, and must answer at once."""
    code = "import json, sys; import benchmarks.data.catalogue; print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    loaded = set(json.loads(printed))
    heavy = {"torch", "torchvision", "numpy", "pandas", "scipy", "h5py", "open_clip", "PIL", "pydantic", "ssl"}
    assert not loaded & heavy


def test_page_for_users_names_every_data_set_and_where_it_comes_from() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "data.md").read_text(encoding="utf-8")
    for name, data_set in DATA_SETS.items():
        assert f"`{name}`" in page
        assert data_set.homepage in page
        assert data_set.layout in page
