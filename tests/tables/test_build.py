"""What enters a table, which row it fills, and what is computed of it."""

import itertools
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.errors import OptionError, RecordError
from benchmarks.records import Record, Store
from benchmarks.report.results import gather, representatives
from benchmarks.run import default_fingerprints
from benchmarks.suite import BENCHMARKS
from benchmarks.tables import build, render
from benchmarks.tables.results import changed_reading
from tests.example_record import make_samples
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


SHIPPED = {"norm_on_taps": True, "force_imagenet_norm": False, "position_offset": 0.1}
"""How the segmentation benchmarks read a tower; detection leaves the taps as they are."""


@pytest.mark.parametrize(
    ("field", "value"), [("norm_on_taps", False), ("force_imagenet_norm", True), ("position_offset", 0.0)]
)
def test_a_tower_read_otherwise_than_shipped_is_another_protocol(field: str, value: object) -> None:
    """No fingerprint tells of these fields, and they change the value: nothing of it may stand in the column."""
    changed = run(value=99.5, model_protocol={**SHIPPED, field: value})
    table = build(1, [run(model_protocol=SHIPPED), changed], DEFAULTS)
    (entry,) = row_of(table, method="SLIP").entries
    assert (entry.checkpoint, entry.cells["ade20k_upernet"].value) == ("slip", 46.31)
    (other,) = table.other
    assert other.reason == f"other protocol ({field}={value})"
    assert row_of(build(1, [changed], DEFAULTS), method="SLIP").absent["ade20k_upernet"] == f"only {other.reason}"


def test_every_changed_field_is_named_and_a_changed_fingerprint_is_said_once() -> None:
    model = {"norm_on_taps": False, "position_offset": 0.2}
    (other,) = build(1, [run(model_protocol=model, protocol={"crop": 640}, status="quick")], DEFAULTS).other
    assert other.reason == "quick, other protocol (norm_on_taps=False, position_offset=0.2)"


def test_what_is_shipped_is_the_benchmarks_own() -> None:
    """Detection does not norm the taps, the zero-shot benchmarks know no such field, the future anything."""
    both = interval("AP_box", 44) | interval("AP_mask", 40)
    coco = [
        run(benchmark="coco-cascade", metrics=both, model_protocol={**SHIPPED, "norm_on_taps": norm})
        for norm in (False, True)
    ]
    assert [changed_reading(record) for record in coco] == ["", "norm_on_taps=True"]
    assert {other.reason for other in build(1, coco, DEFAULTS).other} == {"other protocol (norm_on_taps=True)"}
    assert not changed_reading(imagenet("SLIP@25", 40.0, model_protocol={"norm_on_taps": False}))
    assert not changed_reading(run(benchmark="of-the-future", model_protocol={"norm_on_taps": False}))


def test_the_shipped_reading_of_every_benchmark_can_be_told() -> None:
    told = {
        benchmark.id: changed_reading(run(benchmark=benchmark.id, model_protocol=OTHERWISE)) for benchmark in BENCHMARKS
    }
    assert {name for name, changed in told.items() if changed} == {
        *("ade20k-upernet", "ade20k-linear", "ade20k-linear-finetune", "coco-cascade", "coco-cascade-3x"),
    }
    assert set(told) == set(default_fingerprints())


OTHERWISE = {"force_imagenet_norm": True}


def test_a_report_labels_runs_by_how_the_tower_was_read(tmp_path: Path) -> None:
    """Else one of them, whichever it is, would represent both in its charts."""
    records = [run(run_id="as-shipped", model_protocol=SHIPPED), run(run_id="changed", model_protocol=OTHERWISE)]
    for record in records:
        Store(tmp_path).write(record, make_samples(2000))
    runs = gather(tmp_path).runs
    assert [found.name for found in runs] == ["slip", "slip [force_imagenet_norm=True]"]
    assert len(representatives(runs)) == 2


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


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_ablation_never_stands_beside_the_papers_method(number: int) -> None:
    """`--row DetailCLIP@25` is right for Table 4, where the weights decide; elsewhere the rows are of 1, 1, 1."""
    records = []
    for name, weights in (("ablation", (1, 1, 0)), ("method", (1.0, 1, 1)), ("unknown", (1, 1, None))):
        changes: dict[str, Any] = {"name": name, "training": alphas(*weights)}
        column = {1: run("DetailCLIP@25", **changes), 2: imagenet("DetailCLIP@25", 43.0, **changes)}
        records += table3("DetailCLIP@25", **changes) if number == 3 else [column[number]]
    table = build(number, records, DEFAULTS)
    beside = row_of(table, method="DetailCLIP", epochs="25").entries
    assert [entry.checkpoint for entry in beside] == ["method", "unknown"]
    (own,) = own_rows(table)
    (entry,) = own.entries
    assert entry.checkpoint == "ablation [a1 1, a2 1, a3 0]"
    assert all(cell.difference is None for cell in entry.cells.values())
    told = "Checkpoint ablation: its row DetailCLIP@25 does not have its weights (a1 1, a2 1, a3 0)"
    assert [note for note in table.footnotes if "its weights" in note] == [f"{told}; it stands in a row of its own."]
    assert "ablation [a1 1, a2 1, a3 0] (online)" in render(table, "text")


def test_table_4_speaks_of_no_other_method() -> None:
    """The ImageNet runs that fill Table 2 are no ablation."""
    records = [
        imagenet(row, 40.0, name=f"run-{at}", training=training, status=status)
        for status in ("full", "quick")
        for at, (row, training) in enumerate(
            [
                ("SLIP@25", None),
                ("CLIP", {"method": "clip", "alphas": {}}),
                ("MyMethod@25", alphas(1, 1, 0)),
                (None, None),
                (None, alphas(1, 1, None)),
                (None, alphas(1, 1, 0.25)),
                ("detailclip(3,1,1)@25", None),
                ("DetailCLIP@50", None),
            ]
        )
    ]
    table = build(4, records, DEFAULTS)
    assert all(not row.entries for row in table.rows if row.paper)
    assert [row.entries[0].checkpoint for row in own_rows(table)] == ["run-5", "run-6", "run-7"]
    assert [other.checkpoint for other in table.other] == ["run-5", "run-6", "run-7"]
    assert not any("MyMethod" in note or "SLIP" in note for note in table.footnotes)
    assert len(own_rows(build(2, records, DEFAULTS))) == 6  # SLIP@25 and DetailCLIP@50 are rows there


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
        {"model_protocol": {"prompts": {"templates": ["a photo of a {}." * 9]}}},
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
    assert len({(entry.checkpoint, entry.sha256, entry.tower) for entry in entries}) == 2  # and can be told apart


def test_lines_of_several_settings_are_named_by_them_and_joined_by_them() -> None:
    """The runs of two columns meet where they were made alike, whatever their fingerprints sort like."""
    records = [
        run(value=value, benchmark=benchmark, norm_layer=norm, precision=precision, data={"fingerprint": data})
        for value, benchmark, norm, precision, data in (
            (40, "ade20k-upernet", "BN", "fp32", "a"),
            (41, "ade20k-upernet", "SyncBN", "fp32", "a"),
            (30, "ade20k-linear", "SyncBN", "fp32", "b"),
            (31, "ade20k-linear", "BN", "fp32", "b"),
        )
    ]
    both = interval("AP_box", 44) | interval("AP_mask", 38)
    coco = run(benchmark="coco-cascade", metrics=both, norm_layer=None, data={"fingerprint": "c"})
    table = build(1, [*records, coco], DEFAULTS)
    entries = row_of(table, method="SLIP").entries
    assert {entry.checkpoint: {name: cell.value for name, cell in entry.cells.items()} for entry in entries} == {
        "slip": {"coco_ap_box": 44, "coco_ap_mask": 38},
        "slip [norm_layer=BN]": {"ade20k_upernet": 40, "ade20k_linear": 31},
        "slip [norm_layer=SyncBN]": {"ade20k_upernet": 41, "ade20k_linear": 30},
    }
    assert entries[0].absent == {"ade20k_upernet": "other line", "ade20k_linear": "other line"}
    assert "slip [norm_layer=BN] (online)" in render(table, "text")


def test_an_average_mixes_no_settings() -> None:
    """Two activations over all sets are two averages; data of which there are two versions leave none."""
    heads = [table3(model_protocol={"architecture": {"heads": heads}}) for heads in (12, 8)]
    entries = row_of(build(3, [*heads[0], *heads[1]], DEFAULTS), method="SLIP", epochs="50").entries
    assert [entry.checkpoint for entry in entries] == [f"slip [architecture.heads={heads}]" for heads in (12, 8)]
    assert all("Average" in entry.cells for entry in entries)
    one = [*heads[0], heads[1][0]]  # a stray run takes nothing from the line of the others
    entries = row_of(build(3, one, DEFAULTS), method="SLIP", epochs="50").entries
    assert ["Average" in entry.cells for entry in entries] == [True, False]
    sets = [
        record.model_copy(update={"data": record.data.model_copy(update={"fingerprint": f"{at:x}" * 64})})
        for at, record in enumerate(heads[0])
    ]
    again = sets[0].model_copy(update={"data": sets[0].data.model_copy(update={"fingerprint": "e" * 64})})
    entries = row_of(build(3, [*sets, again], DEFAULTS), method="SLIP", epochs="50").entries
    assert [(entry.checkpoint, len(entry.cells), entry.absent["Average"]) for entry in entries] == [
        ("slip", 12, "incomplete: 12 of 13"),
        ("slip [data.fingerprint=000000000000]", 1, "incomplete: 1 of 13"),
        ("slip [data.fingerprint=eeeeeeeeeeee]", 1, "incomplete: 1 of 13"),
    ]


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
