"""`bench run ID --quick` as a user types it: one benchmark of each kind, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.data.sample import generate
from benchmarks.records import Store

SHORT = ("-o", "iterations=4")
COMMANDS: dict[str, tuple[str, ...]] = {
    "ade20k-upernet": SHORT,
    "ade20k-linear": SHORT,
    "coco-cascade": SHORT,
    "imagenet-zeroshot": (),
    "zeroshot/pets": (),
    "coco-retrieval": (),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "root"
    generate(folder, train=6, validation=3, pairs=13, held_out=1, views=10, described=6, boxed=6)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("benchmark_id", COMMANDS)
def test_quick_run_ends_with_a_record(benchmark_id: str, data: Path, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "benchmarks.cli", "run", benchmark_id, "--quick", *COMMANDS[benchmark_id])
    done = subprocess.run(
        (*command, "--data-root", str(data), "--out", str(tmp_path)), capture_output=True, text=True, check=True
    )
    (record,) = Store(tmp_path).load_all()
    assert (record.benchmark, record.status) == (benchmark_id, "sample")
    assert record.counts.scored == record.counts.expected > 0
    assert record.metrics
    assert f"{benchmark_id}  " in done.stdout
    assert "Traceback" not in done.stderr
