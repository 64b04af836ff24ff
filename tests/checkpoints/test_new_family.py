"""A family is a declaration: the ones to come (OpenAI, MAE, DINO, iBOT) can be said without touching any
other code.
"""

from pathlib import Path
from unittest.mock import patch

import open_clip
import pytest
import torch

from benchmarks.checkpoints import convert, load_checkpoint, load_image_tower
from benchmarks.checkpoints.architecture import Preprocessing
from benchmarks.checkpoints.families import FAMILIES, Drop, Family, Rule, Tower, text, vit
from benchmarks.errors import CheckpointError
from tests.checkpoints import makers

_BLOCK = r"visual\.transformer\.resblocks\.(\d+)\."

OPENAI = Family(
    name="openai-clip",
    title="CLIP (OpenAI)",
    towers=(
        Tower(
            "online",
            (
                Rule(r"visual\.conv1\.", "visual.trunk.patch_embed.proj."),
                Rule(r"visual\.class_embedding$", "visual.trunk.cls_token", "reshaped to (1, 1, width)"),
                Rule(r"visual\.positional_embedding$", "visual.trunk.pos_embed", "batch dimension added"),
                Rule(r"visual\.ln_pre\.", "visual.trunk.norm_pre."),
                Rule(r"visual\.ln_post\.", "visual.trunk.norm."),
                Rule(_BLOCK + r"ln_([12])\.", r"visual.trunk.blocks.\1.norm\2."),
                Rule(_BLOCK + r"attn\.in_proj_", r"visual.trunk.blocks.\1.attn.qkv."),
                Rule(_BLOCK + r"attn\.out_proj\.", r"visual.trunk.blocks.\1.attn.proj."),
                Rule(_BLOCK + r"mlp\.c_fc\.", r"visual.trunk.blocks.\1.mlp.fc1."),
                Rule(_BLOCK + r"mlp\.c_proj\.", r"visual.trunk.blocks.\1.mlp.fc2."),
                Rule(r"visual\.proj$", "visual.head.proj.weight", "transposed"),
                *text(),
            ),
        ),
    ),
    marks=(r"visual\.conv1\.", r"visual\.class_embedding$", r"text_projection$"),
    drops=(Drop(r"(input_resolution|context_length|vocab_size)$", "a number, not a weight"),),
    preprocessing=Preprocessing((0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758), 224, "bicubic", 224),
    vision_eps=1e-5,
    vision_quick_gelu=True,
    vision_pre_norm=True,
)

MAE = Family(
    name="mae",
    title="MAE (with decoder)",
    towers=(Tower("online", vit("")),),
    marks=(r"patch_embed\.proj\.", r"decoder_pred\.", r"mask_token$"),
    drops=(Drop(r"decoder_|mask_token$", "pixel decoder"),),
    has_text=False,
)

IBOT = Family(
    name="ibot",
    title="iBOT or AttMask (training checkpoint)",
    towers=(
        Tower("ema", vit(r"backbone\."), container="teacher"),
        Tower("online", vit(r"backbone\."), container="student"),
    ),
    marks=(r"backbone\.patch_embed\.", r"head\."),
    drops=(Drop(r"head\.", "distillation head"), Drop(r"backbone\.masked_embed$", "mask token")),
    has_text=False,
)


@pytest.fixture(autouse=True)
def declared() -> object:
    """The families above, declared."""
    families = (*FAMILIES, OPENAI, MAE, IBOT)
    original = convert.identify
    with patch(
        "benchmarks.checkpoints.opened.identify", lambda states, file: original(states, file, families)
    ) as patched:
        yield patched


def test_openai_clip_loads_and_equals_open_clips_own_model(tmp_path: Path) -> None:
    state = makers.openai()
    torch.save(state, tmp_path / "clip.pt")
    loaded = load_checkpoint(tmp_path / "clip.pt", image_heads=2, text_heads=1)
    reference = open_clip.model.CLIP(
        32,
        {"layers": 2, "width": 64, "head_width": 32, "patch_size": 16, "image_size": 224},
        {"width": 64, "heads": 1, "layers": 2, "vocab_size": 512},
        quick_gelu=True,
    ).eval()
    weights = {key: value.float() for key, value in state.items() if value.is_floating_point()}
    reference.load_state_dict(weights, strict=True)
    images, tokens = torch.randn(2, 3, 224, 224), torch.randint(1, 512, (2, 77))
    with torch.no_grad():
        assert torch.allclose(loaded.model.encode_image(images), reference.encode_image(images), atol=1e-5)
        assert torch.allclose(loaded.model.encode_text(tokens), reference.encode_text(tokens), atol=1e-5)
    assert loaded.report.cast == {"float16": len(weights)}
    assert {how for _, _, how in loaded.report.reshaped} == {
        "transposed",
        "reshaped to (1, 1, width)",
        "batch dimension added",
    }
    assert loaded.report.dropped == {"a number, not a weight": ["input_resolution", "context_length", "vocab_size"]}


def test_mae_loads_without_its_decoder(tmp_path: Path) -> None:
    decoder = makers.prefixed("decoder_", makers.vit(32, 1)) | makers.random(
        {"mask_token": (1, 1, 32), "decoder_pred.weight": (768, 32)}
    )
    torch.save({"model": makers.vit() | decoder, "epoch": 5, "optimizer": {}}, tmp_path / "mae.pth")
    tower = load_image_tower(tmp_path / "mae.pth", image_heads=2)
    assert sorted(tower.report.dropped["pixel decoder"]) == sorted(decoder)
    assert torch.equal(tower.trunk.pos_embed, makers.vit()["pos_embed"])


@pytest.mark.parametrize("tower", [None, "ema", "online"])
def test_teacher_and_student_lie_in_containers_of_their_own(tmp_path: Path, tower: str | None) -> None:
    head = makers.random({"head.mlp.0.weight": (8, 64)})
    teacher = makers.prefixed("backbone.", makers.vit(seed=1)) | head
    student = makers.prefixed("backbone.", makers.vit(seed=2)) | head
    student |= {"backbone.masked_embed": torch.zeros(1, 64)}
    content = {"teacher": teacher, "student": makers.module(student), "epoch": 9}
    torch.save(content, tmp_path / "checkpoint.pth")
    loaded = load_image_tower(tmp_path / "checkpoint.pth", tower, image_heads=2)
    assert loaded.info.towers == ("ema", "online")
    assert loaded.info.tower == (tower or "ema")
    assert torch.equal(loaded.trunk.cls_token, makers.vit(seed=2 if tower == "online" else 1)["cls_token"])


def test_a_file_with_the_teacher_alone_has_no_online_tower(tmp_path: Path) -> None:
    teacher = makers.prefixed("backbone.", makers.vit()) | makers.random({"head.mlp.0.weight": (8, 64)})
    torch.save({"teacher": teacher}, tmp_path / "checkpoint.pth")
    with pytest.raises(CheckpointError, match="has no online tower; towers in this file: ema"):
        load_image_tower(tmp_path / "checkpoint.pth", "online", image_heads=2)
