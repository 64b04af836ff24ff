"""OpenAI's CLIP, saved as OpenAI publishes it, gives the embeddings of an independent forward pass."""

import json
import math
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.checkpoints import (
    Preprocessing,
    VitArchitecture,
    export_checkpoint,
    inspect_checkpoint,
    load_checkpoint,
    load_image_tower,
)
from benchmarks.errors import CheckpointError
from tests.checkpoints import makers, openai_module
from tests.checkpoints.openai_module import IMAGE, PATCH, WIDTH

ARCHITECTURE = VitArchitecture(WIDTH, 2, 2, PATCH, IMAGE, 1e-5, 4.0, quick_gelu=True, pre_norm=True)
SIZES = ["input_resolution", "context_length", "vocab_size"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return openai_module.save(openai_module.make(), tmp_path_factory.mktemp("jit") / "ViT-tiny.pt")


@pytest.mark.parametrize("scripted", [False, True], ids=["traced", "scripted"])
def test_embeddings_equal_those_of_the_module_in_float32(tmp_path: Path, scripted: bool) -> None:
    module = openai_module.make(seed=3)
    loaded = load_checkpoint(openai_module.save(module, tmp_path / "clip.pt", scripted))
    images, tokens = openai_module.inputs()
    expected = openai_module.reference(module)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model.encode_image(images), expected[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(loaded.model.encode_text(tokens), expected[1], atol=1e-5, rtol=0)
    assert expected[0].std() > 0.1  # numbers that tell a mistake


def test_everything_is_known_of_it_and_every_key_explained(archive: Path) -> None:
    loaded = load_checkpoint(archive)
    info, report = loaded.info, loaded.report
    assert (info.family, info.title, info.towers) == ("openai-clip", "CLIP (OpenAI)", ("online",))
    assert info.architecture == ARCHITECTURE
    assert info.text is not None
    assert (info.text.heads, info.text.quick_gelu, info.text.vocabulary) == (2, True, 512)
    assert info.notes == ()
    assert report.dropped == {"a size of the model, not a weight": report.dropped["a size of the model, not a weight"]}
    assert sorted(report.dropped["a size of the model, not a weight"]) == sorted(SIZES)
    assert report.cast == {"float16": len(report.matched)}
    assert len(report.matched) == len(loaded.model.state_dict())
    assert {how for _, _, how in report.reshaped} == {
        "transposed",
        "reshaped to (1, 1, width)",
        "batch dimension added",
    }
    assert {tensor.dtype for tensor in loaded.model.state_dict().values()} == {torch.float32}


def test_a_compiled_archive_leaves_its_causal_mask_behind(tmp_path: Path) -> None:
    path = openai_module.save(openai_module.make(), tmp_path / "clip.pt", scripted=True)
    dropped = inspect_checkpoint(path).report.dropped["causal mask, made anew"]
    assert sorted(dropped) == [f"transformer.resblocks.{block}.attn_mask" for block in range(2)]


def test_pictures_are_prepared_as_openai_does_at_the_towers_own_size(archive: Path, tmp_path: Path) -> None:
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    assert load_checkpoint(archive).info.preprocessing == Preprocessing(mean, std, IMAGE, "bicubic", IMAGE)
    torch.save(makers.openai(), tmp_path / "c.pt")
    assert inspect_checkpoint(tmp_path / "c.pt").preprocessing == Preprocessing(mean, std, 224, "bicubic", 224)


@pytest.mark.parametrize("width", [192, 768, 1024, 1280])
def test_heads_have_64_channels_at_any_width(tmp_path: Path, width: int) -> None:
    """OpenAI's own rule; open_clip has ViT-H, whose 1280 channels are 16 heads."""
    torch.save(makers.openai(width, depth=1), tmp_path / "c.pt")
    assert inspect_checkpoint(tmp_path / "c.pt").heads.image == width // 64


def test_a_width_that_64_does_not_divide_must_be_told(tmp_path: Path) -> None:
    torch.save(makers.openai(96), tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="--image-heads N"):
        load_checkpoint(tmp_path / "c.pt")


def test_its_state_dict_with_the_sizes_is_known_in_every_container(tmp_path: Path) -> None:
    state = makers.openai()
    torch.save({"state_dict": makers.module(state)}, tmp_path / "c.pt")
    save_file(state, tmp_path / "c.safetensors")
    for name in ("c.pt", "c.safetensors"):
        assert inspect_checkpoint(tmp_path / name).family == "openai-clip"


def test_without_the_sizes_it_cannot_be_told_from_open_clip(tmp_path: Path) -> None:
    torch.save(makers.without(makers.openai(), SIZES), tmp_path / "c.pt")
    found = inspect_checkpoint(tmp_path / "c.pt")
    assert found.family == "open-clip"
    assert not found.architecture.quick_gelu
    assert "--quick-gelu" in " ".join(found.notes)


@pytest.mark.parametrize("key", ["visual.extra", "visual.ln_mid.weight", "transformer.resblocks.0.ls_1.gamma"])
def test_a_key_beyond_the_published_ones_is_refused(tmp_path: Path, key: str) -> None:
    torch.save(makers.openai() | {key: torch.ones(64)}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=rf"1 unexpected \({key}\)"):
        load_checkpoint(tmp_path / "c.pt")


def test_a_key_of_an_archives_module_beyond_the_published_ones_is_refused(tmp_path: Path) -> None:
    module = openai_module.make()
    module.visual.register_buffer("extra", torch.ones(2))
    with pytest.raises(CheckpointError, match=r"1 unexpected \(visual.extra\)"):
        load_checkpoint(openai_module.save(module, tmp_path / "c.pt"))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    torch.save(makers.without(makers.openai(), ["visual.ln_pre.bias"]), tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"1 missing \(visual.trunk.norm_pre.bias\)"):
        load_checkpoint(tmp_path / "c.pt")


def test_openais_resnets_are_refused(tmp_path: Path) -> None:
    state = makers.without(makers.openai(), ["visual.class_embedding"])
    torch.save(state | {"visual.attnpool.positional_embedding": torch.ones(50, 8)}, tmp_path / "RN50.pt")
    with pytest.raises(CheckpointError, match="not supported: one of CLIP's ResNets"):
        load_checkpoint(tmp_path / "RN50.pt")


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_its_activation_is_certain(archive: Path, quick_gelu: bool) -> None:
    if quick_gelu:
        assert load_checkpoint(archive, quick_gelu=True).info.architecture == ARCHITECTURE
        return
    for way in (load_checkpoint, load_image_tower, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=r"--gelu, but the image tower has QuickGELU: leave the option out"):
            way(archive, quick_gelu=False)


def test_the_image_tower_alone_is_the_same(archive: Path) -> None:
    alone, whole = load_image_tower(archive), load_checkpoint(archive)
    images, _ = openai_module.inputs()
    assert alone.architecture == ARCHITECTURE
    with torch.no_grad():
        assert torch.equal(whole.model.visual.head(alone.trunk(images)), whole.model.encode_image(images))


def test_exports_give_the_same_embeddings_here_and_in_open_clip(archive: Path, tmp_path: Path) -> None:
    images, tokens = openai_module.inputs()
    model = load_checkpoint(archive).model
    out = export_checkpoint(archive, "open_clip", tmp_path / "clip")
    plain, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{out}")
    back = load_checkpoint(out)
    with torch.no_grad():
        for other in (plain.eval(), back.model):
            assert torch.equal(other.encode_image(images), model.encode_image(images))
            assert torch.equal(other.encode_text(tokens), model.encode_text(tokens))
    assert (back.info.family, back.info.architecture) == ("openai-clip", ARCHITECTURE)
    assert back.info.preprocessing == load_checkpoint(archive).info.preprocessing
    assert "bicubic" in str(preprocess)
    backbone = load_image_tower(export_checkpoint(archive, "backbone", tmp_path / "backbone"))
    with torch.no_grad():
        assert torch.equal(backbone.trunk(images), load_image_tower(archive).trunk(images))


@pytest.mark.slow
def test_the_full_size_is_portable_by_timms_name(tmp_path: Path) -> None:
    state = makers.openai(768, 12)
    torch.save(state, tmp_path / "ViT-B-16.pt")
    out = export_checkpoint(tmp_path / "ViT-B-16.pt", "open_clip", tmp_path / "out")
    config = json.loads((out / "open_clip_config.json").read_text())
    assert config["model_cfg"]["vision_cfg"]["timm_model_name"] == "vit_base_patch16_clip_quickgelu_224"
    plain, _, _ = open_clip.create_model_and_transforms(f"local-dir:{out}")
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        found = load_checkpoint(out).model.encode_image(image)
        assert torch.equal(plain.eval().encode_image(image), found)
    assert math.isfinite(found.sum().item())
