"""kill -9 in the middle of a table, and two at once: what was done is not done again, and the results are equal."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.data.vocabulary import shipped
from benchmarks.records import Record, Store
from benchmarks.suite import in_group
from tests.data.classification import layouts
from tests.talk import Talk
from tests.zeroshot import towers

pytestmark = pytest.mark.slow

BENCHMARKS = {"zeroshot/gtsrb", "zeroshot/mnist", "zeroshot/kitti"}
DIGITS = 1100
"""Two parts of the cache, between two small sets."""

TIMES = ("started", "wall_seconds", "peak_memory", "command", "environment")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sets of Table 3, a tower, and the results of an uninterrupted run in ``whole``."""
    folder = tmp_path_factory.mktemp("world")
    for name in ("gtsrb", "kitti"):
        layouts.write(folder, name, shipped(name).keys)
    towers.digits(folder, DIGITS)
    towers.slip(folder / "slip.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETAILCLIP_BENCH_CACHE", str(folder / "cache of the whole"))
        session = Talk().session(folder / "whole")
        jobs = [towers.job(item.id, folder / "slip.pt", folder) for item in in_group("table3") if item.id in BENCHMARKS]
        session.prepare(jobs)
        assert all(session.run(job) for job in jobs)
    return folder


def start(world: Path, out: Path, cache: Path) -> "subprocess.Popen[bytes]":
    options = ["--checkpoint", str(world / "slip.pt"), "--image-heads", "1", "--text-heads", "1"]
    places = ["--data-root", str(world), "--out", str(out)]
    command = [sys.executable, "-m", "benchmarks.cli", "run", "table3", *options, *places, "-o", "execution.workers=0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DETAILCLIP_BENCH_CACHE": str(cache)}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def results(out: Path) -> dict[str, tuple[Record, pd.DataFrame]]:
    return {record.benchmark: (record, Store(out).read_samples(record.run_id)) for record in Store(out).load_all()}


def assert_same(out: Path, whole: Path) -> None:
    found, expected = results(out), results(whole)
    assert found.keys() == expected.keys() == BENCHMARKS
    for benchmark, (record, samples) in found.items():
        other, plain = expected[benchmark]
        assert record.model_dump(exclude=set(TIMES)) == other.model_dump(exclude=set(TIMES))
        pd.testing.assert_frame_equal(samples, plain, check_exact=True)
    assert not list(out.rglob(".tmp-*"))


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 300
    while not condition() and time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.002)


def begun(cache: Path) -> list[Path]:
    """Parts of entries that are not finished."""
    return list(cache.glob("embeddings/*/????????-????????-*.npy"))


def stamps(*files: Path) -> dict[Path, tuple[int, int]]:
    return {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def test_killed_in_the_middle_then_started_again_beside_another_one(world: Path, tmp_path: Path) -> None:
    """The first set is finished, the second is half encoded, the third is not begun; a second process, with results of
    its own, works on the same cache at the same time.
    """
    out, other, cache = tmp_path / "out", tmp_path / "other", tmp_path / "cache"
    process = start(world, out, cache)
    wait_for(lambda: bool(list(out.rglob("record.json")) and begun(cache)), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (record,) = out.rglob("record.json")
    assert "gtsrb" in record.parent.name
    finished = sorted(cache.glob("embeddings/*/embeddings.npy"))
    assert len(finished) == 2, "the prompts of all sets, and the pictures of the first"
    assert begun(cache), "the second is half encoded"
    before = stamps(record, record.with_name("samples.parquet"), *finished)

    both = [start(world, place, cache) for place in (out, other)]
    assert [process.wait() for process in both] == [0, 0]
    assert stamps(*before) == before, "what was finished is not even touched"
    for place in (out, other):
        assert_same(place, world / "whole")
    assert len(list(cache.glob("embeddings/*/embeddings.npy"))) == 4
    assert not begun(cache)
