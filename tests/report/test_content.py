"""What an ordinary results folder does not have: several towers, changed protocols, other data, unknown benchmarks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import RecordError
from benchmarks.records import Record, Store, fingerprint
from benchmarks.report.blocks import Block, Cell, Facts, Figure, Gallery, Grid, Page, Prose
from benchmarks.report.kinds import kind_of
from benchmarks.report.pages import benchmarks, checkpoints, gallery, overview, runs, tables, training
from benchmarks.report.pages.common import duration, ends, runs_grid, signed, size, told
from benchmarks.report.results import Results, gather, representatives
from benchmarks.run import default_protocol
from benchmarks.suite import get
from tests.example_record import FIELDS, make_record, make_samples
from tests.report.world import write_pretraining

UPERNET = default_protocol(get("ade20k-upernet"))
Put = Callable[..., Record]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Store a full run of three images: its own id, fields of the example replaced."""
    count = 0

    def stored(**changes: Any) -> Record:
        nonlocal count
        count += 1
        counts = {"official": 3, "expected": 3, "scored": 3}
        fields = {"run_id": f"run-{count}", "protocol": UPERNET, "counts": counts} | changes
        record = Record.model_validate(
            make_record(**{key: value for key, value in fields.items() if key != "protocol"}).model_dump(mode="json")
            | {"protocol": fields["protocol"]}
            | {"protocol_fingerprint": fingerprint(fields["protocol"])}
        )
        Store(tmp_path).write(record, make_samples(3))
        return record

    return stored


def blocks(page: Page, kind: type[Block]) -> list[Any]:
    return [block for section in page.sections for block in section.blocks if isinstance(block, kind)]


def grid(page: Page, title: str) -> Grid:
    found: list[Grid] = [block for block in blocks(page, Grid) if block.title == title]
    assert len(found) == 1, [block.title for block in blocks(page, Grid)]
    return found[0]


def row(found: Grid, *beginning: object) -> list[Cell]:
    """The row whose first cells' values are these."""
    (only,) = (cells for cells in found.rows if tuple(cell.value for cell in cells[: len(beginning)]) == beginning)
    return list(only)


def facts(page: Page) -> dict[str, str]:
    return {name: value for block in blocks(page, Facts) for name, value, _ in block.facts}


# ---- names of runs


def labels(results: Results) -> list[str]:
    return [run.name for run in results.runs]


def test_a_checkpoint_of_one_tower_and_seed_goes_by_its_name(tmp_path: Path, put: Put) -> None:
    put()
    assert labels(gather(tmp_path)) == ["slip_base_25ep"]


def test_towers_seeds_and_statuses_are_told_where_there_are_several(tmp_path: Path, put: Put) -> None:
    put()
    put(model_protocol={"tower": "ema"})
    put(model_protocol={"tower": "ema"}, seed=1, status="quick")
    assert labels(gather(tmp_path)) == [
        "slip_base_25ep (ema) (seed 0)",
        "slip_base_25ep (online)",
        "slip_base_25ep (ema) (seed 1, quick)",
    ]


def test_files_of_one_name_are_told_apart_by_their_digest(tmp_path: Path, put: Put) -> None:
    put()
    put(checkpoint={"sha256": "cd" * 32})
    results = gather(tmp_path)
    assert labels(results) == ["slip_base_25ep [ababab]", "slip_base_25ep [cdcdcd]"]
    assert len({page.name for page in checkpoints.pages(results)}) == 2


def test_the_representative_is_full_and_of_the_first_seed(tmp_path: Path, put: Put) -> None:
    put(seed=0, status="quick")
    chosen = put(seed=1)
    put(seed=2)
    (only,) = representatives(gather(tmp_path).runs)
    assert only.record.run_id == chosen.run_id


def test_no_more_runs_stand_side_by_side_than_can_be_read(tmp_path: Path, put: Put) -> None:
    for number in range(9):
        put(checkpoint={"name": f"checkpoint {number}"})
    assert len(representatives(gather(tmp_path).runs)) == 6


# ---- tables


def test_a_measured_cell_shows_difference_interval_and_link(tmp_path: Path, put: Put) -> None:
    put()
    results = gather(tmp_path)
    found = blocks(tables.page(results), Grid)[0]
    titles = [title for title, _ in found.headings]
    cell = row(found, "SLIP", "slip_base_25ep (online)")[titles.index("ADE20K UperNet")]
    assert cell.value == 46.31 and cell.href == f"{results.runs[0].page}.html"
    assert cell.note == "−0.29\n1 seed"
    assert "95 % interval 45.10 to 47.52, the mark stands at 46.60" in cell.picture
    missing = row(found, "SLIP", "slip_base_25ep (online)")[titles.index("COCO AP box")]
    assert missing.value is None and missing.shown


def test_seeds_are_averaged_with_their_spread_and_lead_to_no_single_run(tmp_path: Path, put: Put) -> None:
    for seed, value in enumerate((46.0, 48.0)):
        put(seed=seed, metrics={"mIoU": {"value": value, "low": None, "high": None, "n": 3}})
    found = blocks(tables.page(gather(tmp_path)), Grid)[0]
    (cell,) = (cell for cell in row(found, "SLIP", "slip_base_25ep (online)") if cell.value == 47.0)
    assert cell.note == "+0.40\n2 seeds, ± 1.41" and cell.href is None


def test_the_papers_best_second_best_and_disagreements_are_marked(tmp_path: Path, put: Put) -> None:
    put()
    found = blocks(tables.page(gather(tmp_path)), Grid)
    first = found[0]
    titles = [title for title, _ in first.headings]
    at = titles.index("ADE20K UperNet")
    styles = {(cells[0].value, cells[at].value): cells[at].style for cells in first.rows if cells[1].value == "paper"}
    assert styles["DetailCLIP", 48.8] == "paper best" and styles["DetailCLIP", 48.1] == "paper second"
    assert styles["DeiT", 47.4] == "paper"
    disputed = row(first, "MaskCLIP", "paper")[titles.index("COCO AP box")]
    assert disputed.shown == "45.4" and "README 45.8" in disputed.note
    average = [
        cell for each in found for cells in each.rows for cell in cells if cell.note.startswith("its cells give")
    ]
    assert "its cells give 37.54" in [cell.note for cell in average]


def test_labels_sort_as_numbers_and_a_missing_value_is_said(tmp_path: Path, put: Put) -> None:
    put()
    found = blocks(tables.page(gather(tmp_path)), Grid)[0]
    titles = [title for title, _ in found.headings]
    deit = row(found, "DeiT", "paper")
    assert deit[titles.index("epochs")].value == 300.0 and deit[titles.index("views")].shown == "720M"
    assert deit[titles.index("ADE20K linear")].hidden == "the paper has no value"
    assert titles[-3:] == ["group", "dataset", "views"], "a phone begins with the values"
    ours = row(found, "SLIP", "slip_base_25ep (online)")[titles.index("views")]
    assert ours.shown == f"{25 * 14_689_580 * 2 / 1e6:.1f}M" and ours.note == "computed"


# ---- overview


def test_without_a_full_run_the_overview_says_what_the_numbers_are_worth(tmp_path: Path, put: Put) -> None:
    put(status="sample")
    page = overview.page(gather(tmp_path), 0)
    prose = blocks(page, Prose)[0]
    assert "say nothing about a method" in prose.paragraphs[0]
    assert not [block for block in blocks(page, Grid) if block.title == "Measured less printed"]
    covered = grid(page, "Table 1")
    assert row(covered, "SLIP@25")[1].shown == "○", "the run names the row, and does not fill it"
    assert "sample" in row(covered, "SLIP@25")[1].hidden


def test_uncommitted_changes_are_told(tmp_path: Path, put: Put) -> None:
    put(environment={**FIELDS["environment"], "dirty": True})
    results = gather(tmp_path)
    assert "with uncommitted changes" in facts(runs.pages(results)[0])["commit"]
    page = overview.page(results, 0)
    texts = [text for section in page.sections for block in section.blocks for text in getattr(block, "paragraphs", ())]
    assert any("uncommitted changes" in text for text in texts)


def test_whether_the_paper_lies_within_the_interval_is_said(tmp_path: Path, put: Put) -> None:
    put()
    (cells,) = grid(overview.page(gather(tmp_path), 0), "Measured less printed").rows
    assert cells[4].value == pytest.approx(-0.29) and cells[4].note == "within the interval"


# ---- checkpoints


def test_the_same_load_report_is_shown_once_and_another_one_folded(tmp_path: Path, put: Put) -> None:
    put()
    put(seed=1)
    put(
        checkpoint={"load_report": {"matched": ["a", "b"], "dropped": {"heads": ["c"]}, "notes": ["QuickGELU assumed"]}}
    )
    (page,) = checkpoints.pages(gather(tmp_path))
    reports = [block for block in blocks(page, Facts) if block.title.startswith("Load report")]
    assert [block.folded for block in reports] == [False, True]
    assert ("matched", "2: a, b", None) in reports[1].facts
    assert ("dropped: heads", "1: c", None) in reports[1].facts
    assert ("notes", "QuickGELU assumed", None) in reports[1].facts


def test_a_long_list_of_keys_is_cut_and_says_so(tmp_path: Path, put: Put) -> None:
    put(checkpoint={"load_report": {"matched": [f"block.{number}" for number in range(1000)]}})
    (page,) = checkpoints.pages(gather(tmp_path))
    told_of = facts(page)["matched"]
    assert told_of.startswith("1000: block.0, ") and told_of.endswith("… and 600 more")


def test_what_the_file_does_not_tell_is_not_invented(tmp_path: Path, put: Put) -> None:
    put(checkpoint={"training": None, "row": None})
    (page,) = checkpoints.pages(gather(tmp_path))
    assert facts(page)["training"] == "not told by the file"
    assert facts(page)["stands for"] == "a row of its own"


# ---- benchmarks and runs


def test_runs_of_another_protocol_show_the_fields_that_differ(tmp_path: Path, put: Put) -> None:
    put()
    put(protocol={**UPERNET, "lr": 1.0, "new": True})
    own = gather(tmp_path).benchmarks()["ade20k-upernet"]
    page = benchmarks.page("ade20k-upernet", own, [], None, None)
    found = grid(page, "Runs with different protocols: what differs")
    assert {cells[0].value: [cell.value for cell in cells[1:]] for cells in found.rows} == {
        "lr": [f"{UPERNET['lr']:g}", "1"],
        "new": ["absent", "yes"],
    }
    pages = {page.sections[0].title: page for page in runs.pages(gather(tmp_path))}
    assert set(pages) == {"Result"}
    told_of = [facts(page)["protocol"] for page in runs.pages(gather(tmp_path))]
    assert [text.partition(", ")[2] for text in told_of] == ["that of the paper's setting", "changed, not the default"]


def test_classes_that_occur_nowhere_are_left_out_and_counted(tmp_path: Path, put: Put) -> None:
    put()
    put(checkpoint={"name": "other"}, per_class={"IoU": {"wall": None, "flag": None, "sky": 3.0}})
    own = gather(tmp_path).benchmarks()["ade20k-upernet"]
    found = grid(benchmarks.page("ade20k-upernet", own, [], None, None), "IoU of each class")
    values = {cells[0].value: [cell.value for cell in cells[1:]] for cells in found.rows}
    assert values == {"wall": [None, 78.25], "sky": [3.0, None]}
    assert found.lead == "1 classes that occur nowhere are left out."


def test_a_benchmark_that_this_release_does_not_know_is_shown_all_the_same(tmp_path: Path, put: Put) -> None:
    put(benchmark="from/tomorrow", metrics={"new": {"value": 1.0, "low": None, "high": None, "n": 3}})
    results = gather(tmp_path)
    page = benchmarks.page("from/tomorrow", results.runs, [], kind_of(["sample_id"]), None)
    assert page.title == "from/tomorrow" and row(grid(page, "Results on from/tomorrow"), "slip_base_25ep")
    assert results.runs[0].metric == "new"


def test_all_metrics_go_into_the_csv_of_a_list_of_runs(tmp_path: Path, put: Put) -> None:
    metrics = {"mIoU": FIELDS["metrics"]["mIoU"], "extra": {"value": 1.25, "low": None, "high": None, "n": 3}}
    record = put(metrics=metrics)
    data = runs_grid("All", gather(tmp_path).runs, by_benchmark=True).data()
    assert data is not None
    headings, rows = data
    assert [dict(zip(headings, line, strict=True))["metric"] for line in rows] == list(record.metrics)
    assert rows[0][-4:] == [46.31, 45.1, 47.52, 2000]


def test_a_run_that_trained_shows_its_losses(tmp_path: Path, put: Put) -> None:
    record = put()
    log = Store(tmp_path).folder(record.run_id) / "training" / "1" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text('{"loss": 3.0, "decode.acc": 9, "step": 1}\n{"loss": 2.0, "step": 2}\n{"mIoU": 4, "step": 2}\n[]\n')
    (page,) = runs.pages(gather(tmp_path))
    (figure,) = blocks(page, Figure)
    assert [panel.title for panel in figure.panels] == ["loss"]
    assert figure.values[1] == [["loss", 1, 3.0], ["loss", 2, 2.0]]


# ---- pictures


def save_row(folder: Path, name: str) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3 * 10 + 16, 8)).save(folder / f"{name}.png")


def test_runs_on_other_data_are_not_shown_beside_each_other(tmp_path: Path, put: Put) -> None:
    for data in ("d" * 16, "e" * 16):
        record = put(checkpoint={"name": data}, data={"fingerprint": data})
        save_row(Store(tmp_path).folder(record.run_id) / "pictures", "ADE_val_00000001")
    groups = gallery.collect("ade20k-upernet", gather(tmp_path).runs)
    assert [[run.label for run in group.runs] for group in groups] == [["d" * 16], ["e" * 16]]
    targets = [group.target(Path(), "ADE_val_00000001", "image") for group in groups]
    assert targets[0] != targets[1], "one name, two images"


def test_images_that_all_checkpoints_have_come_first(tmp_path: Path, put: Put) -> None:
    for name, samples in (("one", ("a", "b")), ("two", ("b", "c"))):
        record = put(checkpoint={"name": name})
        for sample in samples:
            save_row(Store(tmp_path).folder(record.run_id) / "pictures", sample)
    (group,) = gallery.collect("ade20k-upernet", gather(tmp_path).runs)
    assert list(group.files) == ["b", "a", "c"]
    jobs = group.jobs(tmp_path / "site")
    assert sorted(len(targets) for targets in jobs.values()) == [1, 3, 3, 3], "image and truth once for each image"


def test_a_run_without_pictures_has_no_place_in_the_gallery(tmp_path: Path, put: Put) -> None:
    put()
    assert gallery.collect("ade20k-upernet", gather(tmp_path).runs) == []


# ---- pretraining


def test_a_single_training_needs_no_legend_and_machinery_no_chart(tmp_path: Path) -> None:
    write_pretraining(tmp_path / "tiny", masks=0)
    page = training.page(gather(tmp_path), {}, {})
    (figure,) = blocks(page, Figure)
    assert list(figure.legend) == [] and "time" not in [panel.title for panel in figure.panels]
    assert not blocks(page, Gallery)
    assert facts(page)["method"] == "detailclip"


def test_damaged_settings_of_a_training_are_one_line(tmp_path: Path) -> None:
    write_pretraining(tmp_path / "tiny", masks=0)
    (tmp_path / "tiny" / "training.json").write_text("{")
    with pytest.raises(RecordError, match=r"training\.json is damaged"):
        gather(tmp_path)


# ---- words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "none"),
        (True, "yes"),
        (8e-5, "8e-05"),
        ([512, 512], "512, 512"),
        ({"a": {"b": [1]}}, "a b 1"),
        ([], "none"),
        ({}, "none"),
        ("text\u202e", "text\ufffd"),
    ],
)
def test_values_of_a_protocol_in_words(value: object, words: str) -> None:
    assert told(value) == words


def test_numbers_in_words() -> None:
    assert [duration(seconds) for seconds in (1.25, 61, 7384)] == ["1.2 s", "1 min 01 s", "2 h 03 min"]
    assert (size(None), size(2**31)) == ("not measured", "2.00 GiB")
    assert (signed(-1.5), signed(2)) == ("−1.50", "+2.00")


def test_the_ends_of_an_axis_hold_every_value() -> None:
    low, high = ends([3.0, None, 5.0])
    assert low < 3 < 5 < high
    assert ends([]) == (0.0, 1.0)
    low, high = ends([4.0])
    assert low < 4 < high


def test_cells_show_numbers_with_two_decimals_and_dashes_for_nothing() -> None:
    shown = [cell.shown for cell in (Cell(1.239), Cell(3), Cell(None), Cell("x"), Cell(5.0, "five"))]
    assert shown == ["1.24", "3", "–", "x", "five"]
    assert Cell(1.0, style="ours").classes(number=True) == "number short ours"
    assert Cell("a text that is longer than that").classes(number=False) == ""
