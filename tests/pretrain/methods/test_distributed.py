"""Two processes train DetailCLIP as one does on the joined batch: terms, gradients, centres, teacher."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from pretrain.methods import DetailCLIP, Progress
from tests.pretrain.tiny import pair_batch, tiny_detailclip

TERMS = ("loss", "clip", "cls", "patch", "reconstruction", "cls_kl", "patch_kl")


def two_steps(model: DetailCLIP, run: Any, mine: slice) -> list[dict[str, Tensor]]:
    """The terms of two optimiser steps on these pairs of the batch."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    seen = []
    for step in range(2):
        u, v, tokens = (part[mine] for part in pair_batch(8, seed=step))
        model.set_progress(Progress(step=step, steps=4, epoch=1))
        optimizer.zero_grad()
        terms = run(views=torch.stack([u, v], dim=1), tokens=tokens, mode="loss")
        terms["loss"].backward()
        optimizer.step()
        model.after_step()
        seen.append({name: terms[name].detach() for name in TERMS})
    return seen


def outcome(model: DetailCLIP, seen: list[dict[str, Tensor]]) -> dict[str, Any]:
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"seen": seen, "gradients": gradients, "state": model.state_dict()}


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    model = tiny_detailclip()
    wrapped = DistributedDataParallel(model, broadcast_buffers=False)
    seen = two_steps(model, wrapped, slice(4 * rank, 4 * rank + 4))
    torch.save(outcome(model, seen), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one_on_the_joined_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.multiprocessing.spawn(one_of_two, args=(str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call, attr-defined, unused-ignore]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    model = tiny_detailclip()
    whole = outcome(model, two_steps(model, model, slice(None)))
    for step, expected in enumerate(whole["seen"]):
        for name in TERMS:
            mean = (first["seen"][step][name] + second["seen"][step][name]) / 2
            torch.testing.assert_close(mean, expected[name], rtol=1e-4, atol=1e-5, msg=name)
    assert set(first["gradients"]) == set(whole["gradients"])
    for name, gradient in whole["gradients"].items():
        assert (first["gradients"][name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-7, name
    for name, value in whole["state"].items():
        torch.testing.assert_close(first["state"][name], value, rtol=1e-4, atol=1e-6, msg=name)
        assert torch.equal(first["state"][name], second["state"][name]), name
