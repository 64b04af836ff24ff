"""A record from anywhere harms nothing: no markup of its own, no file outside the site."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.records import Store, fingerprint
from benchmarks.report import write_report
from tests.example_record import FIELDS, make_record
from tests.report.html import pages
from tests.report.world import write_pictures, write_pretraining

MARK = "\u2764evil"
NASTY = (
    f"<script>{MARK}</script>",
    f'"><img src=x onerror=alert(1)>{MARK}',
    f"'); alert(1); ('{MARK}",
    f"../../../../{MARK}",
    f"/etc/passwd{MARK}",
    f"..\\..\\{MARK}",
    f"{MARK}\x00\n\r\u202egnp.exe",
    f"{{{{ 7 * 7 }}}}{{% raw %}}{MARK}",
    f"javascript:alert(1)//{MARK}",
    MARK * 500,
    f"=cmd|' /C calc'!{MARK}",
    f"]]><!--{MARK}",
)
TAGS = {"html", "head", "meta", "title", "link", "script", "body", "a", "header", "div", "svg", "rect", "span", "nav"}
TAGS |= {
    "ul",
    "li",
    "button",
    "main",
    "p",
    "h1",
    "h2",
    "h3",
    "h4",
    "section",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}
TAGS |= {"dl", "dt", "dd", "strong", "sup", "footer", "line", "circle", "text", "figure", "figcaption", "polyline"}
TAGS |= {"details", "summary", "img", "ol"}


def hostile_record(text: str) -> dict[str, Any]:
    """The JSON of a record whose every free text is ``text``, as an imported file could be."""
    protocol = {text: text, "nested": {text: [text]}}
    fields: dict[str, Any] = {
        "benchmark": text,
        "status": "partial",
        "checkpoint": {
            **FIELDS["checkpoint"],
            "name": text,
            "path": text,
            "family": text,
            "load_report": {text: [text], "notes": [text]},
            "row": text.replace("@", "") or None,
            "training": {"method": text, text: text},
        },
        "protocol": protocol,
        "model_protocol": {"tower": text, text: text},
        "metrics": {text: {"value": 5.0, "low": 4.0, "high": 6.0, "n": 3}},
        "per_class": {text: {text: 4.0}},
        "counts": {"official": 6, "expected": 3, "scored": 3},
        "data": {"name": text, "split": text, "fingerprint": text},
        "norm_layer": text,
        "environment": {
            **FIELDS["environment"],
            "device": text,
            "platform": text,
            "packages": {text: text},
            "commit": text,
        },
        "command": [text, text],
    }
    whole = make_record().model_dump(mode="json") | fields
    return whole | {"protocol_fingerprint": fingerprint(protocol)}


def put(out: Path, record: dict[str, Any], samples: pd.DataFrame) -> None:
    """The run's folder as it came from elsewhere, whatever this project's own commands would refuse."""
    folder = Store(out).folder(record["run_id"])
    folder.mkdir(parents=True)
    samples.to_parquet(folder / "samples.parquet", index=False)
    (folder / "record.json").write_text(json.dumps(record))


def examine(root: Path, site: Path) -> None:
    """Nothing but the site's own elements and attributes, and no file elsewhere."""
    for name, page in pages(site).items():
        assert {element.tag for element in page.all()} <= TAGS, name
        for element in page.all():
            assert not [each for each in element.attributes if each.startswith("on") or "evil" in each]
            for target in (element.attributes.get("href", ""), element.attributes.get("src", "")):
                assert MARK not in target and ":" not in target, target
        for script in page.all("script"):
            assert script.text == "" and script.attributes["src"] in {"assets/theme.js", "assets/report.js"}
        for title in page.all("title", "h1", "h2", "h3"):
            assert len(title.text) < 400
    for path in site.rglob("*"):
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,119}", path.name), path
    for path in site.glob("data/*.csv"):
        assert not any(line.startswith(("=", "+cmd", "@")) for line in path.read_text(encoding="utf-8").splitlines())
    assert sorted(path.name for path in root.iterdir()) == ["out", "site"]
    assert sorted(path.name for path in (root / "out").iterdir() if path.name != "tiny") == ["runs"]


@pytest.mark.parametrize("text", NASTY)
def test_hostile_texts_are_only_text(tmp_path: Path, text: str) -> None:
    out = tmp_path / "out"
    samples = pd.DataFrame({"sample_id": [text.encode("utf-8", "replace").decode() + str(at) for at in range(3)]})
    samples = samples.assign(label=0, prediction=[0, 1, 1], correct=[True, False, False], rank=2, margin=0.1)
    put(out, hostile_record(text), samples)
    write_report(out, tmp_path / "site", lambda line: None)
    examine(tmp_path, tmp_path / "site")
    (run,) = (tmp_path / "site").glob("run-*.html")
    assert "evil" in run.read_text(encoding="utf-8"), "it is shown, as text"


def test_hostile_files_of_pictures_and_pretrainings(tmp_path: Path) -> None:
    out = tmp_path / "out"
    put(out, hostile_record("plain"), pd.DataFrame({"sample_id": ["a", "b", "c"]}))
    names = ["<script>evil", "quote'\"evil", "new\nline-evil", "evil" * 40, "no utf-8 \udcff evil"]
    write_pictures(Store(out).folder(FIELDS["run_id"]) / "pictures", names, 12, np.random.default_rng(0))
    write_pretraining(out / "tiny", steps=20)
    (out / "tiny" / "training.json").write_text(
        json.dumps({"</dd><script>": "<script>alert(1)</script>", "list": [1, 2]})
    )
    write_report(out, tmp_path / "site", lambda line: None)
    examine(tmp_path, tmp_path / "site")


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=120).filter(lambda text: text.strip("@")))
def test_no_text_at_all_breaks_out(text: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        put(root / "out", hostile_record(text), pd.DataFrame({"sample_id": ["a", "b", "c"]}))
        write_report(root / "out", root / "site", lambda line: None)
        examine(root, root / "site")
