"""The shipped protocols at full size: one iteration of each dense training on this machine's CPU, memory reported."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GIB_OF_A_WORKSTATION = 16


def one_iteration(benchmark_id: str, folder: Path) -> dict[str, Any]:
    """What ``tests.dense.full_size`` says; two threads, for nothing else is as long."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "tests.dense.full_size", benchmark_id, str(folder)]
    process = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-3000:]
    told: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("benchmark_id", "inputs", "millions", "norm"),
    [("ade20k-upernet", [1, 3, 512, 512], 163, "GN"), ("coco-cascade", [1, 3, 800, 1088], 153, "BN")],
)
def test_one_full_size_iteration(
    benchmark_id: str, inputs: list[int], millions: int, norm: str, tmp_path: Path, record_property: Any
) -> None:
    """ViT-B/16 with the heads of the shipped protocol: it runs, and one picture fits a workstation's memory."""
    told = one_iteration(benchmark_id, tmp_path)
    for name, value in told.items():
        record_property(name, value)
    sys.stdout.write(f"{benchmark_id}: {told}\n")
    assert told["inputs"] == [inputs]
    assert round(told["parameters"] / 1e6) == millions
    assert 0 < told["loss"] < 100
    assert told["norm_layer"] == norm
    assert told["peak_gib"] < GIB_OF_A_WORKSTATION
