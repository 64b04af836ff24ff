"""The dense backbone computes what timm computes, keeps its weights, and does what each option says."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from benchmarks.checkpoints import ImageTower, ensure_tiny, load_image_tower, save_backbone
from benchmarks.dense.backbone import DenseViT, resize_positions, tap_blocks


@pytest.fixture(scope="module")
def tower() -> ImageTower:
    return load_image_tower(ensure_tiny())


@pytest.fixture(scope="module")
def weights(tower: ImageTower, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "backbone.safetensors"
    save_backbone(tower, path)
    return path


def build(weights: Path, size: int = 224, **options: Any) -> DenseViT:
    settings = {"norm_on_taps": True, "pyramid": None, "position_offset": 0.0} | options
    return DenseViT(str(weights), image_size=(size, size), **settings)


@pytest.mark.parametrize(
    ("depth", "expected"), [(12, (3, 5, 7, 11)), (24, (7, 11, 15, 23)), (2, (0, 0, 1, 1)), (1, (0, 0, 0, 0))]
)
def test_tapped_blocks(depth: int, expected: tuple[int, ...]) -> None:
    assert tap_blocks(depth) == expected


@pytest.mark.parametrize("norm", [True, False])
def test_features_equal_timm(tower: ImageTower, weights: Path, norm: bool) -> None:
    """At the size of the checkpoint: timm's own intermediate features, independently computed."""
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        theirs = tower.trunk.forward_intermediates(images, norm=norm, intermediates_only=True)
        ours = build(weights, norm_on_taps=norm).eval()(images)
    assert len(ours) == 4
    for block, feature in zip(tap_blocks(2), ours, strict=True):
        torch.testing.assert_close(feature, theirs[block], atol=1e-5, rtol=0)


def test_other_sizes_use_interpolated_positions(tower: ImageTower, weights: Path) -> None:
    """At 96x160: timm's blocks behind positions that are interpolated here by hand."""
    images = torch.randn(1, 3, 96, 160)
    trunk = tower.trunk
    table = trunk.pos_embed[:, 1:].reshape(1, 14, 14, -1).permute(0, 3, 1, 2)
    table = functional.interpolate(table, size=(6, 10), mode="bicubic", align_corners=False)
    with torch.no_grad():
        patches = trunk.patch_embed.proj(images).flatten(2).transpose(1, 2) + table.flatten(2).transpose(1, 2)
        tokens = torch.cat([trunk.cls_token + trunk.pos_embed[:, :1], patches], dim=1)
        expected = trunk.norm(trunk.blocks(tokens))[:, 1:].transpose(1, 2).reshape(1, 128, 6, 10)
        got = build(weights).eval()(images)[3]
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_the_position_table_is_stored_at_the_training_size(tower: ImageTower, weights: Path) -> None:
    backbone = build(weights, size=512)
    assert backbone.trunk.pos_embed.shape == (1, 1 + 32 * 32, 128)
    expected = resize_positions(tower.trunk.pos_embed, (14, 14), (32, 32), offset=0.0)
    assert torch.equal(backbone.trunk.pos_embed, expected)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 20), st.integers(1, 20), st.sampled_from([0, 0.1]))
def test_resized_tables_have_the_wanted_size(h: int, w: int, height: int, width: int, offset: float) -> None:
    positions = torch.randn(1, 1 + h * w, 3)
    resized = resize_positions(positions, (h, w), (height, width), offset=offset)
    assert resized.shape == (1, 1 + height * width, 3)
    assert torch.equal(resized[:, 0], positions[:, 0])
    if (h, w) == (height, width):
        assert torch.equal(resized, positions)


def test_rows_and_columns_are_not_swapped() -> None:
    """A table that rises along the columns still does so on a wider grid."""
    table = torch.arange(3.0).repeat(2, 1).reshape(1, 6, 1)
    resized = resize_positions(torch.cat([torch.zeros(1, 1, 1), table], dim=1), (2, 3), (2, 6), offset=0.0)
    rows = resized[0, 1:, 0].reshape(2, 6)
    assert torch.allclose(rows[0], rows[1])
    assert (rows[0].diff() > 0).all()


def test_offset_moves_the_sampling_points(weights: Path) -> None:
    images = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        plain = build(weights, position_offset=0.0).eval()(images)[3]
        moved = build(weights, position_offset=0.1).eval()(images)[3]
    assert not torch.equal(plain, moved)


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (70, 33)])
def test_pyramid_strides(weights: Path, size: tuple[int, int]) -> None:
    """4, 8, 16, 32; sides that are no multiple of 16 lose the remainder."""
    rows, columns = size[0] // 16, size[1] // 16
    maps = build(weights, pyramid={"type": "BN"}).eval()(torch.randn(1, 3, *size))
    assert [tuple(each.shape[2:]) for each in maps] == [
        (4 * rows, 4 * columns), (2 * rows, 2 * columns), (rows, columns), (rows // 2, columns // 2)
    ]  # fmt: skip


def test_frozen_means_no_gradient_and_evaluation_mode(weights: Path) -> None:
    backbone = build(weights, frozen=True, drop_path_rate=0.9).train()
    assert not any(module.training for module in backbone.trunk.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    images = torch.randn(2, 3, 64, 64)
    assert not backbone(images)[0].requires_grad
    assert torch.equal(backbone(images)[3], backbone(images)[3])


def test_the_pyramid_of_a_frozen_tower_learns(weights: Path) -> None:
    backbone = build(weights, frozen=True, pyramid={"type": "BN"}).train()
    sum(feature.square().sum() for feature in backbone(torch.randn(2, 3, 64, 64))).backward()
    assert backbone.pyramid is not None
    assert backbone.pyramid.training
    learning = {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    assert learning == {f"pyramid.{name}" for name, _ in backbone.pyramid.named_parameters()}


def test_drop_path_acts_in_training_only(weights: Path) -> None:
    backbone = build(weights, drop_path_rate=0.5)
    images = torch.randn(8, 3, 64, 64)
    torch.manual_seed(0)
    assert not torch.equal(backbone.train()(images)[3], backbone(images)[3])
    assert torch.equal(backbone.eval()(images)[3], backbone(images)[3])


def test_checkpointing_changes_no_gradient(weights: Path) -> None:
    images = torch.randn(1, 3, 64, 64)
    gradients = []
    for flag in (False, True):
        backbone = build(weights, size=64, checkpoint_blocks=flag).train()
        sum(feature.square().sum() for feature in backbone(images)).backward()
        gradients.append({name: p.grad for name, p in backbone.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-4)


def test_mmengine_does_not_initialise_over_the_weights(weights: Path) -> None:
    """timm's towers have an ``init_weights`` of their own that MMEngine would find and call."""
    from mmengine.model import BaseModule

    class Parent(BaseModule):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.backbone = build(weights)

    parent = Parent()
    parent.init_weights()
    parent.backbone.assert_equals_file()


@pytest.mark.parametrize("name", ["blocks.1.mlp.fc2.bias", "pos_embed", "norm.weight"])
def test_a_changed_weight_is_noticed(weights: Path, name: str) -> None:
    backbone = build(weights, size=512)
    backbone.assert_equals_file()
    with torch.no_grad():
        backbone.trunk.get_parameter(name).flatten()[0] += 1e-6
    with pytest.raises(AssertionError, match=name):
        backbone.assert_equals_file()


def test_unused_final_norm_is_left_out(weights: Path) -> None:
    """A parameter without gradient would stop distributed training."""
    names = [name for name, _ in build(weights, norm_on_taps=False).named_parameters()]
    assert not any("trunk.norm." in name for name in names)
    images = torch.randn(1, 3, 224, 224)
    backbone = build(weights, norm_on_taps=False, pyramid={"type": "BN"}).train()
    sum(feature.square().sum() for feature in backbone(images)).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_attention_is_the_fused_kernel(weights: Path) -> None:
    assert all(block.attn.fused_attn for block in build(weights).trunk.blocks)
