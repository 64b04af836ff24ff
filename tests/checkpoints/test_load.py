"""Loading reproduces the published implementations, explains every key, and asks where the weights cannot
tell.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch.nn import functional

from benchmarks.checkpoints import (
    VitArchitecture,
    inspect_checkpoint,
    load_checkpoint,
    load_image_tower,
)
from benchmarks.errors import CheckpointError
from tests.checkpoints import makers
from tests.checkpoints.oracle import HEADS, NAMES, Oracle

GetOracle = Callable[[str], Oracle]
BOTH_TOWERS = [
    (name, tower, suffix)
    for name in NAMES
    for tower, suffix in (
        [("ema", "_teacher"), ("online", "_student")] if name in ("detailclip", "aclip") else [("online", "")]
    )
]


def saved(path: Path, state: Mapping[str, Any]) -> Path:
    torch.save({"epoch": 1, "state_dict": makers.module(dict(state))}, path)
    return path


@pytest.mark.parametrize(("name", "tower", "suffix"), BOTH_TOWERS)
def test_embeddings_equal_those_of_the_published_code(oracle: GetOracle, name: str, tower: str, suffix: str) -> None:
    case = oracle(name)
    model = load_checkpoint(case.path, tower, **HEADS).model
    with torch.no_grad():
        images, texts = model.encode_image(case.images), model.encode_text(case.tokens)
    torch.testing.assert_close(images, case.numbers["img" + suffix], atol=1e-5, rtol=0)
    torch.testing.assert_close(texts, case.numbers["txt" + suffix], atol=1e-5, rtol=0)


def test_wrong_heads_load_silently_and_give_other_numbers(oracle: GetOracle) -> None:
    """Why the heads are never guessed: nothing but the numbers shows the mistake."""
    case = oracle("slip")
    model = load_checkpoint(case.path, image_heads=4, text_heads=2).model
    with torch.no_grad():
        assert (model.encode_image(case.images) - case.numbers["img"]).abs().max() > 1e-2
        assert (model.encode_text(case.tokens) - case.numbers["txt"]).abs().max() > 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_every_key_of_a_published_layout_is_explained(oracle: GetOracle, name: str) -> None:
    case = oracle(name)
    keys = {key.removeprefix("module.") for key in torch.load(case.path, weights_only=False)["state_dict"]}
    loaded = load_checkpoint(case.path, **HEADS)
    dropped = [key for keys in loaded.report.dropped.values() for key in keys]
    assert sorted(loaded.report.matched + dropped) == sorted(keys)
    assert len(loaded.report.matched) == len(loaded.model.state_dict()) == 61
    assert loaded.report.missing == loaded.report.unexpected == []
    assert json.loads(json.dumps(loaded.report.to_dict()))["reshaped"][0][1:] == [[128, 32], "transposed"]


@pytest.mark.parametrize("name", ["detailclip", "aclip"])
def test_the_ema_tower_is_the_default_where_there_is_one(oracle: GetOracle, name: str) -> None:
    case = oracle(name)
    loaded = load_checkpoint(case.path, **HEADS)
    assert (loaded.info.tower, loaded.info.towers) == ("ema", ("ema", "online"))
    with torch.no_grad():
        found = loaded.model.encode_image(case.images)
    torch.testing.assert_close(found, case.numbers["img_teacher"], atol=1e-5, rtol=0)


def test_the_ema_text_path_reads_the_online_embeddings_and_last_norm(oracle: GetOracle) -> None:
    loaded = load_checkpoint(oracle("detailclip").path, "ema", **HEADS)
    shared = [
        "positional_embedding",
        "token_embedding.weight",
        "ln_final.weight",
        "ln_final.bias",
        "logit_scale",
    ]
    assert set(shared) < set(loaded.report.matched)
    assert "transformer_e.resblocks.0.ln_1.weight" in loaded.report.matched


def test_reasons_tell_why_keys_were_left_out(oracle: GetOracle) -> None:
    dropped = load_checkpoint(oracle("detailclip").path, **HEADS).report.dropped
    assert "ibot_head_e.last_layer2.weight_v" in dropped["second name of the distillation head's shared last layer"]
    assert "ibot_head.last_layer.weight_g" in dropped["distillation head"]
    assert "mask_token" in dropped["pixel decoder"]
    assert "visual.cls_token" in dropped["belongs to the online tower"]


@pytest.mark.parametrize(("name", "tower", "suffix"), BOTH_TOWERS)
def test_the_image_tower_alone_is_the_same_and_needs_no_text_heads(
    oracle: GetOracle, name: str, tower: str, suffix: str
) -> None:
    case = oracle(name)
    alone = load_image_tower(case.path, tower, image_heads=2)
    whole = load_checkpoint(case.path, tower, **HEADS)
    assert alone.architecture == whole.info.architecture == VitArchitecture(128, 2, 2, 16, 224, 1e-6, 4.0)
    weights, expected = alone.trunk.state_dict(), whole.model.visual.trunk.state_dict()
    assert list(weights) == list(expected)
    assert all(torch.equal(weights[key], expected[key]) for key in expected)
    with torch.no_grad():
        projected = whole.model.visual.head(alone.trunk(case.images))
    torch.testing.assert_close(projected, case.numbers["img" + suffix], atol=1e-5, rtol=0)
    assert "text_projection" in " ".join(alone.report.dropped["not part of the image tower"])


def test_models_are_ready_for_evaluation_and_do_not_hang_on_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pt", makers.slip_clip())
    loaded = load_checkpoint(path, image_heads=2, text_heads=1)
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        before = loaded.model.encode_image(images)
        path.write_bytes(b"")  # a mapped file would now be gone
        assert torch.equal(loaded.model.encode_image(images), before)
    assert not any(module.training for module in loaded.model.modules())
    assert {(tensor.dtype, tensor.device.type) for tensor in loaded.model.state_dict().values()} == {
        (torch.float32, "cpu")
    }


def test_text_has_quick_gelu_and_vision_the_exact_one(tmp_path: Path) -> None:
    """Both are told apart by numbers, not by class names: each MLP is computed by hand."""
    model = load_checkpoint(saved(tmp_path / "c.pt", makers.slip_clip()), image_heads=2, text_heads=1).model
    x = torch.randn(5, 64) * 3
    with torch.no_grad():
        text = model.transformer.resblocks[0].mlp
        hidden = text.c_fc(x)
        assert torch.allclose(text(x), text.c_proj(hidden * torch.sigmoid(1.702 * hidden)), atol=1e-6)
        assert not torch.allclose(text(x), text.c_proj(functional.gelu(hidden)), atol=1e-6)
        vision = model.visual.trunk.blocks[0].mlp
        hidden = vision.fc1(x)
        assert torch.allclose(vision(x), vision.fc2(functional.gelu(hidden)), atol=1e-6)
        assert not torch.allclose(vision(x), vision.fc2(hidden * torch.sigmoid(1.702 * hidden)), atol=1e-6)
    assert {norm.eps for name, norm in model.visual.named_modules() if "norm" in name and hasattr(norm, "eps")} == {
        1e-6
    }
    assert model.ln_final.eps == model.transformer.resblocks[0].ln_1.eps == 1e-5


def test_a_half_precision_file_becomes_float32(tmp_path: Path) -> None:
    state = makers.slip_clip()
    path = saved(tmp_path / "half.pt", {key: value.half() for key, value in state.items()})
    loaded = load_checkpoint(path, image_heads=2, text_heads=1)
    assert loaded.report.cast == {"float16": len(state)}
    assert loaded.model.logit_scale.dtype is torch.float32
    assert torch.equal(loaded.model.positional_embedding, state["positional_embedding"].half().float())


WAYS: dict[str, Callable[[Path], object]] = {
    "load_checkpoint": lambda path: load_checkpoint(path, image_heads=2, text_heads=1),
    "load_image_tower": lambda path: load_image_tower(path, image_heads=2),
    "inspect_checkpoint": inspect_checkpoint,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda state: makers.without(state, ["visual.blocks.1.norm2.bias"]),
            "1 missing .*blocks.1.norm2.bias",
        ),
        (lambda state: state | {"visual.blocks.0.ls1.gamma": torch.ones(64)}, "1 unexpected .*ls1.gamma"),
        (lambda state: state | {"teacher_temp": torch.ones(1)}, r"1 unexpected \(teacher_temp\)"),
        (lambda state: state | {"note": "hello"}, r"1 unexpected \(note\)"),
        (lambda state: makers.without(state, ["visual.pos_embed"]), "missing visual.trunk.pos_embed"),
        (
            lambda state: state | {"visual.norm.bias": torch.ones(65)},
            r"visual.norm.bias has the shape \(65,\)",
        ),
        (lambda state: state | {"visual.norm.bias": torch.ones(64).int()}, "visual.norm.bias is torch.int32"),
        (lambda state: state | {"visual.pos_embed": torch.ones(1, 199, 64)}, "199 positions"),
        (lambda state: state | {"visual.pos_embed": torch.ones(197, 64)}, "3 dimensions expected"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(
    tmp_path: Path, way: str, change: Callable[[makers.State], makers.State], named: str
) -> None:
    path = saved(tmp_path / "c.pt", change(makers.slip_clip()))
    with pytest.raises(CheckpointError, match=named) as caught:
        WAYS[way](path)
    assert str(path) in str(caught.value)


def test_many_missing_keys_are_counted_and_the_first_few_named(tmp_path: Path) -> None:
    state = makers.slip_clip()
    gone = [key for key in state if key.startswith("visual.blocks.0.") and "fc1" not in key]
    path = saved(tmp_path / "c.pt", makers.without(state, gone))
    with pytest.raises(CheckpointError, match=r"10 missing \(visual.trunk.blocks.0.*and 5 more\)"):
        load_checkpoint(path, image_heads=2, text_heads=1)


def test_an_absurd_block_number_is_refused_at_once(tmp_path: Path) -> None:
    extra = {"visual.blocks.999999999.norm1.weight": torch.ones(64)}
    path = saved(tmp_path / "c.pt", makers.slip_clip() | extra)
    with pytest.raises(CheckpointError, match="1 unexpected"):
        load_checkpoint(path, image_heads=2, text_heads=1)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    torch.save(makers.resnet(), tmp_path / "resnet.pth")
    for way in WAYS.values():
        with pytest.raises(CheckpointError, match="unknown layout"):
            way(tmp_path / "resnet.pth")


class TestTowers:
    def test_a_tower_that_the_file_lacks_is_refused(self, oracle: GetOracle) -> None:
        for way in (load_checkpoint, load_image_tower, inspect_checkpoint):
            with pytest.raises(CheckpointError, match="has no ema tower; towers in this file: online"):
                way(oracle("slip").path, "ema")

    def test_an_unknown_tower_is_refused(self, oracle: GetOracle) -> None:
        with pytest.raises(CheckpointError, match=r"has no student tower; .* ema, online"):
            load_checkpoint(oracle("aclip").path, "student")


class TestHeads:
    def test_unpublished_sizes_must_be_told_each_by_its_option(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "c.pt", makers.slip_clip())
        with pytest.raises(CheckpointError, match="--image-heads N"):
            load_checkpoint(path)
        with pytest.raises(CheckpointError, match="--image-heads N"):
            load_image_tower(path)
        with pytest.raises(CheckpointError, match="--text-heads N"):
            load_checkpoint(path, image_heads=2)

    @pytest.mark.parametrize("heads", [3, 0, -2, 128])
    def test_heads_that_do_not_divide_the_width_are_refused(self, tmp_path: Path, heads: int) -> None:
        path = saved(tmp_path / "c.pt", makers.slip_clip())
        with pytest.raises(CheckpointError, match=f"--image-heads {heads} does not divide"):
            load_image_tower(path, image_heads=heads)
        with pytest.raises(CheckpointError, match=f"--text-heads {heads} does not divide"):
            load_checkpoint(path, image_heads=2, text_heads=heads)

    @pytest.mark.parametrize(("width", "heads"), [(384, 12), (768, 12), (1024, 16)])
    def test_slips_sizes_have_the_heads_of_its_code(self, tmp_path: Path, width: int, heads: int) -> None:
        path = saved(tmp_path / "c.pt", makers.simclr(width, depth=1))
        assert inspect_checkpoint(path).heads.image == heads

    @pytest.mark.parametrize(("width", "heads"), [(384, 6), (768, 12), (1024, 16)])
    def test_plain_vits_have_64_channels_a_head(self, tmp_path: Path, width: int, heads: int) -> None:
        torch.save(makers.vit(width, depth=1), tmp_path / "c.pt")
        assert inspect_checkpoint(tmp_path / "c.pt").heads.image == heads

    def test_a_detailclip_vit_s_was_never_published_so_it_must_be_told(self, tmp_path: Path) -> None:
        towers = makers.prefixed("visual.", makers.vit(384, 1)) | makers.prefixed("visual_ema.", makers.vit(384, 1))
        text = makers.text() | makers.transformer("transformer_e.")
        rest = makers.random(
            {
                "image_projection": (384, 32),
                "image_projection_e": (384, 32),
                "text_projection_e": (64, 32),
                "ibot_head.mlp.0.bias": (8,),
            }
        )
        path = saved(tmp_path / "c.pt", towers | text | rest)
        assert inspect_checkpoint(path).heads.image is None
        with pytest.raises(CheckpointError, match="--image-heads N"):
            load_image_tower(path)

    def test_told_heads_win_over_published_ones(self, tmp_path: Path) -> None:
        torch.save(makers.vit(384, depth=1), tmp_path / "c.pt")
        assert load_image_tower(tmp_path / "c.pt", image_heads=12).trunk.blocks[0].attn.num_heads == 12


class TestImageOnly:
    def test_simclr_gives_the_class_token_and_has_no_text_side(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "c.pt", makers.simclr())
        loaded = load_checkpoint(path, image_heads=2)
        images = torch.randn(2, 3, 224, 224)
        with torch.no_grad():
            found = loaded.model.encode_image(images)
            assert torch.equal(found, loaded.model.visual.trunk.forward_features(images)[:, 0])
        with pytest.raises(CheckpointError, match=r"SimCLR \(SLIP repository\).* has no text side"):
            loaded.model.encode_text(torch.zeros(1, 77).long())
        assert not loaded.info.has_text
        assert loaded.info.heads.text is None
        assert (
            "image_mlp.bn1.num_batches_tracked" in loaded.report.dropped["projection head of the self-supervised loss"]
        )

    @pytest.mark.parametrize("wrapped", [True, False])
    def test_a_plain_vit_loads_with_or_without_classifier_and_says_what_it_assumes(
        self, tmp_path: Path, wrapped: bool
    ) -> None:
        head = makers.random({"head.weight": (10, 64), "head.bias": (10,)}) if wrapped else {}
        state = makers.vit() | head
        torch.save({"model": state} if wrapped else state, tmp_path / "deit.pth")
        loaded = load_checkpoint(tmp_path / "deit.pth", image_heads=2)
        assert loaded.report.dropped == ({"classifier": ["head.weight", "head.bias"]} if wrapped else {})
        assert loaded.info.family == "timm-vit"
        assert any("who trained it" in note for note in loaded.info.notes)

    def test_a_backbone_taken_out_of_a_checkpoint_equals_its_tower(self, oracle: GetOracle, tmp_path: Path) -> None:
        case = oracle("detailclip")
        state = torch.load(case.path, weights_only=False)["state_dict"]
        prefix = "module.visual_ema."
        backbone = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        torch.save(backbone, tmp_path / "backbone.pth")
        with torch.no_grad():
            found = load_image_tower(tmp_path / "backbone.pth", image_heads=2).trunk(case.images)
            expected = load_image_tower(case.path, "ema", image_heads=2).trunk(case.images)
        assert torch.equal(found, expected)


class TestInspect:
    def test_it_needs_no_heads_and_says_which_must_be_told(self, oracle: GetOracle) -> None:
        case = oracle("detailclip")
        found = inspect_checkpoint(case.path)
        assert (found.family, found.title, found.tower) == ("detailclip", "DetailCLIP", "ema")
        assert found.heads.image is None
        assert found.heads.text is None
        assert (found.architecture.width, found.architecture.depth, found.joint) == (128, 2, 32)
        assert found.text is not None
        assert (found.text.width, found.text.vocabulary, found.text.context) == (64, 512, 77)
        assert found.preprocessing.mean == (0.485, 0.456, 0.406)
        assert found.has_text
        assert len(found.report.matched) == 61
        assert json.loads(json.dumps(found.to_dict()))["sha256"] == found.sha256

    def test_told_heads_are_shown(self, oracle: GetOracle) -> None:
        found = inspect_checkpoint(oracle("slip").path, **HEADS)
        assert (found.heads.image, found.heads.text) == (2, 1)

    def test_it_agrees_with_loading(self, oracle: GetOracle) -> None:
        path = oracle("aclip").path
        found, loaded = inspect_checkpoint(path, **HEADS), load_checkpoint(path, **HEADS)
        assert found.report.to_dict() == loaded.report.to_dict()
        assert loaded.info.to_dict().items() <= found.to_dict().items()


def full_size(width: int, depth: int) -> makers.State:
    """SLIP's CLIP at a published size; the text side stays small but for its published width."""
    projection = makers.random({"image_projection": (width, 32)})
    return makers.prefixed("visual.", makers.vit(width, depth)) | makers.text(512, 1) | projection


def test_slips_vit_s_has_twelve_heads_at_full_size(tmp_path: Path) -> None:
    state = full_size(384, 12)
    model = load_checkpoint(saved(tmp_path / "slip_small.pt", state)).model
    images = torch.randn(1, 3, 224, 224)
    visual = {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")}
    features = {}
    for heads in (6, 12):
        reference = timm.create_model("vit_small_patch16_224", num_classes=0, num_heads=heads).eval()
        reference.load_state_dict(visual, strict=True)
        with torch.no_grad():
            features[heads] = reference(images) @ state["image_projection"]
    with torch.no_grad():
        found = model.encode_image(images)
    torch.testing.assert_close(found, features[12], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, features[6], atol=1e-3)


@pytest.mark.slow
def test_vit_b_at_full_size_equals_timms(tmp_path: Path) -> None:
    state = full_size(768, 12)
    loaded = load_checkpoint(saved(tmp_path / "clip_base.pt", state))
    assert (loaded.info.heads.image, loaded.info.heads.text) == (12, 8)
    assert loaded.info.architecture.timm_name == "vit_base_patch16_224"
    reference = timm.create_model("vit_base_patch16_224", num_classes=0).eval()
    reference.load_state_dict(
        {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")}
    )
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = reference(images) @ state["image_projection"]
        torch.testing.assert_close(loaded.model.encode_image(images), expected, atol=1e-5, rtol=1e-5)
