"""Every format holds the same table, can be read back by a parser, and takes any name harmlessly."""

import csv
import io
import itertools
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.errors import OptionError
from benchmarks.printing import FORMATS
from benchmarks.tables import Table, build, render
from benchmarks.tables.layouts import paper_rows
from tests.tables.parsed import check_latex, markdown_tables, read_html, tables_of
from tests.tables.runs import DEFAULTS, read_csv, run, table3

NUMBERS = [1, 2, 3, 4]


def filled() -> Table:
    """Table 1 with a full run, one of a row of its own and one that is not comparable."""
    return build(1, [run(), run(None, name="mine"), run(status="quick", value=3.0)], DEFAULTS)


def test_these_are_the_formats() -> None:
    assert set(FORMATS) == {"text", "markdown", "latex", "csv", "html"}
    with pytest.raises(OptionError, match="unknown format 'pdf': choose one of text, markdown, latex, html, csv"):
        render(build(1, [], {}), "pdf")


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_table_prints_in_every_format_without_any_record(number: int, form: str) -> None:
    text = render(build(number, [], {}), form)
    assert all(row[name] in text for row in paper_rows(number) for name in row)
    assert not text.endswith("\n")


def test_all_printed_formats_hold_the_same_cells() -> None:
    """They share one model: whatever a reader of one sees, a reader of another sees as well."""
    records = [run(), run(seed=1, value=47.0), run(status="quick"), *table3()[1:]]
    for number in (1, 3):
        table = build(number, records, DEFAULTS)
        seen = {}
        for form in ("text", "markdown", "html", "latex"):
            lines = itertools.chain.from_iterable(tables_of(render(table, form), form))
            cells = (cell for line in lines for cell in line if cell.text)
            seen[form] = [
                (re.sub(r"\\_", "_", cell.text).replace("$-$", "-").replace(r"$\pm$", "±"), cell.best, cell.second)
                for cell in cells
            ]
        assert seen["markdown"] == seen["html"] == seen["latex"] == seen["text"]


# ---- text


def test_text_holds_every_value_and_is_never_cut_off() -> None:
    """In a pipe rich assumes 80 columns and would end cells in dots."""
    text = render(build(1, [run(name="n" * 60)], DEFAULTS), "text")
    assert "…" not in text
    for expected in (
        "*48.8*",
        "_48.1_",
        "46.31 [45.31, 47.31]",
        "-0.29 [-1.29, +0.71]",
        "full, 1 seed",
        "status: incomplete, 1 of 4",
        "734.5M",
        "not run",
    ):
        assert expected in text
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


# ---- Markdown


def test_markdown_marks_best_and_second_best_and_every_line_has_as_many_cells() -> None:
    text = render(build(1, [run(), run(None, name="a|b"), run(status="quick")], DEFAULTS), "markdown")
    assert "**48.8**" in text
    assert "<u>48.1</u>" in text
    tables = markdown_tables(text)
    assert [{len(line) for line in table} for table in tables] == [{10}, {8}, {9}]
    for block, table in zip(re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE), tables, strict=True):
        assert len(block.strip().splitlines()) == len(table) + 1  # the parser drops nothing but the rule
    assert any(cell.text == "a|b (online)" for line in tables[0] for cell in line)


# ---- CSV


def test_csv_has_a_line_for_each_cell_unrounded() -> None:
    table = build(1, [run(value=46.123456789), run(status="quick", value=3.0)], DEFAULTS)
    lines = read_csv(table)
    assert len(lines) == 11 * 4 + 1
    (found,) = (line for line in lines if line["ours"] and line["section"] == "paper")
    assert (found["method"], found["column"], found["paper"]) == ("SLIP", "ade20k_upernet", "46.6")
    assert float(found["ours"]) == 46.123456789
    assert float(found["difference"]) == 46.123456789 - 46.6
    assert float(found["difference_low"]) == 45.123456789 - 46.6
    assert (found["status"], found["sha256"], found["tower"]) == ("full", "ab" * 32, "online")
    assert found["weights"] == "public: slip-vitb16-25e"
    assert lines[-1]["reason"] == "quick"
    assert {line["status"] for line in lines} == {"full", "quick", "not run"}


# ---- HTML


def test_html_is_a_fragment_with_captions_scopes_and_numbers_to_sort_by() -> None:
    text = render(filled(), "html")
    reader = read_html(text)
    assert reader.tags[0] == ("div", {"class": "paper-table", "id": "paper-table-1"})
    names = [attributes["class"] for tag, attributes in reader.tags if tag == "table"]
    assert names == ["main", "views", "other"]
    assert sum(tag == "caption" for tag, _ in reader.tags) == 3
    assert {attributes["scope"] for tag, attributes in reader.tags if tag == "th"} == {"col", "row"}
    assert [{len(line) for line in table} for table in reader.tables] == [{10}, {8}, {9}]
    cells = [cell for line in reader.tables[0] for cell in line]
    measured = next(cell for cell in cells if cell.text.startswith("46.31"))
    assert [float(measured.data[f"data-{name}"]) for name in ("value", "low", "high")] == [46.31, 45.31, 47.31]
    difference = next(cell for cell in cells if cell.text.startswith("-0.29"))
    assert float(difference.data["data-value"]) == pytest.approx(-0.29)
    assert next(cell for cell in cells if cell.text == "9600M (README 960M)").data["data-value"] == "9600.0"
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_body_holds_a_row_and_all_that_stands_for_it() -> None:
    """So that a page can sort rows without tearing a checkpoint from its row."""
    tags = read_html(render(filled(), "html")).tags
    bodies: list[tuple[str, str, list[str]]] = []
    for tag, attributes in tags:
        if tag == "tbody":
            bodies.append((attributes["class"], attributes.get("data-row", ""), []))
        elif tag == "tr" and "class" in attributes:
            bodies[-1][2].append(attributes["class"])
    assert ("paper-row", "SLIP@25", ["paper", "ours", "difference", "status"]) in bodies
    assert ("paper-row", "DeiT@300", ["paper", "ours"]) in bodies
    assert ("own-row", "", ["ours", "status"]) in bodies
    assert bodies[-1] == ("other-run", "", ["other"])


# ---- LaTeX


@pytest.mark.parametrize("number", NUMBERS)
def test_latex_has_balanced_environments_and_full_lines(number: int) -> None:
    text = render(build(number, [run(), run(status="quick"), *table3()], DEFAULTS), "latex")
    main, *_ = check_latex(text)
    assert len({len(line) for line in main}) == 1
    assert r"\usepackage{booktabs,adjustbox}" in text
    assert r"\caption{Table" in text
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(labels) == len(set(labels)) == text.count(r"\begin{table}")


def test_latex_shows_signs_and_dashes_as_a_reader_expects_them() -> None:
    text = render(build(1, [run(), run(seed=1, value=45.0)], DEFAULTS), "latex")
    assert r"$\pm$" in text
    assert "$-$" in text
    assert "YFCC-15M" in text
    assert "A-CLIP" in text
    assert r"\textbf{48.8}" in text
    assert r"\underline{48.1}" in text
    assert " -- &" in text  # the cell that the paper leaves empty


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("50%_a&b#c$d^e~f", r"50\%\_a\&b\#c\$d\textasciicircum{}e\textasciitilde{}f"),
        ("a--b---c", "a-{}-b-{}-{}-c"),
        ("[2cm]", "{}[2cm]"),
        ("* x", "{}* x"),
        ("Gödel ç 中", r"G\"{o}del \c{c} [U+4E2D]"),
        ('"`<|>', r"{\char34}{\char96}\textless{}\textbar{}\textgreater{}"),
    ],
)
def test_latex_sets_a_name_as_it_is(name: str, written: str) -> None:
    text = render(build(1, [run(None, name=name)], DEFAULTS), "latex")
    assert f" {written} (online) &" in text
    check_latex(text)


ENGINES = [name for name in ("pdflatex", "tectonic", "xelatex", "lualatex") if shutil.which(name)]


@pytest.mark.slow
@pytest.mark.skipif(not ENGINES, reason="no LaTeX engine is installed (pdflatex, tectonic, xelatex, lualatex)")
@pytest.mark.parametrize("engine", ENGINES)
def test_latex_compiles(engine: str, tmp_path: Path) -> None:
    names = [name for name in HOSTILE if name.strip()]
    tables = [render(build(number, [run(None, name=name) for name in names], DEFAULTS), "latex") for number in NUMBERS]
    document = "\n".join(
        [
            r"\documentclass{article}\usepackage{booktabs,adjustbox}\begin{document}",
            *("\\clearpage\n" + table for table in tables),
            r"\end{document}",
        ]
    )
    (tmp_path / "tables.tex").write_text(document, encoding="ascii")
    options = [] if engine == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([engine, *options, "tables.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "tables.pdf").is_file()


# ---- hostile names


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table><h1>",
    "<!-- ",
    "&lt;b&gt;",
    r"\input{/etc/passwd}",
    r"\\ & \end{tabular} % $ # _ ^ ~ {",
    "[red]x[/red]",
    "a|b\nc",
    "| --- |",
    "`code` **bold** ~~gone~~ $x$",
    "![i](http://x/y.png)",
    "[l](javascript:alert(1))",
    "<http://x>",
    "http://x www.x.org",
    "=1+1",
    '@SUM(A1:A2)","x',
    "-1\n+1",
    "\x1b[31mred\x1b[0m",
    "\u202egpj.exe",
    "שלום עולם",
    "مرحبا 12 34",
    "中文 模型 ✓ 🦙 é ß İ",
    "…" * 500,
    "../../etc/passwd",
    "\t ",
    "\ud800",
]


def hostile_table(name: str) -> Table:
    """Table 1 with a name in all places that take one: checkpoint, row, tower, training record."""
    row = name.replace("@", "") or None
    training = {"method": name, "epochs": name, "group": name, "views": 2, "images": 3}
    places: dict[str, Any] = {"name": name, "tower": name, "training": training}
    return build(1, [run(None, **places), run(row, **places), run(row, status="quick", **places)], DEFAULTS)


NAMES = st.sampled_from(HOSTILE) | st.text(min_size=1) | st.text("\\{}[]()<>|&*_`~#$%^\"'=-+@!:/ .wx\n", min_size=1)


@pytest.mark.parametrize("form", ["markdown", "html", "latex", "text", "csv"])
def test_all_hostile_names_at_once(form: str) -> None:
    records = [run(None, name=name, tower=name, run_id=f"run-{at}") for at, name in enumerate(HOSTILE)]
    table = build(1, [*records, *(record.model_copy(update={"status": "quick"}) for record in records)], DEFAULTS)
    text = render(table, form)
    if form == "csv":
        assert len(text.split("\n")) == 1 + 11 * 4 + len(HOSTILE) * 5
    else:
        main, _, other = check_latex(text) if form == "latex" else tables_of(text, form)
        assert (len(main), len(other)) == (1 + 11 * 2 + len(HOSTILE) * 2, 1 + len(HOSTILE))
    assert not re.search(r"[\0-\t\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", text)


@settings(max_examples=25)
@given(NAMES)
@example("a" * 100_000)
def test_a_hostile_name_is_harmless_in_text(name: str) -> None:
    lines = render(hostile_table(name), "text").split("\n")
    for character in set("".join(lines)) - {"\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"}:
        assert character.isprintable()
    assert max(map(len, lines)) < 700


def test_a_name_from_right_to_left_cannot_draw_the_numbers_to_its_other_side() -> None:
    text = render(build(1, [run(None, name="שלום")], DEFAULTS), "text")
    assert "\N{FIRST STRONG ISOLATE}שלום (online)\N{POP DIRECTIONAL ISOLATE}" in text
    assert "<bdi>שלום (online)</bdi>" in render(build(1, [run(None, name="שלום")], DEFAULTS), "html")


@settings(max_examples=25)
@given(NAMES)
def test_a_hostile_name_is_harmless_in_markdown(name: str) -> None:
    """No tag, link, picture, code or cell out of it; it is shown as it is."""
    table = hostile_table(name)
    text = render(table, "markdown")
    found = markdown_tables(text)
    assert [{len(line) for line in lines} for lines in found] == [{10}, {8}, {9}]
    shown = {cell.text for lines in found for line in lines for cell in line}
    (entry, *_) = (entry for row in table.rows for entry in row.entries)
    assert f"{entry.checkpoint} ({entry.tower})".strip() in shown
    assert not re.search(r"(?i)https?://|www\.", text)


@settings(max_examples=25)
@given(NAMES)
def test_a_hostile_name_is_harmless_in_html(name: str) -> None:
    """Only tags and attributes of ours, all closed; the name is text."""
    table = hostile_table(name)
    reader = read_html(render(table, "html"))
    assert [{len(line) for line in lines} for lines in reader.tables] == [{10}, {8}, {9}]
    (entry, *_) = (entry for row in table.rows for entry in row.entries)
    assert f"{entry.checkpoint} ({entry.tower})" in {cell.text for line in reader.tables[0] for cell in line}


@settings(max_examples=25)
@given(NAMES)
def test_a_hostile_name_is_harmless_in_latex(name: str) -> None:
    """No command, comment, cell or unbalanced brace out of it, and nothing that an engine cannot set."""
    found = check_latex(render(hostile_table(name), "latex"))
    assert [{len(line) for line in lines} for lines in found] == [{10}, {8}, {9}]


@settings(max_examples=25)
@given(NAMES)
def test_a_hostile_name_is_harmless_in_csv(name: str) -> None:
    """No formula and no line or cell out of it."""
    table = hostile_table(name)
    text = render(table, "csv")
    lines = list(csv.reader(io.StringIO(text)))
    assert {len(line) for line in lines} == {len(lines[0])}
    # two checkpoints of the same name and content share an own row unless one stands for a row of the paper
    assert len(lines) - 1 == 11 * 4 + 4 + 1
    foreign = {"checkpoint", "tower", "row", "method", "epochs", "group", "notes"}
    for line in read_csv(table):
        assert not any(line[column].startswith(("=", "+", "-", "@", "\t", "\r")) for column in foreign)
        assert not any(unicodedata.category(character) == "Cc" for value in line.values() for character in value)


def test_plain_names_are_shown_as_they_are() -> None:
    assert "[red]x[/red] (online)" in render(build(1, [run(None, name="[red]x[/red]")], DEFAULTS))
