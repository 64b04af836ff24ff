"""Every layout is known by its keys alone, by exactly one family, in any order; and what is unknown is
refused.
"""

import argparse
import random
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.checkpoints.convert import States, convert, identify, options_of, unwrap
from benchmarks.checkpoints.families import FAMILIES, TIMM_VIT, family_named, family_title
from benchmarks.checkpoints.family import HOW
from benchmarks.errors import CheckpointError
from tests.checkpoints import layouts, makers, oracle

LAYOUTS = {
    "slip-clip": makers.slip_clip(),
    "slip": makers.slip(),
    "slip-simclr": makers.simclr(),
    "openai-clip": makers.openai(),
    "open-clip": makers.open_clip(),
    "open-clip custom text": makers.open_clip(custom_text=True),
    "timm-vit": makers.vit(),
    "timm-vit with classifier": makers.vit() | makers.random({"head.weight": (10, 64), "head.bias": (10,)}),
    "dual-encoder": makers.dual_encoder(),
    "pretrained": makers.prefixed("online.", makers.dual_encoder())
    | makers.prefixed("ema.", makers.prefixed("visual.trunk.", makers.vit()) | makers.transformer("transformer."))
    | makers.random({"ema.visual.head.proj.weight": (32, 64), "ema.text_projection": (64, 32)})
    | makers.random({"head.mlp.0.weight": (8, 64), "decoder.mask_token": (1, 1, 64), "centers.cls": (1, 8)}),
    "pretrained without average": makers.prefixed("online.", makers.dual_encoder()),
    "detailclip": unwrap(oracle.content("detailclip"), "")[None],
    "aclip": unwrap(oracle.content("aclip"), "")[None],
    "mae": layouts.make("mae").content["model"],
    "ibot-student": layouts.make("ibot-student").content["state_dict"],
    "deit-distilled": layouts.make("deit-distilled").content["model"],
}
IN_CONTAINERS = {"dino", "ibot", "attmask"}  # tests/checkpoints/test_published_layouts.py
WITHOUT_MARKS = {"deit"}


def test_every_family_has_a_layout_here_and_a_name_of_its_own() -> None:
    names = {family.name for family in FAMILIES}
    assert {name.split()[0] for name in LAYOUTS} == names - IN_CONTAINERS - WITHOUT_MARKS
    assert {family.name for family in FAMILIES if not family.marks} == WITHOUT_MARKS
    assert len({family.name for family in FAMILIES}) == len({family.title for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_exactly_one_family_fits_each_layout(layout: str) -> None:
    fitting = [family.name for family in FAMILIES if family.fits(LAYOUTS[layout])]
    assert fitting == [layout.split()[0]]


@pytest.mark.parametrize("layout", LAYOUTS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_identification_does_not_depend_on_the_order_of_keys_or_families(layout: str, seed: int) -> None:
    keys, families = list(LAYOUTS[layout]), list(FAMILIES)
    random.Random(seed).shuffle(keys)
    random.Random(seed).shuffle(families)
    states: States = {None: {key: LAYOUTS[layout][key] for key in keys}}
    assert identify(states, "file", tuple(families)).name == layout.split()[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_key_is_claimed_by_two_rules_of_a_tower(layout: str) -> None:
    family = identify({None: LAYOUTS[layout]}, "file")
    for tower in family.towers:
        for key in LAYOUTS[layout]:
            assert sum(rule.rename(key) is not None for rule in tower.rules) <= 1, key


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_key_is_accounted_for_once(layout: str) -> None:
    state = LAYOUTS[layout]
    family = identify({None: state}, "file")
    for tower in family.towers:
        report = convert({None: state}, family, tower).report
        dropped = [key for keys in report.dropped.values() for key in keys]
        assert sorted(report.matched + dropped) == sorted(state)
        assert report.unexpected == []


def test_an_unknown_layout_is_refused_with_its_first_keys_and_the_known_families() -> None:
    with pytest.raises(CheckpointError, match=r"unknown layout \(keys: conv1.weight.*DetailCLIP.*plain ViT"):
        identify({None: makers.resnet()}, "resnet.pth")


@pytest.mark.parametrize("extra", ["mask_token", "decoder_embed.weight"])
def test_a_vit_with_more_to_it_is_not_taken_for_a_plain_one(extra: str) -> None:
    with pytest.raises(CheckpointError, match="unknown layout"):
        identify({None: makers.vit() | {extra: torch.zeros(1)}}, "file")


@pytest.mark.parametrize(
    ("extra", "reason"), [("fc_norm.weight", "mean of its patches"), ("visual.layer1.0", "ResNets")]
)
def test_layouts_that_are_known_and_not_evaluated_are_refused_with_the_reason(extra: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=rf"file: not supported: .*{reason}"):
        identify({None: makers.vit() | {extra: torch.zeros(1)}}, "file", (FAMILIES[0],))


@pytest.mark.parametrize("container", [None, "teacher"])
def test_a_family_without_marks_fits_nothing(container: str | None) -> None:
    deit = family_named("deit")
    assert deit is not None
    assert not deit.fits(makers.vit())
    assert not deit.fits(())


class TestOptions:
    def test_texts_and_numbers_are_read_from_a_namespace_or_a_dict(self) -> None:
        options = {"pred_shape": "attmask_high", "lr": 0.5, "epochs": 3, "layers": [1], "loss": None}
        expected = ("args.pred_shape=attmask_high", "args.lr=0.5", "args.epochs=3")
        assert options_of({"args": argparse.Namespace(**options)}) == options_of({"args": options}) == expected

    @pytest.mark.parametrize("content", [{}, {"args": None}, {"args": "pred_shape=attmask_high"}])
    def test_a_file_without_them_has_none(self, content: dict[str, object]) -> None:
        assert options_of(content) == ()

    def test_a_family_may_ask_for_one_or_exclude_it(self) -> None:
        teacher = layouts.make("ibot").content["teacher"]
        for option, name in (("args.pred_shape=attmask_hint", "attmask"), ("args.pred_shape=block", "ibot")):
            assert identify({"teacher": teacher}, "file", options=(option,)).name == name


@pytest.mark.parametrize("how", HOW)
def test_a_weight_of_other_dimensions_is_left_for_the_check_of_shapes(how: str) -> None:
    arrangement = HOW[how]
    for dimensions in range(5):
        weight = torch.zeros([3] * dimensions)
        assert (arrangement.apply(weight) is weight) == (dimensions != arrangement.dimensions)


def test_two_fitting_families_are_refused_rather_than_guessed() -> None:
    with pytest.raises(CheckpointError, match="fits several families"):
        identify({None: makers.vit()}, "file", (*FAMILIES, TIMM_VIT))


def test_aclip_and_detailclip_read_their_text_the_same_way() -> None:
    named = {family.name: family for family in FAMILIES}
    assert named["aclip"].towers == named["detailclip"].towers


def test_titles_tell_slips_clip_from_slip() -> None:
    assert family_title("slip-clip") == "CLIP (SLIP repository)"
    assert family_title("slip") == "SLIP"
    assert family_title("somebody's own") == "somebody's own"


class TestUnwrap:
    state: ClassVar = {"module.a": torch.ones(1), "module.module.b": torch.ones(1)}

    def test_wrappers_come_in_order_and_bare_comes_last(self) -> None:
        other = {"z": torch.zeros(1)}
        assert set(unwrap({"model": other, "state_dict": {"a": torch.ones(1)}}, "")[None]) == {"a"}
        assert set(unwrap({"module": {"m": torch.ones(1)}, "model": other}, "")[None]) == {"z"}
        assert set(unwrap({"z": torch.zeros(1)}, "")[None]) == {"z"}
        assert set(unwrap({"teacher": other, "student": other, "epoch": 3}, "")) == {"teacher", "student"}

    def test_one_module_is_stripped_only_at_the_start_and_only_when_every_key_has_it(self) -> None:
        assert set(unwrap({"state_dict": self.state}, "")[None]) == {"a", "module.b"}
        mixed = self.state | {"visual.module.c": torch.ones(1)}
        assert set(unwrap({"state_dict": mixed}, "")[None]) == set(mixed)

    def test_a_wrapper_without_tensors_is_passed_over(self) -> None:
        assert set(unwrap({"model": {"name": "vit"}, "state_dict": {"a": torch.ones(1)}}, "")[None]) == {"a"}


def test_identification_never_looks_at_the_file_name(tmp_path: Path) -> None:
    assert identify({None: makers.slip()}, str(tmp_path / "detailclip.pt")).name == "slip"
