"""The checkers that the tables are held against find what they are to find."""

import pytest

from tests.tables.parsed import check_latex, markdown_tables, read_html

TABULAR = "% head\n\\begin{tabular}{lr}\n\\toprule\na & b \\\\\n%s\n\\bottomrule\n\\end{tabular}"


@pytest.mark.parametrize(
    "line",
    [
        r"\input{x} & 1 \\",
        r"a & 1 & 2 \\",
        r"a \\",
        r"a & 1",
        r"a_b & 1 \\",
        r"50% & 1 \\",
        r"$x & 1 \\",
        r"{x & 1 \\",
        r"x} & {1 \\",
        r"[2cm] & 1 \\",
        r"* & 1 \\",
        "é & 1 \\\\",
        r"\begin{table} & 1 \\",
    ],
)
def test_latex_that_would_not_compile_is_found(line: str) -> None:
    check_latex(TABULAR.replace("%s", r"x \& y & 1 \\"))
    with pytest.raises(AssertionError):
        check_latex(TABULAR.replace("%s", line))


@pytest.mark.parametrize("cell", ["<b>x</b>", "[x](y)", "![x](y)", "`x`", "<http://x>", "~~x~~", "*x*"])
def test_markup_in_markdown_is_found(cell: str) -> None:
    text = "| a |\n| --- |\n| %s |"
    assert markdown_tables(text % "x")[0][1][0].text == "x"
    with pytest.raises(AssertionError):
        markdown_tables(text % cell)


@pytest.mark.parametrize(
    "inside",
    [
        "<script></script>",
        "<b>x</b>",
        "<td>",
        "</div>",
        '<a href="http://x">x</a>',
        '<u onclick="x">x</u>',
        "<!-- x -->",
    ],
)
def test_markup_in_html_is_found(inside: str) -> None:
    assert read_html("<div>x</div>").text == "x"
    with pytest.raises((AssertionError, IndexError)):
        read_html(f"<div>{inside}</div>")
