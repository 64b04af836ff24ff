"""A printed comparison says everything that was found, and nothing a name smuggles in."""

import csv
import html
import io
import re

import pytest

from benchmarks.comparison.inference import Difference
from benchmarks.comparison.model import Comparison, Line, Pair, Tally
from benchmarks.comparison.render import render
from benchmarks.errors import OptionError
from benchmarks.statistics import Interval

HOSTILE = ["<script>alert(1)</script>", "a|b `c` *d* [e](http://f)", "=cmd()", "[red]x[/red]"]


def line(benchmark: str, value: float, verdict: str, seeds: tuple[int, int] = (1, 1)) -> Line:
    found = Difference(40.0, 40.0 + value, Interval(value - 1, value + 1), 0.0004, "McNemar", seeds, 1880)
    ids = (("run-a",), ("run-b", "run-c"))
    return Line(benchmark, "top1", found, 0.0008, verdict, "full", ids)  # type: ignore[arg-type]


def example(other: str = "detail") -> Comparison:
    pair = Pair(
        other=other,
        lines=(
            line("zeroshot/dtd", 3.25, "better"),
            line("zeroshot/sst2", -0.5, "noise"),
            line("ade20k-upernet", -3, "worse, one seed", (1, 3)),
        ),
        tally=Tally(1, 1, 0, 1, 0, 1, ("zeroshot/pets",)),
        own={"tower": ('"ema"', '"online"', ("zeroshot/dtd", "zeroshot/sst2", "ade20k-upernet"))},
        refused=("zeroshot/cars: not comparable: protocol.crop: 224 against 256",),
        missing={"coco-retrieval": "slip", "zeroshot/kitti": "slip"},
        notes=("zeroshot/dtd: both have 2 settings in common",),
    )
    return Comparison("slip", (pair,), 3, ("difference: less the baseline",))


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_everything_is_said(form: str) -> None:
    plain = html.unescape(re.sub("<(?!0)[^>]*>", " ", render(example(), form)))
    shown = " ".join(plain.replace("\\", "").split())
    for text in (
        *("detail against slip", "+3.25", "[+2.25, +4.25]", "<0.001", "▲ better", "≈ noise", "▼ worse, one seed"),
        *("1,880", "1 and 3", "full", "detail wins 1, ties 1, loses 0; by plain values 1 higher, 0 equal, 1 lower"),
        *("2 of its 3 sets (without zeroshot/pets)", "REFUSED zeroshot/cars: not comparable: protocol.crop: 224"),
        *("only slip has coco-retrieval, zeroshot/kitti", 'own tower: "ema" | "online" (everywhere)'),
        *("both have 2 settings", "difference: less the baseline"),
    ):
        assert text in shown, text


def test_text_is_not_cut_and_not_coloured() -> None:
    shown = render(example("x" * 60))
    assert "x" * 60 in shown
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) > 150


def test_markdown_is_a_table() -> None:
    rows = [row for row in render(example(), "markdown").splitlines() if row.startswith("|")]
    assert len(rows) == 2 + 3
    assert {row.count(" | ") for row in rows} == {10}


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_names(name: str) -> None:
    text, marked = render(example(name)), render(example(name), "markdown")
    assert name in text
    assert "<script>" not in marked + render(example(name), "html") + render(example(name), "latex")
    rows = [row for row in marked.splitlines() if row.startswith("|")]
    assert {len(row.replace("\\|", "").split(" | ")) for row in rows} == {11}
    cells = list(csv.DictReader(io.StringIO(render(example(name), "csv"))))
    assert not cells[0]["other"].startswith("=")
    assert cells[0]["other"].removeprefix("'") == name


def test_csv_is_complete_and_unrounded() -> None:
    rows = list(csv.DictReader(io.StringIO(render(example(), "csv"))))
    assert [row["section"] for row in rows] == ["compared"] * 3 + ["refused"] + ["missing"] * 2
    first = rows[0]
    assert (float(first["difference"]), float(first["low"]), float(first["p_holm"])) == (3.25, 2.25, 0.0008)
    assert (first["tests"], first["test"], first["verdict"], first["images"]) == ("3", "McNemar", "better", "1880")
    assert (first["baseline_runs"], first["other_runs"]) == ("run-a", "run-b run-c")
    assert (rows[2]["baseline_seeds"], rows[2]["other_seeds"]) == ("1", "3")
    assert rows[3]["reason"].startswith("zeroshot/cars")


def test_html_holds_the_numbers_and_the_verdict_of_each_line() -> None:
    shown = render(example(), "html")
    assert '<tr class="better"><th scope="row" class="label">zeroshot/dtd</th>' in shown
    assert '<td class="value" data-low="2.25" data-high="4.25">[+2.25, +4.25]</td>' in shown
    assert '<td class="label">≈ noise</td>' in shown
    assert '<tr class="worse">' in shown  # of one seed


def test_latex_is_a_table_with_signs_that_every_engine_sets() -> None:
    shown = render(example("a_b & c"), "latex")
    assert r"\label{tab:comparison-pair-1}" in shown
    assert r"\begin{tabular}{llrrrrrrrll}" in shown
    assert r"a\_b \& c" in shown
    assert r"$\uparrow$ better \\" in shown
    assert shown.isascii()


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(OptionError, match="unknown format 'pdf': choose one of text, markdown, latex, html, csv"):
        render(example(), "pdf")
