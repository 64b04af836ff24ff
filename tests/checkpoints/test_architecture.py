"""Sizes and settings are plain data that go through JSON unchanged and build the tower they describe."""

import json
from typing import Any

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from benchmarks.checkpoints import Preprocessing, TextArchitecture, VitArchitecture
from benchmarks.checkpoints.architecture import _REGISTERED

VITS = st.builds(
    lambda heads, per_head, depth, patch, grid, eps, quick, pre: VitArchitecture(
        heads * per_head, depth, heads, patch, patch * grid, eps, 4.0, quick, pre
    ),
    st.integers(1, 16),
    st.integers(1, 80),
    st.integers(1, 40),
    st.integers(1, 32),
    st.integers(1, 40),
    st.sampled_from([1e-5, 1e-6]),
    st.booleans(),
    st.booleans(),
)


@given(VITS)
def test_an_image_tower_goes_through_json_unchanged(architecture: VitArchitecture) -> None:
    assert VitArchitecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture


def test_the_other_descriptions_go_through_json_unchanged() -> None:
    text = TextArchitecture(64, 2, 1, 512, 77, 4.0, quick_gelu=False)
    way = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 256, "bicubic", 224)
    assert TextArchitecture.from_dict(json.loads(json.dumps(text.to_dict()))) == text
    assert Preprocessing.from_dict(json.loads(json.dumps(way.to_dict()))) == way


@pytest.mark.parametrize("change", [{"width": None}, {"colour": 3}, {"width": "64"}])
def test_missing_and_unknown_fields_are_refused(change: dict[str, Any]) -> None:
    data = VitArchitecture(64, 1, 1, 16, 224, 1e-6, 4.0).to_dict() | change
    data = {key: value for key, value in data.items() if value is not None}
    with pytest.raises(ValueError, match=r"needs the fields|not int"):
        VitArchitecture.from_dict(data)


@pytest.mark.parametrize("ours", _REGISTERED, ids=_REGISTERED.values())
def test_registered_sizes_are_exactly_timms(ours: VitArchitecture) -> None:
    assert ours.timm_name is not None
    with torch.device("meta"):
        theirs = timm.create_model(ours.timm_name, num_classes=0)
        built = ours.build()
    assert theirs.blocks[0].attn.num_heads == ours.heads
    assert theirs.norm.eps == theirs.blocks[0].norm1.eps == ours.norm_eps
    assert theirs.patch_embed.img_size == (ours.image_size, ours.image_size)
    x = torch.linspace(-3, 3, 7)
    expected = x * torch.sigmoid(1.702 * x) if ours.quick_gelu else functional.gelu(x)
    for tower in (theirs, built):
        torch.testing.assert_close(tower.blocks[0].mlp.act(x), expected)
    assert [(key, value.shape) for key, value in built.state_dict().items()] == [
        (key, value.shape) for key, value in theirs.state_dict().items()
    ]


def test_slips_vit_s_is_not_the_registered_one() -> None:
    assert VitArchitecture(384, 12, 12, 16, 224, 1e-6, 4.0).timm_name is None


def test_build_hands_further_arguments_to_timm() -> None:
    tower = VitArchitecture(64, 2, 2, 16, 64, 1e-6, 4.0).build(dynamic_img_size=True, drop_path_rate=0.2)
    assert tower(torch.randn(1, 3, 96, 128)).shape == (1, 64)
    assert tower.blocks[1].drop_path1.drop_prob == pytest.approx(0.2)


def test_openais_tower_has_a_norm_before_the_blocks_no_patch_bias_and_quick_gelu() -> None:
    tower = VitArchitecture(64, 1, 1, 16, 64, 1e-5, 4.0, quick_gelu=True, pre_norm=True).build()
    assert tower.patch_embed.proj.bias is None
    assert tower.norm_pre.eps == tower.blocks[0].norm1.eps == 1e-5
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(tower.blocks[0].mlp.act(x), x * torch.sigmoid(1.702 * x))


def test_pictures_for_a_tower_of_another_size_keep_the_share_that_is_cropped() -> None:
    way = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 224, "bicubic", 224)
    assert way.at(224) == way
    assert (way.at(336).resize, way.at(336).crop) == (336, 336)
    wider = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 256, "bicubic", 224)
    assert (wider.at(448).resize, wider.at(448).crop) == (512, 448)
