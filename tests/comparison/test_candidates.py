"""What a user may call a checkpoint, and what is said when that is nothing or several things."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.comparison.candidates import find_candidates
from benchmarks.errors import OptionError
from benchmarks.records import Record
from tests.comparison.runs import fitting, hits

SAMPLES = hits([1, 0, 1])


def record(name: str, *, tower: str = "ema", benchmark: str = "zeroshot/dtd", **checkpoint: Any) -> Record:
    own = {"name": name, **checkpoint}
    return fitting(benchmark, SAMPLES, checkpoint=own, model_protocol={"tower": tower})


RECORDS = [
    record("slip", sha256="ab" * 32, row="SLIP@25"),
    record("slip", sha256="ab" * 32, row="SLIP@25", benchmark="zeroshot/sst2"),
    record("detail", sha256="cd" * 32, row="DetailCLIP@25", path="/weights/detail.pt"),
    record("detail", sha256="cd" * 32, row="DetailCLIP@25", tower="online"),
    record("detail-50", sha256="ef" * 32, row="DetailCLIP@50"),
    record("seed-a", sha256="11" * 32, row="MaskCLIP@25"),
    record("seed-b", sha256="22" * 32, row="MaskCLIP@25"),
    record("same", sha256="33" * 32),
    record("same", sha256="44" * 32),
]


@pytest.mark.parametrize(
    ("name", "found", "label"),
    [
        ("slip", [0, 1], "slip"),
        ("SLIP@25", [0, 1], "SLIP@25"),
        ("slip@25", [0, 1], "slip@25"),
        ("abab", [0, 1], "slip (abababab)"),
        ("ab" * 32, [0, 1], "slip (abababab)"),
        ("/weights/detail-50.pt", [4], "detail-50 (efefefef)"),
        ("detail:online", [3], "detail:online"),
        ("DetailCLIP@25:ema", [2], "DetailCLIP@25:ema"),
        ("maskclip", [5, 6], "maskclip"),
        ("3333", [7], "same (33333333)"),
    ],
)
def test_names_rows_paths_and_digests(name: str, found: list[int], label: str) -> None:
    candidate = find_candidates([name, "seed-b" if name != "maskclip" else "slip"], RECORDS)[0]
    assert [RECORDS.index(one) for one in candidate.records] == found
    assert candidate.label == label


def test_a_relative_path_means_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = record("own", path=str(tmp_path / "deep" / "own.pt"))
    assert find_candidates(["deep/own.pt", "slip"], [*RECORDS, here])[0].records == (here,)


def test_several_files_of_one_row_are_seeds_of_its_training() -> None:
    assert find_candidates(["slip", "MaskCLIP@25"], RECORDS)[1].files == ("11" * 32, "22" * 32)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["slip"], "name two checkpoints or more"),
        (["slip", "slap"], "slap: no checkpoint, row, path or sha256 .* did you mean slip"),
        (["slip", "SLIP@100"], "did you mean .*SLIP@25"),
        (["slip", "zzzzzzzz"], "there are slip, SLIP@25, detail"),
        (["slip", "detail"], "detail: was run with several towers; say detail:ema or detail:online"),
        (["slip", "detail:both"], "detail:both: no checkpoint.*TOWER may be ema, online"),
        (["slip", "DetailCLIP"], r"2 rows: say DetailCLIP@25 or DetailCLIP@50"),
        (["slip", "same"], "2 files of that name: say 333333333333 or 444444444444"),
        (["slip", "SLIP@25"], "slip and SLIP@25 are the same checkpoint"),
        (["seed-a", "MaskCLIP@25"], "are the same checkpoint"),
        (["slip", "aba"], "aba: no checkpoint"),
    ],
)
def test_what_is_unclear_is_one_line_with_a_remedy(names: list[str], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        find_candidates(names, RECORDS)
    assert "\n" not in str(caught.value)


def test_without_records_the_way_to_some_is_told() -> None:
    with pytest.raises(OptionError, match="no records to compare; `bench run` makes them"):
        find_candidates(["a", "b"], [])


@pytest.mark.parametrize("name", ["../../etc", "<script>", "x" * 3000, "", ":", "a\n\x1b[31mb", "…"])
def test_hostile_names_are_names(name: str) -> None:
    hostile = record(name, sha256="99" * 32)
    found = find_candidates([name, "slip"], [*RECORDS, hostile])[0]
    assert found.records == (hostile,)
    assert len(found.label) <= 60
    assert found.label.isprintable()
