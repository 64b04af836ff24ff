"""A report of invented runs of every kind, made once for all tests of the folder."""

from pathlib import Path

import pytest

from benchmarks.report import write_report
from tests.report.world import write_pretraining, write_world


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of all kinds, of three checkpoints and two seeds; two pretrainings; one run that was stopped."""
    out = tmp_path_factory.mktemp("results")
    write_world(out, seeds=2)
    write_pretraining(out / "detailclip-tiny")
    write_pretraining(out / "pretrained" / "clip-tiny-seed1", masks=0, seed=1)
    (out / "runs" / "stopped" / "state").mkdir(parents=True)
    return out


@pytest.fixture(scope="session")
def site(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of ``out``."""
    folder = tmp_path_factory.mktemp("site") / "report"
    write_report(out, folder, lambda line: None, ("slip_base_25ep", "detailclip_base_25ep"))
    return folder
