"""`bench report` as a command: where the site lands, and that its page is the one thing on stdout."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.commands.report import report
from benchmarks.errors import OptionError
from tests.report.world import write_world

app = typer.Typer()
app.command()(report)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("small")
    write_world(out, ("zeroshot/mnist",))
    return out


def test_the_site_lands_in_the_results_unless_told(small: Path) -> None:
    result = CliRunner().invoke(app, ["--out", str(small)])
    assert result.exit_code == 0
    assert result.stdout.strip() == str(small / "report" / "index.html")
    assert (small / "report" / "index.html").is_file()
    assert "3 runs, 0 pictures" in result.stderr


def test_another_folder_and_a_comparison_can_be_asked_for(small: Path, tmp_path: Path) -> None:
    asked = ["--out", str(small), "--to", str(tmp_path / "page")]
    named = ["--compare", "slip_base_25ep", "--compare", "detailclip_base_25ep"]
    assert CliRunner().invoke(app, [*asked, *named]).exit_code == 0
    assert "detailclip_base_25ep against slip_base_25ep" in (tmp_path / "page" / "comparison.html").read_text()


def test_a_checkpoint_that_is_not_there_is_an_error_before_anything_is_written(small: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["--out", str(small), "--to", str(tmp_path / "page"), "--compare", "a", "--compare", "b"]
    )
    assert isinstance(result.exception, OptionError)
    assert not (tmp_path / "page").exists()
