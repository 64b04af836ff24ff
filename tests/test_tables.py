"""The tables say what the paper says, fill only what is comparable, and print any name harmlessly."""

import csv
import io
import itertools
import re
from statistics import fmean, stdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import suite
from benchmarks.errors import OptionError, RecordError
from benchmarks.files import shipped
from benchmarks.records import Record
from benchmarks.tables import Row, Table, build, render
from benchmarks.tables.layouts import LAYOUTS, paper_rows
from tests.example_record import make_record

DEFAULTS = {benchmark.id: make_record().protocol_fingerprint for benchmark in suite.BENCHMARKS}
COUNTER = itertools.count()
NO = ""

TABLE1 = (
    ("self-supervised", "DeiT", "IN-1K", "300", "720M", "47.4", NO, "44.1", "39.8"),
    ("self-supervised", "MAE", "IN-1K", "800", "960M", "46.5", "34.3", "46.2", "39.1"),
    ("self-supervised", "DINO", "IN-1K", "800", "9600M", "46.8", "34.5", "47.4", "40.1"),
    ("self-supervised", "iBOT", "IN-1K", "300", "720M", "47.3", "34.7", "48.4", "42.1"),
    ("self-supervised", "AttMask", "IN-1K", "300", "4320M", "47.5", "35.2", "48.9", "42.2"),
    ("clip-based", "CLIP", "400M", NO, NO, "46.4", "34.2", "43.6", "39.5"),
    ("clip-based", "SLIP", "YFCC-15M", "25", "750M", "46.6", "36.1", "44.0", "40.3"),
    ("clip-based", "MaskCLIP", "YFCC-15M", "25", "750M", "47.5", "36.3", "45.4", "40.9"),
    ("clip-based", "A-CLIP", "YFCC-15M", "25", "750M", "47.0", "34.7", "45.8", "41.7"),
    ("clip-based", "DetailCLIP", "YFCC-15M", "25", "750M", "48.1", "37.3", "48.9", "42.5"),
    ("clip-based", "DetailCLIP", "YFCC-15M", "50", "1500M", "48.8", "39.3", "50.1", "43.3"),
)
TABLE2 = (
    ("CLIP", "25", "51.4", "32.6", "27.9", "17.6", "37.6"),
    ("SLIP", "25", "57.2", "41.2", "33.6", "21.9", "42.8"),
    ("MaskCLIP", "25", "60.0", "38.8", "34.1", "21.2", "42.7"),
    ("A-CLIP", "25", "62.7", "42.1", "38.0", "23.2", "43.9"),
    ("DetailCLIP", "25", "62.8", "42.2", "38.3", "22.9", "43.9"),
    ("CLIP", "50", "53.9", "35.8", "30.2", "19.2", "39.4"),
    ("SLIP", "50", "60.6", "41.1", "33.2", "22.3", "44.1"),
    ("A-CLIP", "50", "66.7", "43.2", "39.8", "24.4", "46.3"),
    ("DetailCLIP", "50", "65.9", "44.7", "39.8", "24.9", "46.2"),
)
TABLE3 = (
    "25 CLIP 51.1 5.4 21.2 28.5 53.3 6.1 8.4 90.5 35.1 10.5 53.5 10.8 50.7 32.7",
    "25 SLIP 53.4 5.7 26.1 31.1 56.6 14.5 9.8 94.4 34.0 11.6 55.4 17.5 51.1 35.5",
    "25 MaskCLIP 54.0 8.2 25.5 36.8 53.6 10.1 11.2 93.9 30.5 12.5 51.2 12.9 50.0 34.6",
    "25 A-CLIP 57.0 7.6 26.0 32.0 57.7 13.1 9.8 95.4 35.2 13.5 51.6 14.1 49.9 35.6",
    "25 DetailCLIP 54.9 8.7 30.1 35.4 60.7 9.3 11.4 94.1 42.2 11.9 62.0 13.4 50.2 37.3",
    "50 CLIP 49.0 6.3 23.5 27.2 56.2 7.4 12.5 92.1 33.6 10.9 50.8 14.0 50.1 33.4",
    "50 SLIP 54.8 9.0 29.8 31.9 57.7 9.0 9.8 95.6 35.1 12.7 54.4 13.8 49.9 35.7",
    "50 A-CLIP 58.7 10.2 27.7 40.5 61.0 9.4 11.3 95.5 23.3 14.4 63.7 19.6 52.3 37.5",
    "50 DetailCLIP 57.5 11.0 29.8 40.8 64.1 7.3 10.8 95.8 30.9 13.3 63.9 12.7 50.1 37.6",
)
TABLE4 = (
    ("1", "1", "1", "43.9"),
    ("1", "1", "0", "42.9"),
    ("1", "1", "2", "43.2"),
    ("0.5", "0.5", "0.5", "43.3"),
    ("0", "0", "1", "42.6"),
)
README = (
    ("1", "DINO", "IN-1K", "800", "effective_view", "9600M", "960M", "paper"),
    ("1", "AttMask", "IN-1K", "300", "effective_view", "4320M", "432M", "paper"),
    ("1", "MaskCLIP", "YFCC-15M", "25", "coco_ap_box", "45.4", "45.8", "paper"),
)


def run(row: str | None = "SLIP@25", value: float = 46.31, **changes: Any) -> Record:
    """A full record of the default protocol with its own run id; ``name`` and ``tower`` go into its parts."""
    checkpoint = {"row": row, "name": changes.pop("name", "slip")} | changes.pop("checkpoint", {})
    model = {"tower": changes.pop("tower", "online")} | changes.pop("model_protocol", {})
    metric = changes.pop("metric", "mIoU")
    return make_record(
        **{"run_id": f"run{next(COUNTER)}", "metrics": interval(metric, value)} | changes,
        checkpoint=checkpoint,
        model_protocol=model,
    )


def interval(metric: str, value: float) -> dict[str, Any]:
    return {metric: {"value": value, "low": max(value - 1, 0), "high": min(value + 1, 100), "n": 2000}}


def row_of(table: Table, **labels: str) -> Row:
    """The one row of the paper with these labels."""
    (found,) = (row for row in table.rows if row.paper and labels.items() <= row.labels.items())
    return found


def own_rows(table: Table) -> list[Row]:
    return [row for row in table.rows if not row.paper]


# ---- the paper's numbers


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("table1.csv", TABLE1),
        ("table2.csv", TABLE2),
        ("table3.csv", tuple(tuple(line.split()) for line in TABLE3)),
        ("table4.csv", TABLE4),
        ("release_readme.csv", README),
    ],
)
def test_the_shipped_numbers_are_the_papers_cell_by_cell(name: str, expected: tuple[tuple[str, ...], ...]) -> None:
    """A second transcription: a slip in one of the two files shows here."""
    lines = (shipped("results") / "paper" / name).read_text(encoding="utf-8").splitlines()
    assert tuple(tuple(line) for line in csv.reader(lines[1:])) == expected


def test_the_averages_of_table_3_and_the_one_that_its_cells_do_not_give() -> None:
    table = build(3, [], {})
    for row in table.rows:
        average = row.paper["Average"]
        assert average.recomputed == pytest.approx(fmean(float(row.paper[name].printed) for name in SETS))
        wrong = row.labels == {"epochs": "50", "method": "DetailCLIP"}
        assert (f"{average.recomputed:.1f}" != average.printed) == wrong
    printed = row_of(table, epochs="50", method="DetailCLIP").paper["Average"]
    assert (printed.printed, f"{printed.recomputed:.2f}") == ("37.6", "37.54")
    assert "DetailCLIP@50: the paper prints Average 37.6, its cells give 37.54." in table.footnotes
    assert sum("its cells give" in note for note in table.footnotes) == 1


SETS = [column.name for column in LAYOUTS[3].columns if not column.mean_of]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_declaration_names_every_column_of_the_file(number: int) -> None:
    layout = LAYOUTS[number]
    declared = [name for name, _ in layout.labels] + [column.name for column in layout.columns]
    assert list(paper_rows(number)[0]) == declared
    measured = {column.name for column in layout.columns if not column.mean_of}
    assert set(suite.filling(number)) == measured


def best(table: Table, column: str, rank: int, **labels: str) -> list[str]:
    rows = [row for row in table.rows if labels.items() <= row.labels.items()]
    return [row.labels["method"] for row in rows if column in row.paper and row.paper[column].rank == rank]


def test_best_and_second_best_share_ranks_and_are_taken_over_the_whole_column_of_table_1() -> None:
    table = build(1, [], {})
    assert best(table, "coco_ap_box", 1) == ["DetailCLIP"]
    assert best(table, "coco_ap_box", 2) == ["AttMask", "DetailCLIP"]  # 48.9 twice
    assert best(table, "ade20k_upernet", 2) == ["DetailCLIP"]  # 25 epochs, behind 50


def test_table_3_ranks_within_each_number_of_epochs() -> None:
    """DetailCLIP is best in 12 and second in 5 of the 26 columns, as the paper's text claims."""
    table = build(3, [], {})
    rows = [row for row in table.rows if row.labels["method"] == "DetailCLIP"]
    ranks = [row.paper[name].rank for row in rows for name in SETS]
    assert (ranks.count(1), ranks.count(2)) == (12, 5)
    assert best(table, "DTD", 1, epochs="50") == ["SLIP", "DetailCLIP"]


# ---- what enters a table


def test_a_full_run_stands_beside_the_value_of_the_row_it_names() -> None:
    table = build(1, [run("slip@25")], DEFAULTS)
    (entry,) = row_of(table, method="SLIP").entries
    cell = entry.cells["ade20k_upernet"]
    assert (cell.value, cell.low, cell.high, cell.seeds, cell.spread) == (46.31, 45.31, 47.31, 1, None)
    assert cell.difference == pytest.approx(-0.29)
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
    for form in ("text", "markdown"):
        above, below = render(table, form).split("Other runs (not comparable with the paper)")
        assert "99.50" not in above
        assert "99.50" in below
        assert f"{record.counts.scored} of 2000" in below
    sections = {line["section"] for line in read_csv(table) if line["ours"]}
    assert sections == {"other"}


def test_without_a_default_fingerprint_nothing_is_comparable() -> None:
    table = build(1, [run()], {})
    assert [other.reason for other in table.other] == ["other protocol"]


def test_records_of_other_tables_and_of_unknown_benchmarks_are_left_out() -> None:
    records = [run(benchmark="flickr8k-retrieval", metric="i2t_r1"), run(benchmark="of-the-future")]
    table = build(1, records, DEFAULTS)
    assert not table.other
    assert not own_rows(table)


def test_a_fine_tuned_linear_run_never_fills_the_frozen_column() -> None:
    records = [
        run(benchmark="ade20k-linear", value=36.0),
        run(benchmark="ade20k-linear-finetune", value=44.0),
    ]
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
    assert all(cell.difference is None for cell in entry.cells.values())
    assert [found for found in table.footnotes if "own" in found and "slip:" in found] == (
        [f"slip: {note}; it stands in a row of its own."] if note else []
    )
    lines = render(table, "text").splitlines()
    (line,) = (line for line in lines if "slip (online)" in line and "30.00" in line)
    assert line.split()[:4] == ["own", "row", "slip", "–"]  # not blank, as if it belonged to the row above


def test_table_4_is_filled_by_name_and_its_first_row_also_by_detailclip_25() -> None:
    records = [
        run(row, value, benchmark="imagenet-zeroshot", metric="top1", name=row)
        for row, value in (("DetailCLIP@25", 43.0), ("detailclip(1,1,0)@25", 42.0), ("DetailCLIP@50", 46.0))
    ]
    table = build(4, records, DEFAULTS)
    assert [entry.checkpoint for row in table.rows[:2] for entry in row.entries] == [
        "DetailCLIP@25",
        "detailclip(1,1,0)@25",
    ]
    assert [row.entries[0].checkpoint for row in own_rows(table)] == ["DetailCLIP@50"]
    assert row_of(build(2, records, DEFAULTS), method="DetailCLIP", epochs="50").entries[0].cells


def test_an_average_is_measured_only_when_all_its_columns_are() -> None:
    cells = [(cell.column, benchmark) for benchmark in suite.in_group("table3") for cell in benchmark.tables]
    records = [
        run("SLIP@50", 10.0 + at, benchmark=benchmark.id, metric=benchmark.metric)
        for at, (_, benchmark) in enumerate(cells)
    ]
    (entry,) = row_of(build(3, records, DEFAULTS), method="SLIP", epochs="50").entries
    assert entry.cells["Average"].value == pytest.approx(16.0)
    assert entry.cells["Average"].difference == pytest.approx(16.0 - 35.7)
    (entry,) = row_of(build(3, records[1:], DEFAULTS), method="SLIP", epochs="50").entries
    assert "Average" not in entry.cells


# ---- seeds, towers, settings


def test_several_seeds_show_mean_number_and_spread() -> None:
    values = [46.0, 47.0, 45.5]
    table = build(1, [run(value=value, seed=seed) for seed, value in enumerate(values)], DEFAULTS)
    (entry,) = row_of(table, method="SLIP").entries
    cell = entry.cells["ade20k_upernet"]
    assert (cell.value, cell.spread, cell.seeds) == (fmean(values), stdev(values), 3)
    assert (cell.low, cell.high) == (None, None)
    assert len(cell.run_ids) == 3
    text = render(table, "text")
    assert f"{fmean(values):.2f} ± {stdev(values):.2f}" in text
    assert "full, 3 seeds" in text
    assert "full, 1 seed\n" not in text


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


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(5)))
def test_the_order_of_the_records_does_not_matter(order: list[int]) -> None:
    records = [
        run(run_id="a", tower="ema"),
        run(run_id="b", value=47, benchmark="ade20k-linear"),
        run(run_id="c", value=48, seed=3),
        run(None, run_id="d"),
        run(run_id="e", status="quick"),
    ]
    tables = [render(build(1, chosen, DEFAULTS), "csv") for chosen in (records, [records[at] for at in order])]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("training", [None, {}, {"epochs": 25, "views": 2}, {"epochs": "?", "views": 2, "images": 3}])
def test_views_are_computed_only_where_all_factors_are_known(training: dict[str, Any] | None) -> None:
    record = run()
    info = record.checkpoint.model_copy(update={"training": training})
    table = build(1, [record.model_copy(update={"checkpoint": info})], DEFAULTS)
    assert row_of(table, method="SLIP").entries[0].views is None


# ---- printing


def read_csv(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render(table, "csv"))))


def test_text_holds_every_value_of_the_paper_and_is_never_cut_off() -> None:
    """In a pipe rich assumes 80 columns and would end cells in dots."""
    text = render(build(1, [run(name="n" * 60)], DEFAULTS), "text")
    assert "…" not in text
    for cell in itertools.chain.from_iterable(TABLE1):
        assert cell in text
    for expected in (
        "*48.8*",
        "_48.1_",
        "46.31 [45.31, 47.31]",
        "-0.29",
        "full, 1 seed",
        "734.5M",
        "not run",
        "not built",
    ):
        assert expected in text
    assert "\x1b" not in text
    assert not text.endswith("\n")
    assert all(line == line.rstrip() for line in text.splitlines())


def test_the_footnotes_say_what_a_reader_must_know() -> None:
    notes = " ".join(build(1, [], {}).footnotes)
    for expected in (
        "9600M",
        "960M",
        "432M",
        "45.8",
        "mix settings",
        "which tower",
        "frozen backbone",
        "AttMask",
    ):
        assert expected in notes


def test_markdown_marks_best_and_second_best_and_every_line_has_as_many_cells() -> None:
    text = render(build(1, [run(), run(None, name="a|b"), run(status="quick")], DEFAULTS), "markdown")
    assert "**48.8**" in text
    assert "<u>48.1</u>" in text
    blocks = re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE)
    for block, columns in zip(blocks, (10, 9), strict=True):
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in block.strip().splitlines()} == {columns + 1}


def test_csv_has_a_line_for_each_cell_unrounded() -> None:
    table = build(1, [run(value=46.123456789), run(status="quick", value=3.0)], DEFAULTS)
    lines = read_csv(table)
    assert len(lines) == 11 * 4 + 1
    (found,) = (line for line in lines if line["ours"] and line["section"] == "paper")
    assert (found["method"], found["column"], found["paper"]) == ("SLIP", "ade20k_upernet", "46.6")
    assert float(found["ours"]) == 46.123456789
    assert float(found["difference"]) == 46.123456789 - 46.6
    assert (found["status"], found["sha256"], found["tower"]) == ("full", "ab" * 32, "online")
    assert lines[-1]["reason"] == "quick"
    assert {line["status"] for line in lines} == {"full", "quick", "not run", "not built"}


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("form", ["text", "markdown", "csv"])
def test_every_table_prints_in_every_format_without_any_record(number: int, form: str) -> None:
    text = render(build(number, [], {}), form)
    assert all(row[name] in text for row in paper_rows(number) for name in row)


HOSTILE = [
    "[red]x[/red]",
    "a|b\nc",
    "<script>alert(1)</script>",
    "=1+1",
    "\x1b[31mred",
    "\u202egpj.exe",
    "…" * 500,
    "![i](x)",
]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(HOSTILE) | st.text(min_size=1))
def test_a_hostile_name_harms_no_format(name: str) -> None:
    """Names come from files that strangers publish: no markup, tag, control character or formula passes."""
    table = build(1, [run(None, name=name), run(None, name=name, status="quick")], DEFAULTS)
    text, markdown, lines = render(table, "text"), render(table, "markdown"), read_csv(table)
    assert all(character.isprintable() for line in text.split("\n") for character in line)
    assert max(map(len, text.split("\n"))) < 400
    for tag in re.findall(r"<[^>]*>", markdown):
        assert tag in ("<u>", "</u>")
    assert not re.search(r"(?<!\\)\]\(", markdown)
    assert all(not line["checkpoint"].startswith(("=", "+", "-", "@")) for line in lines)
    assert len(lines) == 11 * 4 + 4 + 1


def test_plain_names_are_shown_as_they_are() -> None:
    assert "[red]x[/red] (online)" in render(build(1, [run(None, name="[red]x[/red]")], DEFAULTS))


@pytest.mark.parametrize(
    ("form", "message"),
    [("latex", "not built yet"), ("html", "not built yet"), ("pdf", "unknown format 'pdf'")],
)
def test_formats_that_are_not_there_are_an_option_error(form: str, message: str) -> None:
    with pytest.raises(OptionError, match=rf"{message}: choose one of text, markdown, csv"):
        render(build(1, [], {}), form)


def test_a_table_that_the_paper_does_not_have_is_an_option_error() -> None:
    with pytest.raises(OptionError, match="no table 5: choose one of 1, 2, 3, 4"):
        build(5, [], {})
