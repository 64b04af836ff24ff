"""Several processes: each picture is encoded by one of them, and the record is that of a single process."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.records import Record, Store
from tests.talk import Talk
from tests.zeroshot import towers

pytestmark = pytest.mark.slow

COUNT = 1100
"""Two parts of the cache: the first process has 1,024 of them, the second one the others."""

AT_EXIT = """
import atexit, gc, os, pathlib, sys

def tell():
    module = sys.modules.get("benchmarks.zeroshot.encoder")
    if module and "RANK" in os.environ:
        encoded = sum(found.encoded for found in gc.get_objects() if type(found) is module.Encoder)
        pathlib.Path(os.environ["COUNTS"], os.environ["RANK"]).write_text(str(encoded))

atexit.register(tell)
"""
"""What every process of the test does at its end: write how many pictures it encoded."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tower, digits, and the record of one process in ``alone``."""
    folder = tmp_path_factory.mktemp("share")
    towers.digits(folder, COUNT)
    job = towers.job("zeroshot/mnist", towers.slip(folder / "slip.pt"), folder)
    assert Talk().session(folder / "alone").run(job) is not None
    return folder


def arguments(world: Path, out: Path) -> list[str]:
    options = ["--checkpoint", str(world / "slip.pt"), "--image-heads", "1", "--text-heads", "1"]
    places = ["--data-root", str(world), "--out", str(out)]
    several = ["-o", "execution.workers=0", "--launcher", "pytorch"]
    return ["run", "zeroshot/mnist", "zeroshot/gtsrb", *options, *places, *several]


def environment(folder: Path) -> dict[str, str]:
    (folder / "sitecustomize.py").write_text(AT_EXIT)
    own = {"COUNTS": str(folder), "PYTHONPATH": str(folder), "DETAILCLIP_BENCH_CACHE": str(folder / "cache")}
    return {**os.environ, "OMP_NUM_THREADS": "1", **own}


def result(out: Path) -> tuple[Record, pd.DataFrame]:
    (record,) = Store(out).load_all()
    return record, Store(out).read_samples(record.run_id)


def assert_same(out: Path, alone: Path) -> None:
    """Embeddings do not depend on who computed them: not a digit differs."""
    (found, samples), (expected, plain) = result(out), result(alone)
    assert found.run_id == expected.run_id
    for field in ("status", "metrics", "per_class", "counts", "data", "protocol", "model_protocol"):
        assert getattr(found, field) == getattr(expected, field)
    pd.testing.assert_frame_equal(samples, plain, check_exact=False, atol=1e-6, rtol=0)
    assert samples["prediction"].tolist() == plain["prediction"].tolist()


def test_two_processes_share_the_pictures_and_one_of_them_speaks(world: Path, tmp_path: Path) -> None:
    """A second set that is not there keeps nobody waiting, and is one line, after the first set was recorded."""
    command = [sys.executable, "-m", "benchmarks.cli", *arguments(world, tmp_path / "out"), "--nproc", "2"]
    found = subprocess.run(command, capture_output=True, text=True, env=environment(tmp_path), timeout=300, check=False)
    assert [int((tmp_path / rank).read_text()) for rank in "01"] == [1024, COUNT - 1024], "each picture once"
    assert found.stdout.count("zeroshot/mnist") == 1
    assert_same(tmp_path / "out", world / "alone")
    assert found.returncode == 2
    (line,) = [line for line in found.stderr.splitlines() if line.startswith("error:")]
    assert str(world / "gtsrb") in line
    assert "Traceback" not in found.stderr
