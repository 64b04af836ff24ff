"""`bench compare` prints what was found, and ends with an error where runs had to be refused."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from benchmarks.commands.compare import compare
from benchmarks.errors import OptionError, RecordError
from tests.comparison.runs import hits, put, random_classified

app = typer.Typer()
app.command()(compare)


def call(out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--out", str(out)])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for name, share, seed in (("weak", 0.3, 1), ("strong", 0.8, 2), ("other", 0.5, 3)):
        put(tmp_path, "zeroshot/dtd", random_classified(200, 4, share, seed), name, checkpoint={"row": f"{name}@25"})
        put(tmp_path, "zeroshot/pets", random_classified(200, 4, share, seed + 9), name)
    return tmp_path


def test_the_difference_is_printed(out: Path) -> None:
    shown = call(out, "weak", "strong")
    assert shown.exit_code == 0
    for text in ("strong against weak", "zeroshot/dtd", "mean_per_class", "▲ better", "wins 2, ties 0, loses 0"):
        assert text in shown.stdout


def test_several_are_compared_with_the_first(out: Path) -> None:
    shown = call(out, "weak", "strong", "other").stdout
    assert "strong against weak (the baseline of all)" in shown
    assert "other against weak (the baseline of all)" in shown


def test_only_what_is_asked_for(out: Path) -> None:
    shown = call(out, "weak", "strong", "--only", "zeroshot/dtd").stdout
    assert "zeroshot/dtd" in shown
    assert "zeroshot/pets top1" not in shown
    error = call(out, "weak", "strong", "--only", "zeroshot/dtt").exception
    assert isinstance(error, OptionError)
    assert "did you mean zeroshot/dtd" in str(error)


@pytest.mark.parametrize(("form", "start"), [("markdown", "### strong against weak"), ("csv", "section,baseline")])
def test_formats(out: Path, form: str, start: str) -> None:
    assert call(out, "weak", "strong", "--format", form).stdout.startswith(start)


def test_csv_can_be_read(out: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(call(out, "WEAK@25", "strong@25", "--format", "csv").stdout)))
    assert [row["benchmark"] for row in rows] == ["zeroshot/dtd"], "the runs on Pets stand for no row"


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["weak"], OptionError, "two checkpoints or more"),
        (["weak", "stron"], OptionError, "did you mean strong"),
        (["weak", "weak"], OptionError, "are the same checkpoint"),
    ],
)
def test_names_that_are_unclear(out: Path, names: list[str], error: type[Exception], message: str) -> None:
    found = call(out, *names).exception
    assert isinstance(found, error)
    assert message in str(found)


def test_a_refused_benchmark_is_shown_and_the_end_is_an_error(out: Path) -> None:
    def run(name: str, **protocol: Any) -> None:
        put(out, "zeroshot/sst2", hits([1] * 20), name, protocol=protocol)

    run("weak", prompts=1)
    run("strong", prompts=2)
    shown = call(out, "weak", "strong")
    assert "REFUSED zeroshot/sst2: not comparable: protocol.prompts: 1 against 2" in shown.stdout
    assert "zeroshot/dtd" in shown.stdout
    assert isinstance(shown.exception, RecordError)
    assert "1 refused" in str(shown.exception)
    alone = call(out, "weak", "strong", "--only", "zeroshot/sst2")
    assert alone.stdout == ""
    assert isinstance(alone.exception, RecordError)
    assert "protocol.prompts: 1 against 2" in str(alone.exception)
