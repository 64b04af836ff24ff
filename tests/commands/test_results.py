"""`bench results`: what leaves is written, what arrives is named line by line."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from benchmarks.commands.results import app
from benchmarks.errors import OptionError, RecordError
from benchmarks.records import Store
from tests.comparison.runs import hits, put


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        put(tmp_path / "theirs", "zeroshot/dtd", hits([1, 0, 1]), name)
    return tmp_path / "theirs"


def test_export_and_what_it_wrote(theirs: Path, tmp_path: Path) -> None:
    shown = call("export", tmp_path / "all.csv", "--out", theirs)
    assert shown.exit_code == 0
    assert f"{tmp_path / 'all.csv'}: 6 rows" in shown.output
    assert len(pd.read_csv(tmp_path / "all.csv")) == 6
    assert isinstance(call("export", tmp_path / "all.txt", "--out", theirs).exception, OptionError)


def test_import_says_what_became_of_each(theirs: Path, tmp_path: Path) -> None:
    ids = [record.run_id for record in Store(theirs).load_all()]
    first = call("import", theirs, "--out", tmp_path / "ours")
    assert first.exit_code == 0
    assert [f"{run_id}: imported" in first.output for run_id in ids] == [True, True]
    assert "2 imported, 0 already there" in first.output
    archive = shutil.make_archive(str(tmp_path / "z"), "zip", theirs)
    again = call("import", archive, theirs, "--out", tmp_path / "ours")
    assert again.exit_code == 0
    assert "0 imported, 4 already there" in again.output


def test_what_is_refused_is_named_and_the_rest_imported(theirs: Path, tmp_path: Path) -> None:
    bad, good = Store(theirs).load_all()
    (theirs / "runs" / bad.run_id / "record.json").write_text("{")
    shown = call("import", theirs, "--out", tmp_path / "ours")
    assert isinstance(shown.exception, RecordError)
    assert "1 of 2 runs were refused" in str(shown.exception)
    assert f"refused: {theirs}/runs/{bad.run_id} is damaged" in shown.output
    assert Store(tmp_path / "ours").load_all() == [good]


def test_a_single_refused_run_is_the_error_itself(theirs: Path, tmp_path: Path) -> None:
    run = theirs / "runs" / Store(theirs).load_all()[0].run_id
    (run / "samples.parquet").unlink()
    error = call("import", run, "--out", tmp_path / "ours").exception
    assert isinstance(error, RecordError)
    assert "has no samples.parquet" in str(error)
