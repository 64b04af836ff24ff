"""DetailCLIP's step: every field acts, nothing is trained in vain, the teacher moves as stated."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pretrain.fields import preset_fields
from pretrain.methods import Batch, DetailCLIP, Progress
from tests.pretrain.tiny import pair_batch, tiny_detailclip

ALPHAS = [(1, 1, 1), (1, 1, 0), (1, 1, 2), (0.5, 0.5, 0.5), (0, 0, 1), (1, 0, 0), (0, 1, 0)]

CHANGES: dict[str, Any] = {
    "alpha_cls": 0.5,
    "alpha_patch": 0.5,
    "alpha_reconstruction": 2.0,
    "clip_weight": 2.0,
    "removal.granularity": "patch",
    "removal.keep_ratio": 0.25,
    "removal.keep_plus_one": False,
    "attention_source": "last_layer",
    "divergence": "kl_student_teacher",
    "cls_pairing": "same",
    "student_temperature": 0.2,
    "teacher_cls_temperature": 0.08,
    "teacher_patch_temperature": 0.1,
    "pixel_target": "raw",
    "reconstruction_scale": "sum",
    "clip_views": "first",
}
"""Fields that change the very first losses, and a value other than the released one."""

LATER: dict[str, Any] = {
    "teacher_patch_temperature_start": "epoch 0",
    "teacher_patch_warmup_epochs": "epochs",
    "centering": "the second step",
    "center_momentum": "the second step",
    "frozen_patch_projection": "gradients",
    "ema_momentum": "the teacher after a step",
    "head": "sizes",
    "decoder_heads": "sizes",
}
"""Fields that act elsewhere, each with a test of its own below."""


def nested(path: str, value: Any) -> dict[str, Any]:
    """The change of one field, as a preset's section."""
    section, _, name = path.rpartition(".")
    if not section:
        return {name: value}
    return {section: {**preset_fields("detailclip", "released")[section], name: value}}


def total(model: DetailCLIP, epoch: int = 1) -> float:
    return float(model.compute_losses(*pair_batch(), epoch=epoch)["total"].detach())


def apart(model: DetailCLIP) -> DetailCLIP:
    """With teacher and online weights moved apart, so that it matters which is which."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


def test_every_field_is_tested() -> None:
    fields = preset_fields("detailclip", "released")
    assert {path.split(".")[0] for path in CHANGES} | set(LATER) == set(fields)


@pytest.mark.parametrize("path", CHANGES)
def test_a_field_changes_the_losses(path: str) -> None:
    before = total(apart(tiny_detailclip()))
    assert abs(total(apart(tiny_detailclip(**nested(path, CHANGES[path])))) - before) > 1e-5


def test_the_patch_temperature_ramps_up_by_epoch() -> None:
    def temperatures(**changes: Any) -> list[float]:
        model = tiny_detailclip(**changes)
        found = []
        for epoch in range(4):
            model.set_progress(Progress(epoch=epoch))
            found.append(model.patch_temperature())
        return found

    assert temperatures() == pytest.approx([0.04, 0.07, 0.07, 0.07])
    assert temperatures(teacher_patch_warmup_epochs=3) == pytest.approx([0.04, 0.055, 0.07, 0.07])
    assert temperatures(teacher_patch_temperature_start=0.02)[0] == pytest.approx(0.02)
    assert temperatures(teacher_patch_warmup_epochs=0)[0] == pytest.approx(0.07)
    assert total(apart(tiny_detailclip()), epoch=0) != pytest.approx(total(apart(tiny_detailclip()), epoch=1))


def test_centres_act_in_the_second_step() -> None:
    def second(**changes: Any) -> float:
        model = apart(tiny_detailclip(**changes))
        total(model)
        return total(model)

    assert len({round(second(**change), 4) for change in ({}, {"centering": False}, {"center_momentum": 0.5})}) == 3
    frozen = apart(tiny_detailclip(centering=False))
    total(frozen)
    assert not frozen.centers.cls.any() and not frozen.centers.patch.any()


def test_micro_batches_move_the_centres_together_as_far_as_one_batch() -> None:
    """Four micro-batches of the same pairs: the old centre keeps the momentum's share once, not four times."""
    whole, parts = apart(tiny_detailclip()), apart(tiny_detailclip())
    u, v, tokens = pair_batch()
    batch = Batch(torch.stack([u, v], dim=1), tokens)
    whole.set_progress(Progress(step=0, steps=10))
    whole.losses(batch)
    for micro in range(4):
        parts.set_progress(Progress(step=0, steps=10, begins_step=micro == 0, accumulation=4))
        parts.losses(batch)
    assert torch.allclose(whole.centers.patch, parts.centers.patch, atol=1e-6)


def test_the_patch_projection_is_frozen_or_not() -> None:
    frozen, free = tiny_detailclip(), tiny_detailclip(frozen_patch_projection=False)
    assert not frozen.online.visual.trunk.patch_embed.proj.weight.requires_grad
    free.compute_losses(*pair_batch())["total"].backward()
    gradient = free.online.visual.trunk.patch_embed.proj.weight.grad
    assert gradient is not None and gradient.abs().sum() > 0


def test_sizes_of_the_heads() -> None:
    model = tiny_detailclip(head={"hidden": 20, "bottleneck": 6, "prototypes": 30}, decoder_heads=2)
    assert (model.decoder.block.attn.num_heads, model.head.last_layer.weight.shape) == (2, (30, 6))
    assert model.centers.cls.shape == (1, 30)


@pytest.mark.parametrize("alphas", ALPHAS)
def test_what_is_trainable_gets_a_gradient_and_weight_0_is_not_computed(alphas: tuple[float, float, float]) -> None:
    """Distributed training would wait for ever for a trainable parameter that no loss reaches."""
    cls, patch, pixels = alphas
    model = tiny_detailclip(alpha_cls=cls, alpha_patch=patch, alpha_reconstruction=pixels)
    terms = model.compute_losses(*pair_batch())
    terms["total"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    asked = {"clip", *(n for n, w in zip(("cls", "patch", "reconstruction"), alphas, strict=True) if w)}
    assert {name for name in terms if not name.endswith("_kl")} == asked | {"total"}
    weighted = terms["clip"] + sum(
        w * terms[n] for n, w in zip(("cls", "patch", "reconstruction"), alphas, strict=True) if w
    )
    assert float(terms["total"].detach()) == pytest.approx(float(weighted.detach()), rel=1e-5)


def test_the_teacher_never_gets_a_gradient() -> None:
    model = tiny_detailclip()
    model.compute_losses(*pair_batch())["total"].backward()
    for module in (model.ema, model.ema_head):
        assert all(not parameter.requires_grad and parameter.grad is None for parameter in module.parameters())


def test_the_teacher_follows_by_the_momentum_and_stays_within_a_step() -> None:
    model = apart(tiny_detailclip())
    pairs = [(ema.clone(), online.clone()) for ema, online in model.averaged()]
    model.update_teacher(0.9)
    for (ema, _), (before, online) in zip(model.averaged(), pairs, strict=True):
        assert torch.allclose(ema, 0.9 * before + 0.1 * online, atol=1e-6)
    moved = [ema.clone() for ema, _ in model.averaged()]
    u, v, tokens = pair_batch()
    model.set_progress(Progress(step=3, steps=10, begins_step=False, accumulation=2))
    model.losses(Batch(torch.stack([u, v], dim=1), tokens))
    assert all(torch.equal(ema, before) for (ema, _), before in zip(model.averaged(), moved, strict=True))


@pytest.mark.parametrize(("step", "expected"), [(0, 0.996), (50, 0.998), (100, 1.0)])
def test_the_momentum_rises_along_a_half_cosine(step: int, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    model = tiny_detailclip()
    monkeypatch.setattr(model, "update_teacher", seen.append)
    u, v, tokens = pair_batch()
    model.set_progress(Progress(step=step, steps=101))
    model.losses(Batch(torch.stack([u, v], dim=1), tokens))
    assert seen == [pytest.approx(expected)]


def test_what_the_average_covers() -> None:
    """Image tower and its projection, text transformer and projection, head; not the token and position embeddings
    of the text, its last norm, or the logit scale."""
    model = tiny_detailclip()
    covered = {id(online) for _, online in model.averaged()}
    left = {name for name, parameter in model.online.named_parameters() if id(parameter) not in covered}
    assert left == {"token_embedding.weight", "positional_embedding", "ln_final.weight", "ln_final.bias", "logit_scale"}
    assert all(id(parameter) in covered for parameter in model.head.parameters())


def test_checkpointed_blocks_give_the_same_gradients() -> None:
    gradients = []
    for checkpointed in (False, True):
        model = apart(tiny_detailclip())
        model.checkpoint_blocks = checkpointed
        model.compute_losses(*pair_batch())["total"].backward()
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*gradients, strict=True))


def test_an_enclosing_crop_equal_to_the_view_changes_nothing_and_another_does() -> None:
    u, _, tokens = pair_batch()
    views = torch.stack([u, u], dim=1)
    whole = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(len(u), 2, 4)

    def losses(enclosing: Tensor | None, boxes: Tensor | None) -> float:
        model = apart(tiny_detailclip())
        return float(model.losses(Batch(views, tokens, enclosing, boxes))["total"].detach())

    same = losses(None, None)
    assert losses(u, whole) == pytest.approx(same, abs=1e-4)
    assert losses(u, whole * 0.5) != pytest.approx(same, abs=1e-4)
    assert losses(-u, whole) != pytest.approx(same, abs=1e-4)


def test_float32_and_bfloat16_train_alike() -> None:
    plain, mixed = apart(tiny_detailclip()), apart(tiny_detailclip())
    expected = plain.compute_losses(*pair_batch())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = mixed.compute_losses(*pair_batch())
    for name in ("clip", "cls", "patch", "reconstruction"):
        assert found[name].dtype == torch.float32
        assert float(found[name].detach()) == pytest.approx(float(expected[name].detach()), rel=0.05)
    found["total"].backward()
    assert all(torch.isfinite(p.grad).all() for p in mixed.parameters() if p.grad is not None)


def test_wrong_views_are_refused() -> None:
    u, v, tokens = pair_batch()
    with pytest.raises(ValueError, match=r"two views \(B, 3, 48, 48\)"):
        tiny_detailclip().compute_losses(u[..., :40], v[..., :40], tokens)
    with pytest.raises(ValueError, match=r"expected mode loss and views"):
        tiny_detailclip()(u[:, None], tokens)


def test_multiply_adds_of_the_published_size() -> None:
    """Against a count by hand for ViT-B/16, 100 of 196 patches kept, captions of 20 tokens."""
    model = tiny_detailclip()
    parts = model.multiply_adds(8)
    assert set(parts) == {"teacher", "student", "decoder", "heads", "text"}
    width, tokens, ratio = 48, 37, 2
    tower = 2 * tokens * (4 * width**2 + 2 * ratio * width**2 + 2 * width * tokens)
    assert parts["teacher"] == pytest.approx(2 * (tower + 36 * width * 192))
