"""The examples of docs/results-format.md and docs/comparison.md are true: they are run as they stand."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.records import load
from tests.comparison.runs import put, random_classified, random_segmented

DOCS = Path(__file__).resolve().parents[1] / "docs"


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)


def printed(code: str, names: dict[str, Any]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        exec(compile(code, "example", "exec"), names)
    return shown.getvalue()


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``results`` as the examples expect it."""
    monkeypatch.chdir(tmp_path)
    for name, share in (("slip", 0.3), ("detail", 0.8)):
        row = {"row": {"slip": "SLIP@25", "detail": "DetailCLIP@25"}[name]}
        put(Path("results"), "zeroshot/dtd", random_classified(60, 5, share, 1), name, checkpoint=row)
        put(Path("results"), "ade20k-upernet", random_segmented(20, 4, share, 1), name, checkpoint=row)
    return tmp_path / "results"


def test_reading_results(results: Path) -> None:
    names: dict[str, Any] = {}
    tidy, pivot, iou = (printed(code, names) for code in examples("results-format.md"))
    assert "zeroshot/dtd" in tidy
    assert "low" in tidy
    assert "ade20k-upernet" in pivot
    expected = load(results).query("metric == 'mIoU'")["value"].iloc[0]
    assert float(iou) == pytest.approx(expected), "the page says that it equals the record's"


def test_the_page_names_every_column(results: Path) -> None:
    page = (DOCS / "results-format.md").read_text(encoding="utf-8")
    table = page[page.index("It is a pandas frame") : page.index("A table of one's own")]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert re.findall(r"`(\w+)`", " ".join(cells)) == list(load(results).columns)


def test_comparing_from_python(results: Path) -> None:
    (example,) = examples("comparison.md")
    shown = printed(example, {})
    assert shown.startswith("### DetailCLIP@25 against SLIP@25")
    assert "zeroshot/dtd top1" in shown
