"""Reading printed tables back: Markdown and HTML with parsers of theirs, LaTeX with a checker of ours."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from markdown_it import MarkdownIt

# ---- Markdown


@dataclass
class Cell:
    """A cell as a reader sees it: its text without marks, its rank, the marks of its notes."""

    text: str = ""
    best: bool = False
    second: bool = False
    marks: str = ""
    data: dict[str, str] = field(default_factory=dict)


def markdown_tables(text: str) -> list[list[list[Cell]]]:
    """Tables, lines, cells, the heading as the first line.

    Raises:
        AssertionError: there is a link, a picture, code, or a tag other than those of ours.
    """
    tables: list[list[list[Cell]]] = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        assert token.type not in ("html_block", "fence", "code_block", "blockquote_open", "ordered_list_open"), token
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in ("th_open", "td_open"):
            tables[-1][-1].append(Cell())
        elif token.type == "inline":
            cell = tables[-1][-1][-1] if token.level >= 4 and tables else Cell()
            inside = ""
            for child in token.children or []:
                if child.type == "html_inline":
                    assert child.content in ("<u>", "</u>", "<sup>", "</sup>"), child.content
                    inside = child.content.strip("<>")
                    cell.second |= inside == "u"
                elif child.type == "text" and inside == "sup":
                    cell.marks += child.content
                elif child.type == "text":
                    cell.text += child.content
                else:
                    assert child.type in ("strong_open", "strong_close"), child
                    cell.best = True
    return tables


# ---- HTML

ALLOWED_TAGS = {
    *("div", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("sup", "a", "bdi", "strong", "u", "ul", "li"),
}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tables: list[list[list[Cell]]] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.stack.append(tag)
        self.tags.append((tag, found))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append(Cell(data=found))
        elif tag in ("strong", "u") and "table" in self.stack:
            cell = self.tables[-1][-1][-1]
            cell.best, cell.second = tag == "strong", tag == "u"

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"th", "td"} & set(self.stack):
            cell = self.tables[-1][-1][-1]
            if "sup" in self.stack:
                cell.marks += data
            else:
                cell.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data}")


def read_html(text: str) -> _Reader:
    """The fragment, of which every tag is closed and one of ours, without script, style or handlers of events.

    Raises:
        AssertionError: it is not.
    """
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert not reader.stack
    for tag, attributes in reader.tags:
        assert tag in ALLOWED_TAGS, tag
        allowed = {"class", "id", "scope", "title", "href"}
        assert all(name in allowed or name.startswith("data-") for name in attributes), attributes
        assert attributes.get("href", "#").startswith("#")
    return reader


# ---- text


def text_tables(text: str) -> list[list[list[Cell]]]:
    """Tables of plain text, whose columns are at least three spaces apart; empty cells are left out."""
    tables: list[list[list[Cell]]] = []
    for block in re.split(r"\n\n+", text):
        if "\u2500" in block:
            lines = [line for line in block.split("\n") if "\u2500" not in line]
            tables.append([[_text_cell(cell) for cell in re.split(r" {3,}", line.strip())] for line in lines])
    return tables


def _text_cell(text: str) -> Cell:
    found = re.fullmatch(r"([*_]?)(.*?)\1( \[(\D*)\])?", text)
    assert found, text
    sign, inner, _, marks = found.groups()
    return Cell(inner, best=sign == "*", second=sign == "_", marks=marks or "")


# ---- LaTeX

_COMMANDS = {
    *("begin", "end", "centering", "caption", "label", "toprule", "midrule", "bottomrule", "addlinespace"),
    *("textbf", "underline", "textsuperscript", "footnotesize", "item", "linewidth", "char"),
    *("textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar"),
    *("pm", "times", "ldots", "dagger", "ddagger", "c"),
}
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[{}&$#%_^~\n]", re.DOTALL)


def check_latex(text: str) -> list[list[list[str]]]:
    """Tabulars, lines, cells (as source).

    Raises:
        AssertionError: it is not ASCII, a brace or an environment is not closed, a command is none of ours, a special
            character is not escaped, or a line has more or fewer cells than columns.
    """
    assert text.isascii()
    head, _, body = text.partition("\n")
    assert head.startswith("% ")
    depth = dollars = 0
    for found in _TOKEN.finditer(body):
        token = found.group()
        depth += {"{": 1, "}": -1}.get(token, 0)
        assert depth >= 0, "a brace too many"
        dollars += token == "$"
        assert token not in ("#", "%", "_", "^", "~"), f"not escaped: {body[found.start() - 30 : found.end()]}"
        if token[0] == "\\" and token[1:].isalpha():
            assert token[1:] in _COMMANDS, token
        elif token[0] == "\\":
            assert token[1] in r"\{}$&#%_`'^~" + '"', token
    assert depth == 0
    assert dollars % 2 == 0
    stack: list[str] = []
    for which, name in re.findall(r"(?<!\\)\\(begin|end)\{(\w+)\}", body):
        if which == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    return [
        _tabular(*found) for found in re.findall(r"\\begin\{tabular\}\{([lr]+)\}\n(.*?)\\end\{tabular\}", body, re.S)
    ]


def _tabular(columns: str, inside: str) -> list[list[str]]:
    lines = []
    for line in inside.strip().split("\n"):
        if line in (r"\toprule", r"\midrule", r"\bottomrule", r"\addlinespace"):
            continue
        assert line.endswith(r" \\"), line
        cells = re.split(r"(?<!\\)&", line[:-3])
        assert len(cells) == len(columns), line
        assert not re.match(r"\s*[\[*]", cells[0]), "taken for an option of the line before"
        lines.append([cell.strip() for cell in cells])
    return lines


def latex_tables(text: str) -> list[list[list[Cell]]]:
    """The same as cells, for tables without hostile names."""
    return [[[_latex_cell(cell) for cell in line] for line in lines] for lines in check_latex(text)]


def _latex_cell(source: str) -> Cell:
    text, _, marks = (
        source.removesuffix("}").partition(r"\textsuperscript{") if "superscript" in source else (source, "", "")
    )
    plain = re.sub(r"\\(textbf|underline)\{(.*)\}", r"\2", text).replace("--", "–")
    return Cell(plain, best="textbf" in text, second="underline" in text, marks=marks)


# ---- all of them


def tables_of(text: str, form: str) -> list[list[list[Cell]]]:
    """Tables, lines, cells of a rendered table, the heading as the first line."""
    if form == "html":
        return read_html(text).tables
    return {"text": text_tables, "markdown": markdown_tables, "latex": latex_tables}[form](text)
