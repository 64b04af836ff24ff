"""What enters a table, which row it fills, and what is computed of it."""

import itertools
from math import sqrt
from statistics import fmean, stdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.errors import OptionError, RecordError
from benchmarks.records import Record
from benchmarks.tables import build, render
from tests.tables.parsed import markdown_tables
from tests.tables.runs import DEFAULTS, imagenet, interval, own_rows, read_csv, row_of, run, table3

# ---- what enters a table


def test_a_full_run_stands_beside_the_value_of_the_row_it_names() -> None:
    table = build(1, [run("slip@25")], DEFAULTS)
    (entry,) = row_of(table, method="SLIP").entries
    cell = entry.cells["ade20k_upernet"]
    assert (cell.value, cell.low, cell.high, cell.seeds, cell.spread) == (46.31, 45.31, 47.31, 1, None)
    assert (cell.difference, cell.difference_low, cell.difference_high) == pytest.approx((-0.29, -1.29, 0.71))
    assert entry.views == 2 * 25 * 14_689_580
    assert sum(len(row.entries) for row in table.rows) == 1
    assert table.other == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "sample", "counts": {"expected": 8, "scored": 8}}, "sample"),
        ({"status": "quick"}, "quick"),
        ({"status": "limited", "counts": {"expected": 8, "scored": 8}}, "limited"),
        ({"status": "partial", "counts": {"expected": 20, "scored": 20}}, "partial"),
        ({"protocol": {"crop": 640}}, "other protocol"),
        ({"status": "quick", "protocol": {"crop": 640}}, "quick, other protocol"),
        ({"benchmark": "ade20k-linear-finetune"}, "fills no column"),
    ],
    ids=str,
)
def test_whatever_is_not_comparable_is_listed_apart_with_its_reason(change: dict[str, Any], reason: str) -> None:
    """The most important rule of the tables: such a value never stands beside the paper's."""
    record = run(value=99.5, **change)
    table = build(1, [record], DEFAULTS)
    assert all(not row.entries for row in table.rows)
    (other,) = table.other
    assert (other.reason, other.status, other.measured.value) == (reason, record.status, 99.5)
    for form in ("text", "markdown", "latex", "html"):
        above, below = render(table, form).split("Other runs (not comparable with the paper)")
        assert "99.50" not in above
        assert "99.50" in below
        assert f"{record.counts.scored} of 2000" in below
    assert {line["section"] for line in read_csv(table) if line["ours"]} == {"other"}


def test_without_a_default_fingerprint_nothing_is_comparable() -> None:
    assert [other.reason for other in build(1, [run()], {}).other] == ["other protocol"]


def test_records_of_other_tables_and_of_unknown_benchmarks_are_left_out() -> None:
    records = [run(benchmark="flickr8k-retrieval", metric="i2t_r1"), run(benchmark="of-the-future")]
    table = build(1, records, DEFAULTS)
    assert not table.other
    assert not own_rows(table)


def test_a_fine_tuned_linear_run_never_fills_the_frozen_column() -> None:
    records = [run(benchmark="ade20k-linear", value=36.0), run(benchmark="ade20k-linear-finetune", value=44.0)]
    table = build(1, records, DEFAULTS)
    (entry,) = row_of(table, method="SLIP").entries
    assert {name: cell.value for name, cell in entry.cells.items()} == {"ade20k_linear": 36.0}
    assert [other.benchmark for other in table.other] == ["ade20k-linear-finetune"]


def test_a_benchmark_can_fill_two_columns_and_needs_both_metrics() -> None:
    both = interval("AP_box", 44) | interval("AP_mask", 40)
    table = build(1, [run(benchmark="coco-cascade", metrics=both)], DEFAULTS)
    (entry,) = row_of(table, method="SLIP").entries
    assert {name: cell.value for name, cell in entry.cells.items()} == {"coco_ap_box": 44, "coco_ap_mask": 40}
    with pytest.raises(RecordError, match=r"run\d+ has no metric AP_mask.*--existing overwrite"):
        build(1, [run(benchmark="coco-cascade", metric="AP_box")], DEFAULTS)


def test_a_table_that_the_paper_does_not_have_is_an_option_error() -> None:
    with pytest.raises(OptionError, match="no table 5: choose one of 1, 2, 3, 4"):
        build(5, [], {})


# ---- which row


@pytest.mark.parametrize(
    ("row", "labels"),
    [
        ("detailclip@50", {"method": "DetailCLIP", "epochs": "50"}),
        ("CLIP", {"method": "CLIP"}),
        ("dino", {"method": "DINO"}),
        ("A-clip@25", {"method": "A-CLIP"}),
    ],
)
def test_a_row_is_found_by_method_and_epochs_without_regard_to_case(row: str, labels: dict[str, str]) -> None:
    table = build(1, [run(row)], DEFAULTS)
    assert len(row_of(table, **labels).entries) == 1
    assert not own_rows(table)


@pytest.mark.parametrize(
    ("row", "note"),
    [
        (None, None),
        ("SLIP@50", "its row SLIP@50 is none of this table"),
        ("CLIP@25", "its row CLIP@25 is none of this table"),
        ("DetailCLIP", "its row DetailCLIP could be DetailCLIP@25 or DetailCLIP@50"),
        ("MyMethod@25", "its row MyMethod@25 is none of this table"),
    ],
)
def test_anything_else_gets_a_row_of_its_own_without_a_paper_value(row: str | None, note: str | None) -> None:
    """Nothing is guessed: the 400M CLIP of Table 1 is not a 25-epoch CLIP, and DetailCLIP has two rows."""
    table = build(1, [run(row), run(row, benchmark="ade20k-linear", value=30)], DEFAULTS)
    (own,) = own_rows(table)
    (entry,) = own.entries
    assert set(entry.cells) == {"ade20k_upernet", "ade20k_linear"}
    assert all(cell.difference is None and cell.difference_low is None for cell in entry.cells.values())
    assert [found for found in table.footnotes if "row of its own" in found] == (
        [f"Checkpoint slip: {note}; it stands in a row of its own."] if note else []
    )
    lines = render(table, "text").splitlines()
    (line,) = (line for line in lines if "slip (online)" in line and "30.00" in line)
    assert line.split()[:4] == ["own", "row", "slip", "–"]  # not blank, as if it belonged to the row above


def test_a_run_that_is_not_comparable_leaves_no_row_and_no_note_behind() -> None:
    table = build(1, [run("SLIP@50", status="quick")], DEFAULTS)
    assert not own_rows(table)
    assert table.footnotes == build(1, [], {}).footnotes


# ---- Table 4


def alphas(cls: object, patch: object, reconstruction: object) -> dict[str, Any]:
    """The training record of `bench pretrain`, as far as it matters here."""
    weights = {"alpha_cls": cls, "alpha_patch": patch, "alpha_reconstruction": reconstruction}
    return {"method": "detailclip", "epochs": 25, "alphas": weights}


FIVE = ((1.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1, 1, 2), (0.5, 0.5, 0.5), (0, 0, 1.0))


def test_five_runs_fill_table_4_by_the_weights_in_their_training_records() -> None:
    records = [
        imagenet("DetailCLIP@25", 40.0 + at, name=f"run-{at}", training=alphas(*weights))
        for at, weights in enumerate(FIVE)
    ]
    table = build(4, records, DEFAULTS)
    assert [[entry.checkpoint for entry in row.entries] for row in table.rows] == [[f"run-{at}"] for at in range(5)]
    differences = [row.entries[0].cells["acc"].difference for row in table.rows]
    assert differences == pytest.approx([-3.9, -1.9, -1.2, -0.3, 1.4])
    assert sum("by its training record" in note for note in table.footnotes) == 4  # all but the one named rightly


def test_table_4_is_filled_by_name_and_its_first_row_also_by_detailclip_25() -> None:
    records = [
        imagenet(row, value, name=row)
        for row, value in (("DetailCLIP@25", 43.0), ("detailclip(1,1,0)@25", 42.0), ("DetailCLIP@50", 46.0))
    ]
    table = build(4, records, DEFAULTS)
    assert [entry.checkpoint for row in table.rows[:2] for entry in row.entries] == [
        "DetailCLIP@25",
        "detailclip(1,1,0)@25",
    ]
    assert [row.entries[0].checkpoint for row in own_rows(table)] == ["DetailCLIP@50"]
    assert row_of(build(2, records, DEFAULTS), method="DetailCLIP", epochs="50").entries[0].cells


def test_the_weights_that_a_checkpoint_was_trained_with_outweigh_the_name_it_is_given() -> None:
    record = imagenet("DetailCLIP(1,1,2)@25", 42.0, training=alphas(0.5, 0.5, 0.5))
    table = build(4, [record], DEFAULTS)
    assert len(row_of(table, a1="0.5").entries) == 1
    assert any("(a1 0.5, a2 0.5, a3 0.5) it is DetailCLIP(0.5,0.5,0.5)@25" in note for note in table.footnotes)


def test_weights_that_table_4_does_not_have_get_a_row_of_their_own_that_shows_them() -> None:
    named = imagenet("DetailCLIP@25", 42.0, training=alphas(3, 1, 1))
    unnamed = imagenet(None, 41.0, name="mine", training=alphas(1, 1, 0.25))
    table = build(4, [named, unnamed], DEFAULTS)
    own = [row.entries[0] for row in own_rows(table)]
    assert [dict(entry.labels) for entry in own] == [
        {"a1": "1", "a2": "1", "a3": "0.25"},
        {"a1": "3", "a2": "1", "a3": "1"},
    ]
    assert all(entry.cells["acc"].difference is None for entry in own)
    assert any("does not have its weights (a1 3, a2 1, a3 1)" in note for note in table.footnotes)


def test_a_checkpoint_that_names_no_row_never_stands_beside_the_papers_value() -> None:
    """`bench pretrain` drops the row of a run whose recipe was changed: its weights alone do not make it comparable."""
    table = build(4, [imagenet(None, 42.0, training=alphas(1, 1, 0))], DEFAULTS)
    assert all(not row.entries for row in table.rows if row.paper)
    assert len(own_rows(table)) == 1


@pytest.mark.parametrize("weights", [(1, 1, None), ("1", 1, 1), (True, 1, 1), (1, 1, -1), (10**400, 1, 1), ([], {}, 1)])
def test_damaged_weights_are_no_weights(weights: tuple[object, ...]) -> None:
    table = build(4, [imagenet("DetailCLIP@25", 42.0, training=alphas(*weights))], DEFAULTS)
    assert len(row_of(table, a1="1", a2="1", a3="1").entries) == 1  # by name
    broken = build(4, [imagenet("DetailCLIP@25", 42.0, training={"alphas": [1, 1, 0]})], DEFAULTS)
    assert len(row_of(broken, a1="1", a2="1", a3="1").entries) == 1


# ---- incomplete rows


def test_an_average_is_measured_only_when_all_its_columns_are() -> None:
    records = table3()
    (entry,) = row_of(build(3, records, DEFAULTS), method="SLIP", epochs="50").entries
    assert entry.cells["Average"].value == pytest.approx(16.0)
    assert entry.cells["Average"].difference == pytest.approx(16.0 - 35.7)
    assert entry.absent == {}
    table = build(3, records[1:], DEFAULTS)
    (entry,) = row_of(table, method="SLIP", epochs="50").entries
    assert "Average" not in entry.cells
    assert entry.absent == {"SUN397": "not run", "Average": "incomplete: 12 of 13"}
    (lines,) = markdown_tables(render(table, "markdown"))
    (status,) = (line for line in lines if line[2].text.startswith("status"))
    assert status[2].text == "status: incomplete, 12 of 13"
    (ours,) = (line for line in lines if line[2].text == "slip (online)")
    assert (ours[3].text, ours[-1].text) == ("not run", "incomplete: 12 of 13")


def test_a_set_that_was_not_run_in_full_is_never_averaged() -> None:
    first, *others = table3()
    quick = run("SLIP@50", 10.0, benchmark=first.benchmark, metric="top1", status="quick")
    (entry,) = row_of(build(3, [quick, *others], DEFAULTS), method="SLIP", epochs="50").entries
    assert entry.absent == {"SUN397": "only quick", "Average": "incomplete: 12 of 13"}


def test_an_empty_cell_says_what_there_is_instead() -> None:
    records = [
        run("SLIP@25", status="quick"),
        run("SLIP@25", protocol={"crop": 640}),
        run("iBOT@300", status="limited", counts={"expected": 8, "scored": 8}),
        run("iBOT@300", benchmark="ade20k-linear"),
    ]
    table = build(1, records, DEFAULTS)
    slip = row_of(table, method="SLIP")
    assert slip.absent["ade20k_upernet"] == "only other protocol / quick"
    assert slip.absent["ade20k_linear"] == "not run"
    (entry,) = row_of(table, method="iBOT").entries
    assert entry.absent["ade20k_upernet"] == "only limited"
    assert "only limited" in render(table, "text")
    statuses = {line["column"]: line["status"] for line in read_csv(table) if line["row"] == "iBOT@300"}
    assert statuses["ade20k_upernet"] == "only limited"
    assert statuses["ade20k_linear"] == "full"


def test_another_checkpoints_run_does_not_explain_an_empty_cell() -> None:
    records = [run(benchmark="ade20k-linear"), run(status="quick", checkpoint={"sha256": "0" * 64})]
    (entry,) = row_of(build(1, records, DEFAULTS), method="SLIP").entries
    assert entry.absent["ade20k_upernet"] == "not run"


# ---- seeds, towers, settings, intervals


def test_several_seeds_show_mean_number_and_spread() -> None:
    values = [46.0, 47.0, 45.5]
    table = build(1, [run(value=value, seed=seed) for seed, value in enumerate(values)], DEFAULTS)
    (entry,) = row_of(table, method="SLIP").entries
    cell = entry.cells["ade20k_upernet"]
    mean = fmean(values)
    assert (cell.value, cell.spread, cell.seeds) == (mean, stdev(values), 3)
    assert (cell.low, cell.high) == pytest.approx((mean - 1, mean + 1))
    assert len(cell.run_ids) == 3
    text = render(table, "text")
    assert f"{mean:.2f} ± {stdev(values):.2f} [{mean - 1:.2f}, {mean + 1:.2f}]" in text
    assert "full, 3 seeds" in text
    assert "full, 1 seed\n" not in text


def test_seeds_of_which_one_has_no_interval_have_none() -> None:
    bare = {"mIoU": {"value": 46.0, "low": None, "high": None, "n": 2000}}
    table = build(1, [run(seed=0), run(seed=1, metrics=bare)], DEFAULTS)
    cell = row_of(table, method="SLIP").entries[0].cells["ade20k_upernet"]
    assert (cell.low, cell.high, cell.difference_low, cell.difference_high) == (None, None, None, None)
    assert cell.difference == pytest.approx((46.31 + 46.0) / 2 - 46.6)
    assert "46.16 ± 0.22\n" in render(table, "text").replace("   ", "\n")


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=13, max_size=13))
def test_the_interval_of_an_average_is_that_of_independent_sets(distances: list[tuple[float, float]]) -> None:
    records = [
        record.model_copy(
            update={
                "metrics": {
                    name: metric.model_copy(update={"low": metric.value - down, "high": metric.value + up})
                    for name, metric in record.metrics.items()
                }
            }
        )
        for record, (down, up) in zip(RECORDS, distances, strict=True)
    ]
    cell = row_of(build(3, records, DEFAULTS), method="SLIP", epochs="50").entries[0].cells["Average"]
    assert cell.low is not None
    assert cell.high is not None
    assert cell.value - cell.low == pytest.approx(sqrt(sum(down**2 for down, _ in distances)) / 13, abs=1e-9)
    assert cell.high - cell.value == pytest.approx(sqrt(sum(up**2 for _, up in distances)) / 13, abs=1e-9)
    assert cell.high - cell.low <= max(down for down, _ in distances) + max(up for _, up in distances) + 1e-9


RECORDS = table3()


def test_an_average_of_sets_without_intervals_has_none() -> None:
    first, *others = RECORDS
    bare = {name: metric.model_copy(update={"low": None, "high": None}) for name, metric in first.metrics.items()}
    table = build(3, [first.model_copy(update={"metrics": bare}), *others], DEFAULTS)
    cell = row_of(table, method="SLIP", epochs="50").entries[0].cells["Average"]
    assert cell.value == pytest.approx(16.0)
    assert (cell.low, cell.high) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"tower": "ema"},
        {"name": "another"},
        {"checkpoint": {"sha256": "0" * 64}},
        {"model_protocol": {"image_heads": 2}},
        {"data": {"fingerprint": "e" * 16}},
        {"norm_layer": "SyncBN"},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_runs_that_differ_in_more_than_the_seed_are_never_averaged(change: dict[str, Any]) -> None:
    table = build(1, [run(value=40, seed=0), run(value=50, seed=1, **change)], DEFAULTS)
    entries = row_of(table, method="SLIP").entries
    assert sorted(entry.cells["ade20k_upernet"].value for entry in entries) == [40, 50]


@pytest.mark.parametrize("order", list(itertools.permutations(range(5)))[::7], ids=str)
def test_the_order_of_the_records_does_not_matter(order: tuple[int, ...]) -> None:
    records: list[Record] = [
        run(run_id="a", tower="ema"),
        run(run_id="b", value=47, benchmark="ade20k-linear"),
        run(run_id="c", value=48, seed=3),
        run(None, run_id="d"),
        run(run_id="e", status="quick"),
    ]
    tables = [render(build(1, chosen, DEFAULTS), "csv") for chosen in (records, [records[at] for at in order])]
    assert tables[0] == tables[1]


# ---- effective views


@pytest.mark.parametrize(
    "training",
    [
        None,
        {},
        {"epochs": 25, "views": 2},
        {"epochs": "?", "views": 2, "images": 3},
        {"epochs": 25, "views": True, "images": 3},
        {"epochs": 25, "views": 2, "images": -3},
        {"epochs": 25, "views": 2, "images": 10**400},
    ],
    ids=lambda training: str(training)[:60],
)
def test_views_are_computed_only_where_all_factors_are_known(training: dict[str, Any] | None) -> None:
    table = build(1, [run(training=training)], DEFAULTS)
    assert row_of(table, method="SLIP").entries[0].views is None
    for form in ("text", "markdown", "latex", "csv", "html"):
        assert "inf" not in render(table, form).replace("information", "")


def test_the_views_of_a_checkpoint_stand_with_their_factors_beside_the_papers() -> None:
    training = {"method": "slip", "epochs": 25, "views": 3, "images": 14_000_000}
    own = {"method": "mine", "epochs": 10, "views": 2}
    table = build(1, [run(training=training), run(None, name="mine", training=own)], DEFAULTS)
    main, views = markdown_tables(render(table, "markdown"))
    lines = [[cell.text for cell in line] for line in views[1:]]
    at = next(at for at, line in enumerate(lines) if line[0] == "SLIP@25")
    assert lines[at + 1] == ["", "slip (online)", "", "", "3", "25", "14,000,000", "1050.0M"]
    assert lines[-1] == ["own row", "mine (online)", "", "", "2", "10", "–", "–"]
    (ours,) = (line for line in main if line[5].text == "slip (online)")
    assert ours[4].text == "1050.0M"
    (found,) = (line for line in read_csv(table) if line["ours"] and line["section"] == "paper")
    assert [float(found[name]) for name in ("views", "trained_epochs", "images", "views_computed")] == [
        *(3, 25, 14_000_000, 1.05e9)
    ]
    assert float(found["paper_recipe_product"]) == 3 * 25 * 14_689_580
    assert found["effective_view"] == "750M"
