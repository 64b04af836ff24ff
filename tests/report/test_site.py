"""The site's folder is whole or absent, takes the place of nothing but a report, and pictures are only pixels."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.errors import OptionError, RecordError
from benchmarks.report import write_report
from benchmarks.report.pictures import LARGEST, write_panels, written
from benchmarks.report.results import curves, gather
from benchmarks.report.site import MARKER, replaced
from tests.report.world import write_pictures, write_pretraining, write_world


def fill(folder: Path, text: str) -> None:
    with replaced(folder) as unfinished:
        (unfinished / MARKER).write_text("{}")
        (unfinished / "index.html").write_text(text)


def test_a_report_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    fill(tmp_path / "report", "old")
    (tmp_path / "report" / "stale.html").write_text("of the old one")
    fill(tmp_path / "report", "new")
    assert (tmp_path / "report" / "index.html").read_text() == "new"
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["index.html", MARKER]
    assert [path.name for path in tmp_path.iterdir()] == ["report"], "nothing is left beside it"


def test_a_report_that_fails_leaves_the_older_one_alone(tmp_path: Path) -> None:
    fill(tmp_path / "report", "old")
    with pytest.raises(KeyboardInterrupt), replaced(tmp_path / "report") as unfinished:
        (unfinished / "index.html").write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "report" / "index.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), replaced(tmp_path / "report") as unfinished:
        work = unfinished.parent
        raise RuntimeError
    (work / "site").mkdir(parents=True)
    (work / "site" / "half.html").write_text("half")
    fill(tmp_path / "report", "new")
    assert not (tmp_path / "report" / "half.html").exists()


def test_two_reports_into_one_folder_do_not_mix(tmp_path: Path) -> None:
    with replaced(tmp_path / "report"), pytest.raises(RecordError, match="another process"):
        fill(tmp_path / "report", "second")


def test_a_folder_of_the_users_is_never_replaced(tmp_path: Path) -> None:
    write_world(tmp_path / "out", ("zeroshot/mnist",))
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.tex").write_text("precious")
    for place in (thesis, tmp_path / "out", thesis / "chapter.tex"):
        with pytest.raises(OptionError, match="no report"):
            write_report(tmp_path / "out", place, lambda line: None)
    assert (thesis / "chapter.tex").read_text() == "precious"


def test_an_empty_results_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no complete run and no pretraining"):
        write_report(tmp_path, tmp_path / "report", lambda line: None)
    assert not (tmp_path / "report").exists()


def test_a_pretraining_alone_makes_a_report(tmp_path: Path) -> None:
    write_pretraining(tmp_path / "tiny")
    index = write_report(tmp_path, tmp_path / "report", lambda line: None)
    assert index.is_file() and (tmp_path / "report" / "pretraining.html").is_file()


def test_the_same_results_give_the_same_pages(tmp_path: Path) -> None:
    write_world(tmp_path, ("ade20k-upernet", "zeroshot/mnist"), images=8, pictures=2)
    contents = []
    for name in ("one", "two"):
        write_report(tmp_path, tmp_path / name, lambda line: None)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        dated = re.compile(rb"\d{1,2} \w+ \d{4}, \d\d:\d\d UTC")
        contents.append({path.relative_to(tmp_path / name): dated.sub(b"", path.read_bytes()) for path in files})
    assert contents[0] == contents[1]


def test_panels_keep_flat_colours_exactly_and_are_made_smaller(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a"], 2 * LARGEST, np.random.default_rng(0))
    targets = {number: tmp_path / f"panel-{number}" for number in range(3)}
    sizes = write_panels({tmp_path / "a.png": targets})
    assert {max(size) for size in sizes.values()} == {LARGEST}
    assert [written(targets[number]).suffix for number in range(3)] == [".jpg", ".webp", ".webp"]
    with Image.open(tmp_path / "a.png") as whole, Image.open(written(targets[2])) as panel:
        right = whole.convert("RGB").crop((whole.width - (whole.width - 16) // 3, 0, whole.width, whole.height))
        kept, there = panel.convert("RGB").getcolors(), right.getcolors()
        assert kept and there and {colour for _, colour in kept} <= {colour for _, colour in there}


@pytest.mark.parametrize("content", [b"", b"<html><script>alert(1)</script>", b"\x89PNG\r\n\x1a\nnonsense"])
def test_a_file_that_is_no_picture_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "evil.png").write_bytes(content)
    with pytest.raises(RecordError, match=r"evil\.png is no picture"):
        write_panels({tmp_path / "evil.png": {0: tmp_path / "panel"}})


def test_a_picture_that_is_no_row_of_panels_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (101, 20)).save(tmp_path / "one.png")
    with pytest.raises(RecordError, match="no row of image, truth and prediction"):
        write_panels({tmp_path / "one.png": {0: tmp_path / "panel"}})


def test_curves_of_a_resumed_run_are_joined_and_half_lines_skipped(tmp_path: Path) -> None:
    write_pretraining(tmp_path / "tiny", steps=100, masks=0)
    found = curves(sorted((tmp_path / "tiny").glob("logs/*/vis_data/scalars.json")))
    assert found["loss"][0] == [float(step) for step in range(10, 100, 10)]
    (later,) = (tmp_path / "tiny").glob("logs/20260101_01*/vis_data/scalars.json")
    assert found["loss"][1][-1] == curves([later])["loss"][1][-1], "the later part's value of a step counts"


def test_masks_that_are_not_in_the_folder_are_not_read(tmp_path: Path) -> None:
    write_pretraining(tmp_path / "tiny", masks=1)
    secret = tmp_path / "secret.png"
    Image.new("RGB", (5, 5)).save(secret)
    with (tmp_path / "tiny" / "masks" / "masks.csv").open("a") as table:
        table.write("../../secret.png,x,caption,1,1,0,1\n")
        table.write(f"{secret},x,caption,1,1,0,1\n")
    (pretraining,) = gather(tmp_path).pretrainings
    assert [path.name for path, *_ in pretraining.masks] == ["0000.png"]
