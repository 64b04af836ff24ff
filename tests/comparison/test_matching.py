"""Only runs of one protocol on one set of samples are compared; everything else is named."""

from datetime import UTC, datetime
from typing import Any

import pytest

from benchmarks.comparison.candidates import Candidate
from benchmarks.comparison.matching import match, own_differences
from benchmarks.errors import RecordError
from benchmarks.records import Record
from tests.comparison.runs import fitting, hits

SAMPLES = hits([1, 0, 1])
PROTOCOL = {"data": "dtd", "prompts": {"templates": 7, "digest": "aa"}, "crop": 224}


def run(name: str, day: int = 1, **changes: Any) -> Record:
    fields: dict[str, Any] = {"protocol": PROTOCOL, "started": datetime(2026, 1, day, tzinfo=UTC)} | changes
    return fitting("zeroshot/dtd", SAMPLES, checkpoint={"name": name} | fields.pop("checkpoint", {}), **fields)


def sides(one: list[Record], two: list[Record]) -> tuple[Candidate, Candidate]:
    return Candidate("one", tuple(one)), Candidate("two", tuple(two))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": PROTOCOL | {"crop": 256}}, r"not comparable: protocol\.crop: 224 against 256$"),
        (
            {"protocol": {**PROTOCOL, "prompts": {"templates": 1, "digest": "bb"}}},
            r'protocol\.prompts\.templates: 7 against 1; protocol\.prompts\.digest: "aa" against "bb"',
        ),
        ({"protocol": {**PROTOCOL, "new": None}}, r"protocol\.new: - against null"),
        ({"protocol": {**PROTOCOL, "\u202enew": "\x9b31m"}}, 'protocol\\.\ufffdnew: - against "\ufffd31m"'),
        ({"protocol": PROTOCOL | {"crop": 224.0}}, r"protocol\.crop: 224 against 224\.0"),
        ({"data": {"fingerprint": "e" * 64}}, r'data\.fingerprint: "dddddddddddd" against "eeeeeeeeeeee"'),
        (
            {"counts": {"expected": 2, "scored": 2}, "status": "limited"},
            r'images: 3 against 2; status: "full" against "limited"',
        ),
    ],
)
def test_what_differs_is_named_with_both_values(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        match("zeroshot/dtd", *sides([run("a")], [run("b", **change)]))
    assert str(caught.value).startswith("zeroshot/dtd: ")


def test_the_settings_that_differ_least_are_named_and_many_fields_are_cut() -> None:
    far = run("b", protocol=dict.fromkeys("abcdefghijk", 1))
    near = run("b", protocol=PROTOCOL | {"crop": 1})
    with pytest.raises(RecordError, match=r"protocol\.crop: 224 against 1$"):
        match("zeroshot/dtd", *sides([run("a")], [far, near]))
    with pytest.raises(RecordError, match=r"; and \d+ more$"):
        match("zeroshot/dtd", *sides([run("a")], [far]))


def test_the_checkpoints_own_settings_may_differ_and_are_told() -> None:
    one = run("a", model_protocol={"tower": "ema", "architecture": {"width": 768}})
    two = run("b", model_protocol={"tower": "online", "architecture": {"width": 384}, "prompts": {}}, precision="bf16")
    matched = match("zeroshot/dtd", *sides([one], [two]))
    assert (matched.baseline, matched.other) == (((one,),), ((two,),))
    assert own_differences(one, two) == {
        "tower": ('"ema"', '"online"'),
        "architecture.width": ("768", "384"),
        "prompts": ("-", "{}"),
        "precision": ('"fp32"', '"bf16"'),
    }
    assert own_differences(one, one) == {}


def test_of_several_common_settings_the_full_one_is_taken_and_that_is_said() -> None:
    quick = {"protocol": PROTOCOL | {"crop": 32}, "status": "quick"}
    one, two = ([run(name), run(name, 2, **quick)] for name in "ab")
    matched = match("zeroshot/dtd", *sides(one, two))
    assert matched.baseline == ((one[0],),)
    assert "2 settings in common; compared are the full runs" in matched.notes[0]
    assert match("zeroshot/dtd", *sides(one, two[1:])).other == ((two[1],),)


def test_runs_that_differ_in_the_seed_alone_are_seeds() -> None:
    seeds = [run("a", seed=seed) for seed in (2, 0, 1)]
    matched = match("zeroshot/dtd", *sides(seeds, [run("b")]))
    assert [[record.seed for record in unit] for unit in matched.baseline] == [[0], [1], [2]]
    assert matched.notes == ()


def test_the_newest_of_a_checkpoints_own_settings_counts() -> None:
    old, new = run("a", 1, precision="fp32"), run("a", 2, precision="bf16")
    matched = match("zeroshot/dtd", *sides([new, old], [run("b")]))
    assert matched.baseline == ((new,),)
    assert "one has 1 more with other settings" in matched.notes[0]


def test_checkpoints_of_one_row_are_its_seeds_and_their_runs_are_averaged() -> None:
    row = {"row": "SLIP@25"}
    runs = [run(name, seed=seed, checkpoint=row) for name in ("a", "b") for seed in (0, 1)]
    matched = match("zeroshot/dtd", *sides(runs, [run("c")]))
    assert sorted(len(unit) for unit in matched.baseline) == [2, 2]
    assert all(len({record.checkpoint.sha256 for record in unit}) == 1 for unit in matched.baseline)


def test_one_file_under_two_names_is_one_seed() -> None:
    both = [run(name, day, checkpoint={"sha256": "7" * 64}) for day, name in ((1, "a"), (2, "b"))]
    assert match("zeroshot/dtd", *sides(both, [run("c")])).baseline == ((both[1],),)
