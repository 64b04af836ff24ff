"""Mixed precision: what runs where, and that bfloat16 autocast really happens on the CPU."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import OPTIM_WRAPPERS

from benchmarks.engine.device import choose_device, describe, peak_memory
from benchmarks.engine.precision import Precision, optim_wrapper, precision_used
from benchmarks.errors import OptionError
from tests.engine.test_resume import final_state
from tests.engine.toy import toy_config

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("asked", "device", "used"),
    [
        ("fp16", CUDA, "fp16"),
        ("fp16", CPU, "fp32"),
        ("bf16", CPU, "bf16"),
        ("bf16", CUDA, "bf16"),
        ("fp32", CUDA, "fp32"),
    ],
)
def test_what_runs_where(asked: Precision, device: torch.device, used: Precision) -> None:
    assert precision_used(asked, device) == used


def test_bfloat16_autocast_on_the_cpu() -> None:
    """The forward pass computes in bfloat16, weights and gradients stay float32."""
    layer = torch.nn.Linear(4, 4)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    wrapper = OPTIM_WRAPPERS.build({**optim_wrapper("bf16", CPU), "optimizer": optimiser})
    before = layer.weight.detach().clone()
    with wrapper.optim_context(layer):
        output = layer(torch.ones(2, 4))
    assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().sum())
    assert layer.weight.dtype == torch.float32
    assert not torch.equal(layer.weight, before)
    assert layer(torch.ones(2, 4)).dtype == torch.float32, "autocast must end with the context"


def test_a_bfloat16_run_differs_from_float32_and_resumes(tmp_path: Path) -> None:
    from benchmarks.engine.runner import BenchRunner

    def train(name: str, used: Precision, iterations: int) -> torch.Tensor:
        config = toy_config(tmp_path / name, iterations)
        config.optim_wrapper = {**config.optim_wrapper, **optim_wrapper(used, CPU)}
        BenchRunner.from_config(config, CPU).train()
        weight: torch.Tensor = final_state(tmp_path / name)["model"]["net.0.weight"]
        return weight

    whole = train("bf16", "bf16", 8)
    train("parts", "bf16", 5)
    assert torch.equal(train("parts", "bf16", 8), whole)
    assert not torch.equal(train("fp32", "fp32", 8), whole)


def test_devices() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in ("cpu", "cuda")
    assert describe(CPU) == "cpu"
    for name in ("abacus", "cuda:99", "mps"):
        with pytest.raises(OptionError, match=name):
            choose_device(name)


def test_peak_memory_is_in_bytes_and_grows() -> None:
    before = peak_memory(CPU)
    assert before > 50 * 2**20, "a process with torch in it takes more than 50 MiB"
    block = torch.ones(before // 4 + 2**26)  # float32: more than all that was used before
    assert peak_memory(CPU) >= before + block.nbytes // 2
