"""The losses against float64 references written from the equations, and their gradients."""

import math
import os
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from pretrain import losses
from pretrain.losses import (
    Centers,
    Distillation,
    Divergence,
    contrastive,
    distillation,
    gathered,
    patch_targets,
    reconstruction,
)

DIVERGENCES: tuple[Divergence, ...] = get_args(Divergence)
seeds = st.integers(0, 2**16)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 1000 * len(shape) + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


# --- contrastive ---------------------------------------------------------------------------------------------------


def contrastive_by_hand(images: Tensor, texts: Tensor, scale: float) -> float:
    rows = [[scale * float(i @ t / i.norm() / t.norm()) for t in texts.double()] for i in images.double()]
    columns = [list(column) for column in zip(*rows, strict=True)]
    total = 0.0
    for side in (rows, columns):
        total += sum(math.log(sum(map(math.exp, row))) - row[i] for i, row in enumerate(side)) / len(side)
    return total / 2


@settings(deadline=None, max_examples=20)
@given(seed=seeds, batch=st.integers(1, 5), scale=st.floats(1.0, 100.0))
def test_contrastive_is_the_symmetric_cross_entropy(seed: int, batch: int, scale: float) -> None:
    images, texts = normal(batch, 6, seed=seed), normal(batch, 6, seed=seed + 1)
    loss = contrastive(images, texts, torch.tensor(scale))
    assert loss.item() == pytest.approx(contrastive_by_hand(images, texts, scale), rel=1e-5, abs=2e-5)


def test_contrastive_has_correct_gradients_and_ignores_lengths() -> None:
    images, texts = normal(3, 4, dtype=torch.float64), normal(3, 4, seed=1, dtype=torch.float64)
    scale = torch.tensor(5.0, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        contrastive, (images.requires_grad_(), texts.requires_grad_(), scale.requires_grad_())
    )
    torch.testing.assert_close(contrastive(images * 7, texts / 3, scale), contrastive(images, texts, scale))


def test_contrastive_is_float32_under_autocast() -> None:
    images, texts, scale = normal(4, 32), normal(4, 32, seed=1), torch.tensor(100.0)
    expected = contrastive(images, texts, scale)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(contrastive(images, texts, scale), expected)


def test_gathering_alone_changes_nothing() -> None:
    features = normal(2, 3)
    assert gathered(features) is features


# --- reconstruction ------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=seeds, grid=st.integers(2, 4), patch=st.integers(2, 3), normalised=st.booleans())
def test_patch_targets_are_the_removed_patches_pixels(seed: int, grid: int, patch: int, normalised: bool) -> None:
    images = normal(2, 3, grid * patch, grid * patch, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    removed = torch.stack([torch.randperm(grid * grid, generator=generator)[:2] for _ in range(2)])
    targets = patch_targets(images, removed, patch, normalised)
    assert targets.shape == (2, 2, 3 * patch * patch)
    for b in range(2):
        for r, index in enumerate(removed[b].tolist()):
            top, left = index // grid * patch, index % grid * patch
            pixels = [
                float(images[b, c, top + y, left + x]) for y in range(patch) for x in range(patch) for c in range(3)
            ]
            if normalised:
                mean = sum(pixels) / len(pixels)
                variance = sum((p - mean) ** 2 for p in pixels) / (len(pixels) - 1)
                pixels = [(p - mean) / math.sqrt(variance + 1e-6) for p in pixels]
            torch.testing.assert_close(targets[b, r], torch.tensor(pixels), rtol=1e-5, atol=1e-5)


def test_patch_targets_of_a_flat_patch_are_zero_and_have_no_gradient() -> None:
    images = torch.full((1, 3, 4, 4), 0.3, requires_grad=True)
    targets = patch_targets(images, torch.tensor([[1]]), 2, normalised=True)
    assert not targets.requires_grad
    torch.testing.assert_close(targets, torch.zeros(1, 1, 12), atol=1e-3, rtol=0)


@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_reconstruction_is_the_mean_or_the_squared_norm(seed: int) -> None:
    predicted, target = normal(2, 3, 5, seed=seed), normal(2, 3, 5, seed=seed + 1)
    squares = [
        [float((p - t) ** 2) for p, t in zip(ps, ts, strict=True)]
        for ps, ts in zip(predicted.double().flatten(0, 1), target.double().flatten(0, 1), strict=True)
    ]
    norm = sum(sum(row) for row in squares) / len(squares)
    assert reconstruction(predicted, target, "sum").item() == pytest.approx(norm, rel=1e-5)
    assert reconstruction(predicted, target, "mean").item() == pytest.approx(norm / 5, rel=1e-5)


def test_reconstruction_of_low_precision_predictions_is_float32() -> None:
    predicted = normal(1, 2, 3).bfloat16().requires_grad_()
    loss = reconstruction(predicted, torch.zeros(1, 2, 3), "mean")
    loss.backward()
    assert loss.dtype == torch.float32
    assert predicted.grad is not None and predicted.grad.dtype == torch.bfloat16


# --- distillation --------------------------------------------------------------------------------------------------


def unit_case(seed: int, rows: int = 5, width: int = 4, prototypes: int = 7) -> list[Tensor]:
    """Student bottleneck and prototypes, the teacher's, centre; float64 values that float32 can hold."""
    shapes = [(rows, width), (prototypes, width)] * 2
    units = [F.normalize(normal(*shape, seed=seed + i, dtype=torch.float64), dim=-1) for i, shape in enumerate(shapes)]
    return [tensor.float().double() for tensor in [*units, normal(prototypes, seed=seed) * 0.05]]


def by_definition(case: list[Tensor], t_s: float, t_t: float, divergence: Divergence) -> tuple[Tensor, Tensor]:
    """Loss and teacher's entropy in float64, as the equations say it."""
    student, prototypes, teacher, teacher_prototypes, center = (tensor.double() for tensor in case)
    log_s = ((student @ prototypes.T) / t_s).log_softmax(-1)
    log_t = ((teacher @ teacher_prototypes.T - center) / t_t).detach().log_softmax(-1)
    entropy = -(log_t.exp() * log_t).sum(-1).mean()
    if divergence == "cross_entropy":
        return -(log_t.exp() * log_s).sum(-1).mean(), entropy
    return (log_s.exp() * (log_s - log_t)).sum(-1).mean(), entropy


def distil(
    case: list[Tensor], t_s: float = 0.1, t_t: float = 0.07, divergence: Divergence = "cross_entropy"
) -> Distillation:
    student, prototypes, teacher, teacher_prototypes, center = case
    return distillation(student, prototypes, teacher, teacher_prototypes, center, t_s, t_t, divergence)


def with_gradients(
    case: list[Tensor], t_s: float, t_t: float, divergence: Divergence
) -> tuple[Distillation, Tensor, Tensor]:
    student, prototypes = case[0].detach().requires_grad_(), case[1].detach().requires_grad_()
    result = distil([student, prototypes, *case[2:]], t_s, t_t, divergence)
    of_student, of_prototypes = torch.autograd.grad(result.loss, (student, prototypes))
    return result, of_student, of_prototypes


@pytest.mark.parametrize("divergence", DIVERGENCES)
@settings(deadline=None, max_examples=25)
@given(seed=seeds, rows=st.integers(1, 6), t_s=st.sampled_from([0.1, 0.3, 1.0]), t_t=st.sampled_from([0.04, 0.07, 0.5]))
def test_distillation_follows_the_equations(
    divergence: Divergence, seed: int, rows: int, t_s: float, t_t: float
) -> None:
    case = unit_case(seed, rows)
    result, of_student, of_prototypes = with_gradients([tensor.float() for tensor in case], t_s, t_t, divergence)
    case[0].requires_grad_(), case[1].requires_grad_()
    loss, entropy = by_definition(case, t_s, t_t, divergence)
    expected = torch.autograd.grad(loss, case[:2])
    assert result.loss.item() == pytest.approx(loss.item(), rel=1e-5, abs=1e-5)
    assert result.teacher_entropy.item() == pytest.approx(entropy.item(), rel=1e-5, abs=1e-5)
    torch.testing.assert_close(of_student.double(), expected[0], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(of_prototypes.double(), expected[1], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_distillation_passes_gradcheck(divergence: Divergence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CPU_ROWS", 2)
    case = unit_case(3)

    def loss(student: Tensor, prototypes: Tensor) -> Tensor:
        return distil([student, prototypes, *case[2:]], 0.2, 0.1, divergence).loss * 3

    assert torch.autograd.gradcheck(loss, (case[0].requires_grad_(), case[1].requires_grad_()))


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("rows", [1, 3, 10])
def test_the_chunk_size_changes_nothing(divergence: Divergence, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = [tensor.float() for tensor in unit_case(1, rows=10, width=16, prototypes=50)]
    whole, *whole_gradients = with_gradients(case, 0.1, 0.04, divergence)
    monkeypatch.setattr(losses, "CPU_ROWS", rows)
    chunked, *gradients = with_gradients(case, 0.1, 0.04, divergence)
    torch.testing.assert_close(tuple(chunked), tuple(whole), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients, whole_gradients, rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(seed=seeds)
def test_bounds(seed: int) -> None:
    case = unit_case(seed)
    cross = distil(case)
    reverse = distil(case, divergence="kl_student_teacher")
    assert cross.loss >= cross.teacher_entropy >= 0
    assert reverse.loss >= 0
    assert reverse.teacher_entropy == cross.teacher_entropy


def test_the_two_divergences_are_not_each_other_but_agree_where_both_vanish() -> None:
    case = unit_case(2)
    cross, reverse = (distil(case, divergence=divergence) for divergence in DIVERGENCES)
    assert abs(cross.loss - cross.teacher_entropy - reverse.loss) > 0.1
    same = [case[0], case[1], case[0], case[1], torch.zeros(7, dtype=torch.float64)]
    cross, reverse = (distil(same, 0.1, 0.1, divergence) for divergence in DIVERGENCES)
    assert cross.loss.item() == pytest.approx(cross.teacher_entropy.item(), abs=1e-9)
    assert reverse.loss.item() == pytest.approx(0.0, abs=1e-9)


def test_the_centre_and_the_temperatures_act() -> None:
    case = unit_case(4)
    base = distil(case).loss
    for other in (
        distil([*case[:4], case[4] + torch.arange(7) / 10]),
        distil(case, t_s=0.2),
        distil(case, t_t=0.04),
    ):
        assert abs(other.loss - base) > 1e-3
    shifted = distil([*case[:4], case[4] + 5.0]).loss
    assert shifted.item() == pytest.approx(base.item())


def test_teacher_and_centre_get_no_gradient() -> None:
    case = [tensor.requires_grad_() for tensor in unit_case(5)]
    result = distil(case)
    result.loss.backward()
    assert not result.teacher_entropy.requires_grad
    assert [tensor.grad is not None for tensor in case] == [True, True, False, False, False]


def test_without_gradients_none_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = unit_case(6)
    expected = distil(case)
    case[0].requires_grad_()

    def refuse(*args: object) -> None:
        raise AssertionError("gradients were computed")

    assert distil(case).loss.requires_grad
    monkeypatch.setattr(losses._Gradients, "add", refuse)
    with torch.no_grad():
        assert distil(case) == expected
    case[0].requires_grad_(False)
    assert not distil(case).loss.requires_grad


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_stays_near_float32(divergence: Divergence, dtype: torch.dtype) -> None:
    case = [tensor.float() for tensor in unit_case(7, rows=8, width=32, prototypes=64)]
    exact, *exact_gradients = with_gradients(case, 0.1, 0.07, divergence)
    with torch.autocast("cpu", dtype):
        mixed, *gradients = with_gradients(case, 0.1, 0.07, divergence)
    assert mixed.loss.dtype == torch.float32
    assert mixed.loss.item() == pytest.approx(exact.loss.item(), rel=1e-2)
    assert mixed.loss != exact.loss, "the products did not run in the autocast dtype"
    tolerance = {torch.bfloat16: 3e-2, torch.float16: 5e-3}[dtype]
    for gradient, expected in zip(gradients, exact_gradients, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - expected).norm() < tolerance * expected.norm()


def test_half_precision_gradients_do_not_underflow() -> None:
    """8192 nearly equal probabilities: the gradient of a logit, about 1e-8, is 0 in half precision."""
    student = torch.full((2, 1), 1e-3)
    case = [student, F.normalize(torch.ones(8192, 1), dim=-1), student, torch.full((8192, 1), 1.0), torch.zeros(8192)]
    case[1][0], case[3][0] = 1.0001, 1.01
    with torch.autocast("cpu", torch.float16):
        _, _, of_prototypes = with_gradients(case, 1.0, 1.0, "cross_entropy")
    assert of_prototypes[0].abs().item() > 0


# --- centres -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=seeds, momentum=st.floats(0.0, 1.0))
def test_centres_are_running_means_and_survive_the_state_dict(seed: int, momentum: float) -> None:
    centers = Centers(3)
    cls, patch = [0.0] * 3, [0.0] * 3
    for step in range(3):
        means = normal(2, 3, seed=seed + step)
        centers.update(means[0], means[1], momentum)
        cls = [momentum * c + (1 - momentum) * float(m) for c, m in zip(cls, means[0], strict=True)]
        patch = [momentum * c + (1 - momentum) * float(m) for c, m in zip(patch, means[1], strict=True)]
    torch.testing.assert_close(centers.cls, torch.tensor([cls]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(centers.patch, torch.tensor([[patch]]), rtol=1e-5, atol=1e-6)
    restored = Centers(3)
    assert not restored.cls.any() and not restored.patch.any()
    restored.load_state_dict(centers.state_dict())
    assert torch.equal(restored.cls, centers.cls) and torch.equal(restored.patch, centers.patch)


def test_updating_between_forward_and_backward_is_allowed() -> None:
    centers = Centers(7)
    case = unit_case(8)
    case[0].requires_grad_()
    loss = distil([*case[:4], centers.patch.view(-1)]).loss
    centers.update(torch.ones(7), torch.ones(7), 0.9)
    loss.backward()
    assert case[0].grad is not None


# --- two processes -------------------------------------------------------------------------------------------------


def pairs() -> tuple[Tensor, Tensor, Tensor]:
    """Four pairs and a shared weight (the model), of which each process sees two pairs."""
    return normal(4, 6), normal(4, 6, seed=1), normal(6, 6, seed=2)


def loss_and_gradients(images: Tensor, texts: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    weight, scale = weight.clone().requires_grad_(), torch.tensor(9.0, requires_grad=True)
    loss = contrastive(images @ weight, texts @ weight, scale)
    of_weight, of_scale = torch.autograd.grad(loss, (weight, scale))
    return loss.detach(), of_weight, of_scale


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    images, texts, weight = pairs()
    mine = slice(2 * rank, 2 * rank + 2)
    centers = Centers(3)
    centers.update(torch.full((3,), float(rank)), torch.full((3,), 10.0 * rank), 0.9)
    result = {
        "contrastive": loss_and_gradients(images[mine], texts[mine], weight),
        "centers": (centers.cls, centers.patch),
        "gathered": gathered(images[mine]),
    }
    torch.save(result, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one_on_the_joined_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    torch.multiprocessing.spawn(one_of_two, args=(str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call, attr-defined, unused-ignore]
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    averaged = [(first + second) / 2 for first, second in zip(*(r["contrastive"] for r in results), strict=True)]
    torch.testing.assert_close(averaged, list(loss_and_gradients(*pairs())), rtol=1e-5, atol=1e-6)
    for result in results:
        assert torch.equal(result["gathered"], pairs()[0])
        torch.testing.assert_close(result["centers"][0], torch.full((1, 3), 0.05))
        torch.testing.assert_close(result["centers"][1], torch.full((1, 1, 3), 0.5))
