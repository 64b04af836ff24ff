"""What every test shares: no time limit for single examples, and a cache folder of the session's own."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from benchmarks.data.sample import VERSION
from tests.command_line import Bench

# Several processes test at once (`make test`): each computes on one core. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# CI machines are slow and shared: a deadline for one example would fail at random.
settings.register_profile("default", deadline=None)
settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: several processes that take file after file then end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh cache folder, so that no test sees what an earlier run left; subprocesses inherit it.

    Only the generated sample, which takes a minute to draw, is one for all processes that test.
    """
    folder, base = tmp_path_factory.mktemp("cache"), tmp_path_factory.getbasetemp()
    together = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    (folder / f"sample-v{VERSION}").symlink_to(together / "sample")
    os.environ["DETAILCLIP_BENCH_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The root of small real subsets of the data sets, from ``BENCH_REAL_DATA``."""
    named = os.environ.get("BENCH_REAL_DATA")
    if not named:
        pytest.skip("BENCH_REAL_DATA is not set")
    return Path(named)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Bench:
    """Run ``bench`` in this process, in an empty folder: (exit code, stdout, stderr)."""
    from benchmarks import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA_ROOT", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        output = capsys.readouterr()
        code = stopped.value.code
        return int(code or 0), output.out, output.err

    return call
