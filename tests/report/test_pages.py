"""Every page is whole, leads nowhere but to the site, can be heard as well as seen, and says what the records say."""

import csv
import itertools
import re
from pathlib import Path

import pytest

from benchmarks.records import Store
from benchmarks.report.names import slug
from benchmarks.report.results import benchmark_page, gather
from benchmarks.run import default_fingerprints
from benchmarks.tables import build
from tests.report.html import Element, pages


@pytest.fixture(scope="module")
def parsed(site: Path) -> dict[str, Element]:
    return pages(site)


def rows_of(page: Element, title: str) -> list[list[str]]:
    """The cells of the table with that title."""
    for block in page.classed("block"):
        if block.all("h3") and block.all("h3")[0].text == title:
            body = block.all("tbody")[0]
            return [[cell.text.strip() for cell in row.all("th", "td")] for row in body.all("tr")]
    raise AssertionError(f"no table {title!r}")


def test_every_run_checkpoint_and_benchmark_has_a_page(out: Path, parsed: dict[str, Element]) -> None:
    results = gather(out)
    assert len(results.runs) == 33
    assert {run.page for run in results.runs} <= set(parsed)
    assert {benchmark_page(name) for name in results.benchmarks()} <= set(parsed)
    assert sum(name.startswith("checkpoint-") for name in parsed) == 3
    assert {"index", "tables", "pictures", "pretraining"} <= set(parsed)


def test_every_link_leads_to_a_file_of_the_site_and_an_anchor_in_it(site: Path, parsed: dict[str, Element]) -> None:
    anchors = {name: {element.attributes.get("id") for element in page.all()} for name, page in parsed.items()}
    for name, page in parsed.items():
        for element in page.all("a", "img", "link", "script"):
            target = element.attributes.get("href") or element.attributes["src"]
            assert not re.match(r"[a-z]+:|/", target), (name, target)
            address, _, anchor = target.partition("#")
            path = site / (address or f"{name}.html")
            assert path.is_file(), (name, target)
            assert path.resolve().is_relative_to(site.resolve())
            if anchor:
                assert anchor in anchors[path.stem], (name, target)


def test_nothing_runs_or_is_fetched_that_is_not_a_file_of_the_site(site: Path, parsed: dict[str, Element]) -> None:
    for name, page in parsed.items():
        for element in page.all():
            assert not [each for each in element.attributes if each.startswith("on")], (name, element.tag)
            assert "style" not in element.attributes, (name, element.tag)
            assert element.tag not in {"iframe", "object", "embed", "form", "style", "base"}, name
        assert all(script.text == "" for script in page.all("script")), name
        policy = next(meta for meta in page.all("meta") if "http-equiv" in meta.attributes).attributes["content"]
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy and "http" not in policy
    for path in (site / "assets").iterdir():
        content = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?:|url\(|@import|fetch\(|innerHTML|eval\(", content), path


def test_pages_can_be_heard(parsed: dict[str, Element]) -> None:
    for name, page in parsed.items():
        assert page.all("html")[0].attributes["lang"] == "en"
        assert page.all("title")[0].text.strip()
        assert len(page.all("main")) == len(page.all("header")) == len(page.all("h1")) == 1, name
        levels = [int(element.tag[1]) for element in page.all("h1", "h2", "h3", "h4")]
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), (name, levels)
        identities = [element.attributes["id"] for element in page.all() if "id" in element.attributes]
        assert len(identities) == len(set(identities)), name
        for element in page.all():
            for said_by in element.attributes.get("aria-labelledby", "").split():
                assert said_by in identities, (name, said_by)
        assert page.all("a")[0].attributes["href"] == "#content", "the first stop of the Tab key skips the header"
        assert sum("aria-current" in link.attributes for link in page.all("a")) <= 1


def test_pictures_charts_and_tables_have_names(parsed: dict[str, Element]) -> None:
    for name, page in parsed.items():
        for picture in page.all("img"):
            assert len(picture.attributes["alt"]) > 8, name
            assert int(picture.attributes["width"]) > 0 and int(picture.attributes["height"]) > 0
        for drawing in page.all("svg"):
            spoken = drawing.attributes.get("role") == "img" and drawing.attributes.get("aria-label")
            assert spoken or drawing.attributes.get("aria-hidden") == "true", name
        for table in page.all("table"):
            assert table.attributes["aria-labelledby"]
            widths = {len(row.all("th", "td")) for row in table.all("tr")}
            assert len(widths) == 1, (name, widths)
            assert all(cell.attributes["scope"] == "col" for cell in table.all("thead")[0].all("th"))
            for row in table.all("tbody")[0].all("tr"):
                assert [cell.attributes.get("scope") for cell in row.all("th")] == ["row"]


def test_every_table_and_figure_has_its_data_as_csv(site: Path, parsed: dict[str, Element]) -> None:
    for name, page in parsed.items():
        for block in page.classed("block"):
            if block.all("table") or block.classed("charts") or block.classed("natural"):
                (link,) = block.classed("csv")
                with (site / link.attributes["href"]).open(encoding="utf-8", newline="") as stream:
                    headings, *rows = csv.reader(stream)
                assert all(len(row) == len(headings) for row in rows), name
                assert rows or not block.all("td"), name


def test_tables_hold_the_papers_values_and_ours(out: Path, parsed: dict[str, Element]) -> None:
    records = Store(out).load_all()
    sections = {section.all("h2")[0].text: section for section in parsed["tables"].all("section")}
    for number in (1, 2, 3, 4):
        table = build(number, records, default_fingerprints())
        section = sections[f"Table {number}"]
        cells = [cell.attributes.get("data-sort") for cell in section.all("table")[0].all("td")]
        for row in table.rows:
            assert {str(paper.value) for paper in row.paper.values()} <= set(cells)
            for entry in row.entries:
                assert {str(cell.value) for cell in entry.cells.values()} <= set(cells)
        shown = section.text
        assert all(other.metric in shown for other in table.other)
        assert all(note in shown for note in table.footnotes)


def test_values_stand_beside_a_bar_that_says_the_interval(out: Path, parsed: dict[str, Element]) -> None:
    record = next(record for record in Store(out).load_all() if record.run_id.startswith("imagenet-zeroshot--slip"))
    metric = record.metrics["top1"]
    said = [bar.attributes["aria-label"] for bar in parsed["tables"].classed("bar")]
    wanted = f"{metric.value:.2f}, 95 % interval {metric.low:.2f} to {metric.high:.2f}, the mark stands at 42.80"
    assert wanted in said


def test_runs_that_must_not_stand_beside_the_paper_stand_apart(parsed: dict[str, Element]) -> None:
    tables = [table for table in parsed["tables"].all("table") if "mine" in table.text]
    assert tables
    for table in tables:
        assert "why not comparable" in table.all("thead")[0].text
        assert "partial" in table.text


def test_the_overview_tells_which_cells_are_filled_and_by_what(parsed: dict[str, Element]) -> None:
    rows = {row[0]: row[1:] for row in rows_of(parsed["index"], "Table 2")}
    assert rows["SLIP@25slip_base_25ep"] == ["● measured, 1 runs"] * 5
    assert rows["A-CLIP@50"] == ["· not run"] * 5
    assert rows["mine"] == ["○ not comparable: partial"] * 5
    assert "1 runs are under way or were stopped" in parsed["index"].text
    tiles = {
        tile.all("dt")[0].text: tile.all("strong")[0].text for tile in parsed["index"].classed("tiles")[0].all("div")
    }
    assert tiles["complete runs"] == "33" and tiles["checkpoints"] == "3"
    # 4 cells of Table 1, 5 of Table 2, 2 sets, for two checkpoints; DetailCLIP@25 is a row of Table 4 too.
    assert tiles["cells of the paper measured"] == "23 of 210"


def test_measured_less_printed_is_the_difference(parsed: dict[str, Element]) -> None:
    for row in rows_of(parsed["index"], "Measured less printed"):
        paper, ours, difference = (re.match(r"[+−]?\d+\.\d{1,2}", cell) for cell in row[2:5])
        assert paper and ours and difference
        expected = float(ours[0]) - float(paper[0])
        assert float(difference[0].replace("−", "-")) == pytest.approx(expected, abs=0.011)


def test_a_run_tells_where_its_number_comes_from(out: Path, site: Path, parsed: dict[str, Element]) -> None:
    for run in gather(out).runs:
        page, record = parsed[run.page], run.record
        text = page.text
        for told in (record.run_id, record.protocol_fingerprint, record.data.fingerprint, "bench run ade20k-upernet"):
            assert told in text
        assert all(name in text for name in record.protocol)
        kept = (run.folder / "record.json").read_bytes()
        assert (site / "data" / f"{run.page}.json").read_bytes() == kept


def test_a_checkpoint_shows_file_and_all_its_runs(out: Path, parsed: dict[str, Element]) -> None:
    for (name, sha256), runs in gather(out).checkpoints().items():
        page = parsed[f"checkpoint-{slug(sha256, name)}"]
        assert sha256 in page.text and runs[0].record.checkpoint.family in page.text
        assert len(rows_of(page, f"Runs of {name}")) == len(runs)


def test_galleries_show_the_same_images_for_all_checkpoints(parsed: dict[str, Element]) -> None:
    page = parsed[f"pictures-{slug('ade20k-upernet')}"]
    rows = page.classed("pictures")
    assert [row.all("h4")[0].text for row in rows] == [f"ADE_val_{at:08d}" for at in range(3)]
    for row in rows:
        titles = [figure.all("figcaption")[0].all("span")[0].text for figure in row.all("figure")]
        assert titles[:2] == ["image", "truth"]
        labels = [title.split(" ")[0] for title in titles[2:]]
        assert labels == ["detailclip_base_25ep", "slip_base_25ep", "mine"], "one run each, of the first seed"
        assert all("mIoU of the image" in picture.attributes["alt"] for picture in row.all("img")[2:])


def test_pretrainings_show_curves_of_both_and_masks(parsed: dict[str, Element]) -> None:
    page = parsed["pretraining"]
    assert [panel.all("figcaption")[0].text for panel in page.classed("charts")[0].all("figure")] == [
        "loss",
        "clip",
        "cls",
        "lr",
    ]
    assert len(page.all("polyline")) == 8
    assert [item.text for item in page.classed("legend")[0].all("li")] == [
        "detailclip-tiny",
        "pretrained/clip-tiny-seed1",
    ]
    masks = page.classed("wide-pictures")[0].all("img")
    assert len(masks) == 2 and "98 of 196 patches removed" in masks[0].attributes["alt"]


def test_the_comparison_shows_what_was_compared_and_what_was_refused(parsed: dict[str, Element]) -> None:
    rows = {row[0]: row for row in rows_of(parsed["comparison"], "Differences")}
    assert {"zeroshot/dtdtop1", "zeroshot/mnisttop1", "imagenet-zeroshottop1"} <= set(rows)
    for row in rows.values():
        first, second, difference = (re.match(r"[+−]?\d+\.\d{1,2}", cell) for cell in row[1:4])
        assert first and second and difference
        expected = float(second[0]) - float(first[0])
        assert float(difference[0].replace("−", "-")) == pytest.approx(expected, abs=0.011)
    # The invented segmentations' samples do not give their records' mIoU.
    assert "its samples give mIoU" in parsed["comparison"].text


def test_rooms_without_anything_are_left_out(tmp_path: Path) -> None:
    from benchmarks.report import write_report
    from tests.report.world import write_world

    write_world(tmp_path, ("zeroshot/mnist",))
    write_report(tmp_path, tmp_path / "report", lambda line: None)
    found = pages(tmp_path / "report")
    assert not {"pictures", "pretraining"} & set(found)
    assert {link.text for link in found["index"].all("nav")[0].all("a")} == {"Overview", "Tables"}
