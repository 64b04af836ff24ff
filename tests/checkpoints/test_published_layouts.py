"""Every published layout gives the features of an independent implementation, and every key of it is explained."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from open_clip.transformer import QuickGELU
from open_clip.transformer import VisionTransformer as OpenClipViT
from torch import Tensor, nn

from benchmarks.checkpoints import load_checkpoint, load_image_tower
from benchmarks.checkpoints.families import FAMILIES, IBOT
from benchmarks.errors import CheckpointError
from tests.checkpoints import makers
from tests.checkpoints.layouts import GRID, JOINT, LAYOUTS, Layout, make, save, sine_cosine, write

BOTH = [
    *((name, tower) for name in ("aclip", "detailclip", "pretrained") for tower in ("ema", "online")),
    *((name, tower) for name in ("dino", "ibot", "attmask") for tower in ("ema", "online")),
]
TOWERS = [(name, None) for name in LAYOUTS if name not in dict(BOTH)] + BOTH
OPENAI = ("openai-clip", "open-clip")
TEXT_SIDE = ("slip-clip", "slip", "aclip", "detailclip", "dual-encoder", "pretrained")
OWN = ("dual-encoder", "pretrained")


def pictures() -> Tensor:
    return torch.randn(2, 3, 16 * GRID, 16 * GRID, generator=torch.Generator().manual_seed(5))


def reference(layout: Layout, tower: str, heads: int | None = None) -> Tensor:
    """Tokens after the last norm, (B, 1 + patches, width), by timm's or open_clip's own model."""
    weights = layout.trunks[tower]
    heads = heads or layout.heads
    with torch.no_grad():
        if layout.kind in ("openai", "open_clip"):
            return _open_clip_tokens(weights, heads, QuickGELU if layout.kind == "openai" else nn.GELU)
        if layout.kind == "distilled":
            return _distilled_tokens(weights, heads, seen=False)
        return _timm("vit_base_patch16_224", weights, heads).forward_features(pictures())  # type: ignore[no-any-return]


def _timm(name: str, weights: makers.State, heads: int, classes: int = 0) -> Any:
    depth = len({key.split(".")[1] for key in weights if key.startswith("blocks.")})
    width = weights["cls_token"].shape[-1]
    model = timm.create_model(name, num_classes=classes, embed_dim=width, depth=depth, num_heads=heads)
    model.load_state_dict(weights, strict=True)
    return model.eval()


def _open_clip_tokens(weights: makers.State, heads: int, activation: type[nn.Module]) -> Tensor:
    width = weights["class_embedding"].shape[0]
    model = OpenClipViT(16 * GRID, 16, width, 2, heads, 4.0, output_dim=JOINT, act_layer=activation)
    model.load_state_dict(weights, strict=True)
    model.eval().proj = None
    model.output_tokens = True
    pooled, tokens = model(pictures())
    return torch.cat([pooled.unsqueeze(1), tokens], dim=1)


def _distilled_tokens(weights: makers.State, heads: int, seen: bool) -> Tensor:
    """timm's distilled DeiT; ``seen``: whether the others attend to the distillation token. Its own row is left out."""
    model = _timm("deit_base_distilled_patch16_224", weights, heads, classes=5)
    mask = torch.zeros(GRID * GRID + 2, GRID * GRID + 2)
    mask[:, 1] = 0 if seen else float("-inf")
    tokens = model.forward_features(pictures(), attn_mask=mask)
    return torch.cat([tokens[:, :1], tokens[:, 2:]], dim=1)


def tokens_of(path: Path, **given: Any) -> Tensor:
    with torch.no_grad():
        return load_image_tower(path, **given).trunk.forward_features(pictures())  # type: ignore[no-any-return]


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert expected.std() > 0.1  # numbers that tell a mistake


def test_every_family_has_a_layout() -> None:
    """DeiT alone bears no marks of its own: its file is the plain ViT with a classifier."""
    assert {make(name).family for name in LAYOUTS} == {family.name for family in FAMILIES} - {"deit"}


@pytest.mark.parametrize(("name", "tower"), TOWERS)
def test_all_tokens_equal_those_of_an_independent_forward(tmp_path: Path, name: str, tower: str | None) -> None:
    layout, path = make(name), write(name, tmp_path)
    loaded = load_image_tower(path, tower, **layout.image_told)
    chosen = tower or next(iter(layout.trunks))
    assert (loaded.info.layout, loaded.info.tower, loaded.info.towers) == (layout.family, chosen, tuple(layout.trunks))
    assert_same(tokens_of(path, tower=tower, **layout.image_told), reference(layout, chosen))


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name not in OPENAI and name != "timm-vit"])
def test_the_vit_s_has_the_heads_that_its_publishers_gave_it(tmp_path: Path, name: str) -> None:
    """12 in the SLIP family, 6 elsewhere; the other number loads as well and gives other features."""
    layout, path = make(name, width=384, depth=1), write(name, tmp_path, width=384, depth=1)
    tower = next(iter(layout.trunks))
    found = tokens_of(path, **layout.image_told)
    assert layout.heads == (12 if name in ("slip-clip", "slip", "slip-simclr", "aclip") else 6)
    assert_same(found, reference(layout, tower))
    assert (found - reference(layout, tower, heads=18 - layout.heads)).abs().max() > 1e-3


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name not in OWN])
def test_wrong_heads_change_the_features(tmp_path: Path, name: str) -> None:
    layout, path = make(name), write(name, tmp_path)
    right = tokens_of(path, **layout.image_told)
    assert (tokens_of(path, image_heads=4) - right).abs().max() > 1e-3


@pytest.mark.parametrize("name", TEXT_SIDE)
def test_the_dual_encoder_projects_the_class_token(tmp_path: Path, name: str) -> None:
    layout, path = make(name), write(name, tmp_path)
    for tower, projection in layout.projections.items():
        with torch.no_grad():
            found = load_checkpoint(path, tower, **layout.told).model.encode_image(pictures())
        assert_same(found, reference(layout, tower)[:, 0] @ projection)


@pytest.mark.parametrize(("name", "tower"), TOWERS)
def test_every_key_is_explained(tmp_path: Path, name: str, tower: str | None) -> None:
    layout, path = make(name), write(name, tmp_path)
    report = load_image_tower(path, tower, **layout.image_told).report
    states = [value for key, value in layout.content.items() if key in ("state_dict", "model", "teacher", "student")]
    keys = sum(len(state) for state in states or [layout.content])
    assert len(report.matched) + sum(map(len, report.dropped.values())) == keys
    patch_bias = 0 if name in OPENAI else 1
    norm_pre = 2 if name in OPENAI else 0
    assert len(report.matched) == len(makers.vit()) - 1 + patch_bias + norm_pre
    assert report.missing == report.unexpected == []


def test_reasons_name_what_was_left_out(tmp_path: Path) -> None:
    def dropped(name: str, tower: str | None = None) -> dict[str, list[str]]:
        layout = make(name)
        return load_image_tower(write(name, tmp_path), tower, **layout.image_told).report.dropped

    assert "mask_token" in dropped("mae")["pixel decoder"]
    assert "decoder_pos_embed" in dropped("mae")["pixel decoder"]
    assert "head.last_layer.weight_v" in dropped("dino")["distillation head"]
    assert "student: backbone.cls_token" in dropped("dino")["belongs to the student"]
    assert "teacher: backbone.cls_token" in dropped("ibot", "online")["belongs to the teacher"]
    assert dropped("ibot", "online")[IBOT.drops[1].reason] == ["backbone.masked_embed"]
    assert dropped("ibot-student")[IBOT.drops[1].reason] == ["masked_embed"]
    assert dropped("deit")["classifier"] == ["head.weight", "head.bias"]
    distilled = dropped("deit-distilled")
    assert distilled["distillation token, left out so that the tower is a plain ViT"] == ["dist_token"]
    assert distilled["classifier of the distillation token"] == ["head_dist.weight", "head_dist.bias"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_key_that_no_rule_explains_is_refused(tmp_path: Path, name: str) -> None:
    layout = make(name)
    content: dict[str, Any] = dict(layout.content)
    place = next((key for key in ("state_dict", "model", "teacher") if key in content), None)
    state = dict(content[place] if place else content)
    norms = ("blocks.0.norm1.weight", "visual.transformer.resblocks.0.ln_1.weight")
    known = max((key for key in state if key.endswith(norms)), key=lambda key: "ema" in key)  # of the tower taken
    state[known.removesuffix("weight") + "extra"] = torch.ones(64)
    content = content | {place: state} if place else state
    path = save(Layout(**(vars(layout) | {"content": content})), tmp_path / "c")
    with pytest.raises(CheckpointError, match=r"1 unexpected \(.*extra\)"):
        load_image_tower(path, **layout.image_told)


def test_maes_positions_are_the_fixed_table_and_nothing_but_weights(tmp_path: Path) -> None:
    for name in ("mae", "mae-encoder"):
        trunk = load_image_tower(write(name, tmp_path), image_heads=2).trunk
        assert torch.equal(trunk.pos_embed, sine_cosine(64))
    assert sine_cosine(64)[0, 0].abs().max() == 0
    # The first patch of the second row: column 0 (sines 0, cosines 1), row 1.
    second_row = sine_cosine(64)[0, 1 + GRID]
    assert torch.equal(second_row[:32], torch.cat([torch.zeros(16), torch.ones(16)]))
    assert second_row[32] == pytest.approx(0.841471, abs=1e-6)


class TestTellingApart:
    def test_attmask_from_ibot_by_its_options_alone(self, tmp_path: Path) -> None:
        ibot, attmask = make("ibot"), make("attmask")
        assert set(ibot.content["teacher"]) == set(attmask.content["teacher"])
        for name in ("ibot", "attmask"):
            assert load_image_tower(write(name, tmp_path), image_heads=2).info.family == name

    def test_without_options_it_is_ibots_layout(self, tmp_path: Path) -> None:
        layout = make("attmask")
        content = {key: value for key, value in layout.content.items() if key != "args"}
        path = save(Layout(**(vars(layout) | {"content": content})), tmp_path / "c")
        assert load_image_tower(path, image_heads=2).info.family == "ibot"

    @pytest.mark.parametrize("name", ["mae-encoder", "dino-backbone", "ibot-teacher", "deit"])
    def test_a_bare_backbone_does_not_say_whose_it_is(self, tmp_path: Path, name: str) -> None:
        info = load_image_tower(write(name, tmp_path), image_heads=2).info
        assert (info.family, info.row) == ("timm-vit", None)
        assert "does not say who trained it" in info.notes[0]


class TestDistilledDeit:
    def test_without_its_token_it_has_other_features_and_the_notes_say_so(self, tmp_path: Path) -> None:
        layout, path = make("deit-distilled"), write("deit-distilled", tmp_path)
        whole = _distilled_tokens(layout.trunks["online"], 2, seen=True).detach()
        assert (tokens_of(path, image_heads=2) - whole).abs().max() > 1e-3
        loaded = load_image_tower(path, image_heads=2)
        assert "distillation token and its position are left out" in loaded.info.notes[0]
        assert loaded.report.reshaped == [("pos_embed", (1, 198, 64), "the distillation token's position left out")]
        assert loaded.trunk.pos_embed.shape == (1, 197, 64)

    def test_a_damaged_position_table_is_refused_by_its_shape(self, tmp_path: Path) -> None:
        layout = make("deit-distilled")
        for shape in ((198, 64), (1, 197, 64), (64,)):
            content = {"model": layout.content["model"] | {"pos_embed": torch.zeros(shape)}}
            torch.save(content, tmp_path / "c.pth")
            with pytest.raises(CheckpointError, match=r"dimensions expected|positions"):
                load_image_tower(tmp_path / "c.pth", image_heads=2)


def test_a_fine_tuned_mae_is_refused_with_the_reason(tmp_path: Path) -> None:
    state = makers.without(makers.vit(), ["norm.weight", "norm.bias"])
    state |= makers.random({"fc_norm.weight": (64,), "fc_norm.bias": (64,), "head.weight": (5, 64), "head.bias": (5,)})
    torch.save({"model": state}, tmp_path / "finetuned.pth")
    with pytest.raises(CheckpointError, match=r"not supported: a classifier fine-tuned on .* pre-trained file"):
        load_image_tower(tmp_path / "finetuned.pth", image_heads=2)


@pytest.mark.parametrize("name", ["dino", "ibot"])
def test_a_file_with_the_teacher_alone_has_no_online_tower(tmp_path: Path, name: str) -> None:
    torch.save({"teacher": make(name).content["teacher"]}, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match="has no online tower; towers in this file: ema"):
        load_image_tower(tmp_path / "c.pth", "online", image_heads=2)


@pytest.mark.parametrize(
    ("family", "resize", "interpolation"),
    [
        *((name, 256, "bicubic") for name in ("mae", "dino", "ibot", "ibot-student", "attmask")),
        *((name, 248, "bicubic") for name in ("deit", "deit-distilled")),
        *((name, 224, "bilinear") for name in ("slip", "slip-clip", "slip-simclr", "aclip", "detailclip")),
        *((name, 224, "bicubic") for name in ("openai-clip", "open-clip")),
    ],
)
def test_pictures_are_prepared_as_each_family_evaluates(family: str, resize: int, interpolation: str) -> None:
    named = {each.name: each.preprocessing for each in FAMILIES}
    assert (named[family].resize, named[family].interpolation, named[family].crop) == (resize, interpolation, 224)
