"""open_clip's own models give the same embeddings here, with the activation that was told, configured, or assumed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP, CustomTextCLIP
from safetensors.torch import save_file

from benchmarks.checkpoints import (
    ensure_tiny,
    export_checkpoint,
    inspect_checkpoint,
    load_checkpoint,
    load_image_tower,
)
from benchmarks.checkpoints.families import OPEN_CLIP
from benchmarks.checkpoints.settings import OPEN_CLIP_TEXT_HEADS, OPEN_CLIP_VIT_HEADS
from benchmarks.errors import CheckpointError
from tests.checkpoints import makers
from tests.checkpoints.oracle import Told

VISION = {"layers": 2, "width": 128, "head_width": 64, "patch_size": 8, "image_size": 32}
TEXT = {"layers": 2, "width": 64, "heads": 1, "vocab_size": 512}
HEADS = Told(image_heads=2, text_heads=1)


def make(quick_gelu: bool = False, custom_text: bool = False, seed: int = 0) -> Any:
    """A tiny model of open_clip, its weights large enough that activations differ."""
    torch.manual_seed(seed)
    kind = CustomTextCLIP if custom_text else CLIP
    model = kind(32, VISION, TEXT, quick_gelu=quick_gelu).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "logit_scale":
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 32, 32, generator=generator), torch.randint(1, 512, (2, 77), generator=generator)


def embed(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    images, tokens = inputs()
    with torch.no_grad():
        return model.encode_image(images), model.encode_text(tokens)


def assert_same(found: Any, expected: Any) -> None:
    for one, other in zip(embed(found), embed(expected), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def save(model: Any, path: Path) -> Path:
    """Write the weights in the form that the name stands for."""
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    elif path.suffix == ".pt":  # open_clip's training checkpoints
        torch.save({"epoch": 3, "name": "run", "state_dict": makers.module(state), "optimizer": {"state": {}}}, path)
    else:
        torch.save(state, path)
    return path


def configure(
    folder: Path, model: Mapping[str, Any] | None = None, preprocess: Mapping[str, Any] | None = None
) -> None:
    """Put an ``open_clip_config.json`` beside the weights, as on the Hugging Face hub."""
    usual = {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT}
    config = {"model_cfg": usual | dict(model or {}), "preprocess_cfg": dict(preprocess or {})}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("name", ["c.safetensors", "c.bin", "c.pt"])
@pytest.mark.parametrize("custom_text", [False, True], ids=["plain", "custom text"])
@pytest.mark.parametrize("quick_gelu", [False, True], ids=["gelu", "quickgelu"])
def test_embeddings_equal_those_of_open_clip(tmp_path: Path, name: str, custom_text: bool, quick_gelu: bool) -> None:
    theirs = make(quick_gelu, custom_text)
    loaded = load_checkpoint(save(theirs, tmp_path / name), **HEADS, quick_gelu=quick_gelu)
    assert_same(loaded.model, theirs)
    assert loaded.info.family == "open-clip"
    assert len(loaded.report.matched) == len(loaded.model.state_dict()) == len(theirs.state_dict())
    assert loaded.report.dropped == {}


class TestActivation:
    def test_the_wrong_one_loads_and_gives_other_numbers(self, tmp_path: Path) -> None:
        """Why it is said in the notes: nothing else shows the mistake."""
        path = save(make(quick_gelu=True), tmp_path / "c.pt")
        wrong, right = (load_checkpoint(path, **HEADS, quick_gelu=value).model for value in (False, True))
        for one, other in zip(embed(wrong), embed(right), strict=True):
            assert (one - other).abs().max() > 1e-3

    def test_gelu_is_assumed_and_said(self, tmp_path: Path) -> None:
        theirs = make()
        loaded = load_checkpoint(save(theirs, tmp_path / "c.pt"), **HEADS)
        assert_same(loaded.model, theirs)
        assert loaded.info.notes == (OPEN_CLIP.assumed_activation,)
        for part in ("GELU", "openai", "dfn2b", "metaclip", "--quick-gelu"):
            assert part in loaded.info.notes[0]

    @pytest.mark.parametrize("told", [False, True])
    def test_it_is_recorded_in_both_architectures_and_needs_no_note_when_told(self, tmp_path: Path, told: bool) -> None:
        path = save(make(told), tmp_path / "c.pt")
        info = load_checkpoint(path, **HEADS, quick_gelu=told).info
        assert info.text is not None
        assert info.architecture.to_dict()["quick_gelu"] is info.text.to_dict()["quick_gelu"] is told
        assert info.notes == ()
        tower = load_image_tower(path, image_heads=2, quick_gelu=told)
        assert tower.architecture.quick_gelu is told
        assert inspect_checkpoint(path, quick_gelu=told).architecture.quick_gelu is told

    @pytest.mark.parametrize("quick_gelu", [False, True])
    def test_a_config_beside_the_file_tells_it_and_the_heads(self, tmp_path: Path, quick_gelu: bool) -> None:
        theirs = make(quick_gelu)
        path = save(theirs, tmp_path / "open_clip_pytorch_model.bin")
        configure(tmp_path, {"quick_gelu": quick_gelu})
        for given in (path, tmp_path):
            loaded = load_checkpoint(given)
            assert_same(loaded.model, theirs)
            assert loaded.info.architecture.quick_gelu is quick_gelu
            assert "open_clip_config.json" in " ".join(loaded.info.notes)

    def test_a_config_that_does_not_say_it_means_gelu(self, tmp_path: Path) -> None:
        save(make(), tmp_path / "open_clip_model.safetensors")
        configure(tmp_path)
        assert_same(load_checkpoint(tmp_path).model, make())

    def test_what_is_told_wins_over_the_config_and_is_noted(self, tmp_path: Path) -> None:
        theirs = make(quick_gelu=True)
        path = save(theirs, tmp_path / "c.bin")
        configure(tmp_path, {"quick_gelu": False})
        loaded = load_checkpoint(path, quick_gelu=True)
        assert_same(loaded.model, theirs)
        assert "says GELU, but the other activation was told" in loaded.info.notes[-1]

    @pytest.mark.parametrize(
        ("told", "named"), [(True, "--quick-gelu, but the image tower has GELU"), (False, "--gelu")]
    )
    def test_families_with_a_certain_activation_refuse_another(self, tmp_path: Path, told: bool, named: str) -> None:
        torch.save(makers.slip_clip(), tmp_path / "slip.pt")
        with pytest.raises(CheckpointError, match=named):
            load_checkpoint(tmp_path / "slip.pt", **HEADS, quick_gelu=told)

    def test_our_own_files_refuse_another_than_they_state(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="--quick-gelu, but the image tower has GELU"):
            load_image_tower(ensure_tiny(), quick_gelu=True)
        path = save(make(quick_gelu=True), tmp_path / "c.pt")
        out = export_checkpoint(path, "backbone", tmp_path / "out", image_heads=2, quick_gelu=True)
        assert load_image_tower(out, quick_gelu=True).architecture.quick_gelu
        with pytest.raises(CheckpointError, match="--gelu, but the image tower has QuickGELU"):
            load_image_tower(out, quick_gelu=False)


class TestConfig:
    def test_it_tells_how_pictures_are_prepared(self, tmp_path: Path) -> None:
        save(make(), tmp_path / "open_clip_model.safetensors")
        said = {"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "interpolation": "bilinear", "size": [32, 32]}
        configure(tmp_path, None, said | {"mode": "RGB", "resize_mode": "shortest"})
        way = load_checkpoint(tmp_path).info.preprocessing
        assert (way.mean, way.std, way.interpolation) == ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0), "bilinear")
        assert (way.resize, way.crop) == (32, 32)

    def test_without_one_pictures_are_prepared_as_openais(self, tmp_path: Path) -> None:
        path = save(make(), tmp_path / "c.pt")
        way = inspect_checkpoint(path).preprocessing
        assert way == OPEN_CLIP.preprocessing.at(32)
        assert (way.mean, way.crop) == (open_clip.OPENAI_DATASET_MEAN, 32)
        configure(tmp_path)
        assert inspect_checkpoint(path).preprocessing == way

    @pytest.mark.parametrize(
        ("model", "preprocess", "named"),
        [
            ({"vision_cfg": VISION | {"width": 64}}, {}, "describes another model than the weights.*width.*128"),
            ({"vision_cfg": VISION | {"image_size": [64, 64]}}, {}, "another model.*image_size"),
            ({"vision_cfg": VISION | {"layers": 12}}, {}, "another model.*layers of vision_cfg is 12"),
            ({"text_cfg": TEXT | {"vocab_size": 49408}}, {}, "another model.*vocab_size of text_cfg"),
            ({"vision_cfg": VISION | {"pool_type": "avg"}}, {}, "pool_type of vision_cfg is 'avg'"),
            ({"vision_cfg": VISION | {"norm_kwargs": {"eps": 1e-6}}}, {}, "norm_kwargs"),
            ({"text_cfg": TEXT | {"no_causal_mask": True}}, {}, "no_causal_mask"),
            ({"text_cfg": TEXT | {"hf_tokenizer_name": "bert"}}, {}, "hf_tokenizer_name of text_cfg is 'bert'"),
            ({"vision_cfg": VISION | {"head_width": 60}}, {}, "head_width 60 does not divide"),
            ({"text_cfg": TEXT | {"heads": 5}}, {}, "heads 5 of text_cfg do not divide"),
            ({"quick_gelu": "yes"}, {}, "quick_gelu is 'yes'"),
            ({"text_cfg": None}, {}, "not an open_clip config"),
            ({}, {"mean": [0.5]}, "mean of preprocess_cfg is"),
            ({}, {"interpolation": "random"}, "interpolation 'random'"),
            ({}, {"resize_mode": "squash"}, "resize_mode of preprocess_cfg is 'squash'"),
            ({}, {"size": 224}, "makes pictures of 224, the tower takes 32"),
        ],
    )
    def test_what_cannot_be_followed_is_refused(
        self, tmp_path: Path, model: Mapping[str, Any], preprocess: Mapping[str, Any], named: str
    ) -> None:
        save(make(), tmp_path / "open_clip_model.safetensors")
        configure(tmp_path, model, preprocess)
        with pytest.raises(CheckpointError, match=named) as caught:
            load_checkpoint(tmp_path)
        assert "open_clip_config.json" in str(caught.value)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"model_cfg": 3}'])
    def test_a_damaged_one_is_refused(self, tmp_path: Path, content: str) -> None:
        path = save(make(), tmp_path / "c.bin")
        (tmp_path / "open_clip_config.json").write_text(content)
        with pytest.raises(CheckpointError, match="not an open_clip config"):
            load_checkpoint(path)

    def test_other_families_do_not_look_at_it(self, tmp_path: Path) -> None:
        (tmp_path / "open_clip_config.json").write_text("damaged")
        torch.save(makers.slip_clip(), tmp_path / "slip.pt")
        assert load_checkpoint(tmp_path / "slip.pt", **HEADS).info.family == "slip-clip"
        torch.save(makers.openai(), tmp_path / "openai.pt")
        assert load_checkpoint(tmp_path / "openai.pt").info.family == "openai-clip"


class TestHeads:
    def test_they_are_those_of_every_vit_that_open_clip_has(self) -> None:
        seen = set()
        for name in open_clip.list_models():
            config = open_clip.get_model_config(name)
            vision, text = config["vision_cfg"], config["text_cfg"]
            if "width" not in vision or isinstance(vision["layers"], list) or "multimodal_cfg" in config:
                continue
            seen.add(vision["width"])
            assert OPEN_CLIP_VIT_HEADS[vision["width"]] == vision["width"] // vision.get("head_width", 64), name
            if "width" in text:
                assert OPEN_CLIP_TEXT_HEADS[text["width"]] == text["heads"], name
        assert seen == set(OPEN_CLIP_VIT_HEADS)

    def test_other_widths_must_be_told(self, tmp_path: Path) -> None:
        path = save(make(), tmp_path / "c.pt")
        with pytest.raises(CheckpointError, match="--image-heads N"):
            load_checkpoint(path)
        with pytest.raises(CheckpointError, match="--text-heads N"):
            load_checkpoint(path, image_heads=2)


class TestKeys:
    @pytest.mark.parametrize("key", ["logit_bias", "visual.extra", "text.extra", "attn_mask", "visual.attn_pool.query"])
    def test_a_key_too_many_is_refused(self, tmp_path: Path, key: str) -> None:
        torch.save(makers.open_clip() | {key: torch.ones(2)}, tmp_path / "c.pt")
        with pytest.raises(CheckpointError, match=rf"1 unexpected \({key}\)"):
            load_checkpoint(tmp_path / "c.pt", image_heads=1, text_heads=1)

    def test_a_weight_that_is_there_under_both_names_is_refused(self, tmp_path: Path) -> None:
        state = makers.open_clip()
        torch.save(state | {"text.ln_final.bias": state["ln_final.bias"] + 1}, tmp_path / "c.pt")
        with pytest.raises(CheckpointError, match=r"1 unexpected \(text.ln_final.bias\)"):
            load_checkpoint(tmp_path / "c.pt", image_heads=1, text_heads=1)

    def test_a_text_tower_with_another_tokenizer_is_refused_and_its_image_tower_loads(self, tmp_path: Path) -> None:
        state = makers.open_clip() | {"token_embedding.weight": torch.zeros(50_000, 64)}
        torch.save(state, tmp_path / "c.pt")
        with pytest.raises(CheckpointError, match=r"50000 tokens and CLIP's tokenizer 49408"):
            load_checkpoint(tmp_path / "c.pt", image_heads=1, text_heads=1)
        assert load_image_tower(tmp_path / "c.pt", image_heads=1).architecture.width == 64


@pytest.mark.parametrize("custom_text", [False, True], ids=["plain", "custom text"])
def test_exports_give_the_same_embeddings_here_and_in_open_clip(tmp_path: Path, custom_text: bool) -> None:
    theirs = make(quick_gelu=True, custom_text=custom_text)
    path = save(theirs, tmp_path / "c.pt")
    out = export_checkpoint(path, "open_clip", tmp_path / "clip", **HEADS, quick_gelu=True)
    plain, _, _ = open_clip.create_model_and_transforms(f"local-dir:{out}")
    back = load_checkpoint(out)
    for other in (plain.eval(), back.model):
        assert_same(other, theirs)
    assert (back.info.family, back.info.notes) == ("open-clip", ())
    backbone = load_image_tower(export_checkpoint(path, "backbone", tmp_path / "trunk", None, 2, quick_gelu=True))
    images, _ = inputs()
    with torch.no_grad():
        alone = load_image_tower(path, image_heads=2, quick_gelu=True)
        assert torch.equal(backbone.trunk(images), alone.trunk(images))
        torch.testing.assert_close(
            back.model.visual.head(alone.trunk(images)), theirs.encode_image(images), atol=1e-5, rtol=0
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-16", "ViT-B-16-quickgelu"])
def test_a_full_size_model_is_open_clips_own(tmp_path: Path, name: str) -> None:
    theirs = open_clip.create_model(name, pretrained=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "c.bin")
    loaded = load_checkpoint(tmp_path / "c.bin", quick_gelu=name.endswith("quickgelu"))
    images, tokens = torch.randn(2, 3, 224, 224), open_clip.tokenize(["a dog", "a photo of a cat"])
    with torch.no_grad():
        torch.testing.assert_close(loaded.model.encode_image(images), theirs.encode_image(images), atol=1e-5, rtol=0)
        torch.testing.assert_close(loaded.model.encode_text(tokens), theirs.encode_text(tokens), atol=1e-5, rtol=0)
    assert loaded.info.architecture.timm_name == (
        "vit_base_patch16_clip_quickgelu_224" if name.endswith("quickgelu") else "vit_base_patch16_clip_224"
    )
