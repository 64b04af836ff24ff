"""Layer-wise learning rates and weight decay, parameter by parameter."""

from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.dense.layer_decay import LayerDecayConstructor, layer_id

DEPTH = 12


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("backbone.trunk.cls_token", 0),
        ("backbone.trunk.pos_embed", 0),
        ("backbone.trunk.patch_embed.proj.weight", 0),
        ("backbone.trunk.norm_pre.weight", 0),
        ("backbone.trunk.blocks.0.norm1.weight", 1),
        ("backbone.trunk.blocks.11.mlp.fc2.bias", 12),
        ("backbone.trunk.norm.weight", 13),
        ("backbone.pyramid.upsample_4x.0.weight", 13),
        ("decode_head.conv_seg.weight", 13),
        ("auxiliary_head.conv_seg.bias", 13),
    ],
)
def test_ids_of_a_twelve_block_tower(name: str, expected: int) -> None:
    assert layer_id(name, DEPTH) == expected


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 4))
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(4)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.trunk = Trunk()
        self.decode_head = nn.Linear(4, 2)
        self.frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)


def groups_by_name(**changes: Any) -> dict[str, dict[str, Any]]:
    """For each trainable parameter its group's learning rate and weight decay."""
    model = Model()
    options = {"depth": DEPTH, "layer_decay": 0.65, "decay_biases_and_norms": False, "exempt_pos_cls": False}
    config = {"type": "OptimWrapper", "optimizer": {"type": "AdamW", "lr": 8e-5, "weight_decay": 0.05}}
    wrapper = LayerDecayConstructor(config, options | changes)(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)]: group for group in wrapper.optimizer.param_groups for parameter in group["params"]}


def test_rates_are_the_published_powers() -> None:
    groups = groups_by_name()
    assert groups["backbone.trunk.cls_token"]["lr"] == pytest.approx(8e-5 * 0.65**13)
    assert groups["backbone.trunk.blocks.0.weight"]["lr"] == pytest.approx(8e-5 * 0.65**12)
    assert groups["backbone.trunk.blocks.11.weight"]["lr"] == pytest.approx(8e-5 * 0.65)
    assert groups["decode_head.weight"]["lr"] == pytest.approx(8e-5)


def test_every_trainable_parameter_is_in_exactly_one_group() -> None:
    trainable = {name for name, parameter in Model().named_parameters() if parameter.requires_grad}
    assert groups_by_name().keys() == trainable


def test_weight_decay_spares_vectors_but_not_positions() -> None:
    """As published: the exemption of position table and class token never takes effect."""
    groups = groups_by_name()
    assert groups["decode_head.bias"]["weight_decay"] == 0
    assert groups["backbone.trunk.norm.weight"]["weight_decay"] == 0
    assert groups["decode_head.weight"]["weight_decay"] == 0.05
    assert groups["backbone.trunk.pos_embed"]["weight_decay"] == 0.05
    assert groups["backbone.trunk.cls_token"]["weight_decay"] == 0.05


def test_exemption_and_bias_decay_are_real_choices() -> None:
    exempt = groups_by_name(exempt_pos_cls=True)
    assert exempt["backbone.trunk.pos_embed"]["weight_decay"] == 0
    assert exempt["backbone.trunk.cls_token"]["weight_decay"] == 0
    assert groups_by_name(decay_biases_and_norms=True)["decode_head.bias"]["weight_decay"] == 0.05
