"""The training step equals the published code's: masks, embeddings, losses, gradients, centres, teacher."""

import pytest
import torch
from torch import Tensor

from pretrain.checkpoint import RELEASED_NAMES, TRANSPOSED
from pretrain.methods.detailclip import DetailCLIP
from pretrain.profiling.plain import plain_losses
from tests.pretrain.oracle import Step

LOSSES = {
    "loss_loss": "total",
    "loss_reconst_loss": "reconstruction",
    "loss_ibot_patch_loss": "patch",
    "loss_ibot_cls_loss": "cls",
}
STEPS = (
    "img_embed_u",
    "img_embed_v",
    "text_embed",
    "u_s_reconstructed",
    "teacher_cls",
    "teacher_patch",
    "student_cls",
    "student_patch",
)


def gradient(model: DetailCLIP, published: str) -> Tensor:
    """The gradient of the parameter with this published name, in the published arrangement."""
    ours, theirs = next(
        names
        for names in RELEASED_NAMES.items()
        if published == names[1] or (names[1].endswith(".") and published.startswith(names[1]))
    )
    name = ours + published.removeprefix(theirs)
    found: Tensor | None = dict(model.named_parameters())[name].grad
    assert found is not None
    return found.t() if name in TRANSPOSED else found


@pytest.fixture(scope="module")
def computed(step: Step) -> tuple[DetailCLIP, dict[str, Tensor]]:
    model = step.model()
    terms = model.compute_losses(step.u, step.v, step.tokens, step.epoch, step.momentum, trace=True)
    terms["total"].backward()
    return model, terms


def test_the_same_patches_are_removed(step: Step, computed: tuple[DetailCLIP, dict[str, Tensor]]) -> None:
    for name in ("mask_u", "mask_v"):
        assert torch.equal(computed[1][name], step.numbers[f"step_{name}"])


@pytest.mark.parametrize("name", STEPS)
def test_intermediate_tensors(step: Step, computed: tuple[DetailCLIP, dict[str, Tensor]], name: str) -> None:
    ours = step.sample(f"step_{name}", computed[1][name].detach())
    assert torch.allclose(ours, step.numbers[f"step_{name}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(step: Step, computed: tuple[DetailCLIP, dict[str, Tensor]], name: str) -> None:
    assert float(computed[1][LOSSES[name]].detach()) == pytest.approx(float(step.numbers[name]), abs=1e-5)


def test_clip_is_the_mean_over_the_views(step: Step, computed: tuple[DetailCLIP, dict[str, Tensor]]) -> None:
    views = [float(step.numbers[f"loss_contra_loss_{view}"]) for view in (1, 2)]
    assert float(computed[1]["clip"].detach()) == pytest.approx(sum(views) / 2, abs=1e-5)


def test_gradients(step: Step, computed: tuple[DetailCLIP, dict[str, Tensor]]) -> None:
    names = [name.removeprefix("grad_") for name in step.numbers if name.startswith("grad_")]
    assert len(names) == 9
    for name in names:
        expected = step.numbers[f"grad_{name}"]
        ours = step.sample(f"grad_{name}", gradient(computed[0], name))
        assert (ours - expected).norm() <= 1e-4 * expected.norm(), name


def test_centres_and_teacher_after_the_step(step: Step, computed: tuple[DetailCLIP, dict[str, Tensor]]) -> None:
    model = computed[0]
    for ours, published in (
        (model.centers.cls, "center_after"),
        (model.centers.patch, "center2_after"),
        (model.ema.visual.trunk.norm.weight, "teacher_norm_after"),
    ):
        assert torch.allclose(ours, step.numbers[published], rtol=0, atol=1e-5)


def test_the_plain_step_agrees_in_every_gradient(step: Step, computed: tuple[DetailCLIP, dict[str, Tensor]]) -> None:
    """The one timed as "before": an independent way to the same numbers, for every parameter."""
    plain = step.model()
    terms = plain_losses(plain, step.u, step.v, step.tokens, step.epoch, step.momentum)
    terms["total"].backward()
    for name, term in terms.items():
        assert float(term.detach()) == pytest.approx(float(computed[1][name].detach()), abs=1e-5)
    ours = dict(computed[0].named_parameters())
    for name, parameter in plain.named_parameters():
        assert (parameter.grad is None) == (ours[name].grad is None), name
        if parameter.grad is not None:
            assert (parameter.grad - ours[name].grad).norm() <= 1e-4 * parameter.grad.norm() + 1e-9, name
