"""Exports load in plain open_clip and timm, and read back here bit for bit; nothing half-written is a
checkpoint.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import open_clip
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torchvision.transforms import InterpolationMode, Normalize, Resize

from benchmarks.checkpoints import (
    Embedded,
    Preprocessing,
    TextArchitecture,
    VitArchitecture,
    ensure_tiny,
    export_checkpoint,
    inspect_checkpoint,
    load_checkpoint,
    load_image_tower,
    relocate_export,
    save_backbone,
    save_dual_encoder,
)
from benchmarks.checkpoints.dual_encoder import layout_dual_encoder, take_weights
from benchmarks.checkpoints.read import read_checkpoint
from benchmarks.errors import CheckpointError
from benchmarks.files import sha256_of
from tests.checkpoints import makers
from tests.checkpoints.oracle import HEADS, Oracle

GetOracle = Callable[[str], Oracle]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def save(path: Path, width: int, depth: int) -> Path:
    """SLIP's CLIP with an image tower of this size and a small text tower of a published width."""
    projection = makers.random({"image_projection": (width, 32)})
    state = makers.prefixed("visual.", makers.vit(width, depth)) | makers.text(512, 1) | projection
    torch.save({"state_dict": makers.module(state), "best_acc1": 1.0}, path)
    return path


def embed(model: Any, images: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return model.encode_image(images), model.encode_text(tokens)


def metadata(file: Path) -> dict[str, str]:
    with safe_open(file, framework="pt") as archive:
        return dict(archive.metadata())


@pytest.mark.parametrize("name", ["detailclip", "aclip", "slip", "clip-yfcc"])
def test_an_open_clip_export_loads_in_plain_open_clip_and_here_to_the_published_numbers(
    oracle: GetOracle, tmp_path: Path, name: str
) -> None:
    case = oracle(name)
    out = export_checkpoint(case.path, "open_clip", tmp_path / "out", **HEADS)
    plain, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{out}")
    expected = embed(load_checkpoint(case.path, **HEADS).model, case.images, case.tokens)
    for given in (out, out / "open_clip_model.safetensors"):
        back = load_checkpoint(given)
        assert all(map(torch.equal, embed(back.model, case.images, case.tokens), expected))
        assert (back.info.heads.image, back.info.heads.text) == (2, 1)
    assert all(map(torch.equal, embed(plain.eval(), case.images, case.tokens), expected))
    suffix = "_teacher" if name in ("detailclip", "aclip") else ""
    torch.testing.assert_close(expected[0], case.numbers["img" + suffix], atol=1e-5, rtol=0)
    assert preprocess.transforms[0].interpolation == InterpolationMode.BILINEAR


def test_open_clip_gets_the_right_pixels(oracle: GetOracle, tmp_path: Path) -> None:
    out = export_checkpoint(oracle("slip").path, "open_clip", tmp_path / "out", **HEADS)
    _, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{out}")
    resize = next(step for step in preprocess.transforms if isinstance(step, Resize))
    normalise = next(step for step in preprocess.transforms if isinstance(step, Normalize))
    assert (resize.size, resize.interpolation) == (224, InterpolationMode.BILINEAR)
    assert tuple(normalise.mean) == (0.485, 0.456, 0.406)
    assert tuple(normalise.std) == (0.229, 0.224, 0.225)


def test_a_moved_export_loads_again_once_relocated(oracle: GetOracle, tmp_path: Path) -> None:
    case = oracle("clip-yfcc")
    out = export_checkpoint(case.path, "open_clip", tmp_path / "here", **HEADS)
    moved = tmp_path / "elsewhere" / "there"
    moved.parent.mkdir()
    shutil.move(out, moved)
    with pytest.raises(FileNotFoundError):
        open_clip.create_model_and_transforms(f"local-dir:{moved}")
    relocate_export(moved)
    plain, _, _ = open_clip.create_model_and_transforms(f"local-dir:{moved}")
    expected = embed(load_checkpoint(moved).model, case.images, case.tokens)
    assert all(map(torch.equal, embed(plain.eval(), case.images, case.tokens), expected))


@pytest.mark.parametrize("content", [None, "{}", "[1]", "not json", '{"model_cfg": null}'])
def test_only_an_open_clip_export_can_be_relocated(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "open_clip_config.json").write_text(content)
    with pytest.raises(CheckpointError, match="not an open_clip export"):
        relocate_export(tmp_path)


def test_a_registered_size_is_portable(tmp_path: Path, images: torch.Tensor) -> None:
    path = tmp_path / "vit_small.pth"
    torch.save({"model": makers.vit(384, 12)}, path)
    out = export_checkpoint(path, "backbone", tmp_path / "out")
    expected = load_image_tower(path)
    by_name = timm.create_model("vit_small_patch16_224", num_classes=0, checkpoint_path=out / "model.safetensors")
    by_folder = timm.create_model(f"local-dir:{out}", pretrained=True)
    with torch.no_grad():
        wanted = expected.trunk(images)
        for model in (by_name, by_folder, load_image_tower(out).trunk):
            assert torch.equal(model.eval()(images), wanted)
    assert list(by_folder.pretrained_cfg["mean"]) == [0.485, 0.456, 0.406]


def test_a_registered_size_is_portable_in_open_clip_too(tmp_path: Path, images: torch.Tensor) -> None:
    projection = makers.random({"image_projection": (384, 32)})
    state = makers.prefixed("visual.", makers.vit(384, 12)) | makers.text(512, 1) | projection
    torch.save({"state_dict": state}, tmp_path / "six_heads.pt")
    out = export_checkpoint(tmp_path / "six_heads.pt", "open_clip", tmp_path / "here", image_heads=6)
    config = json.loads((out / "open_clip_config.json").read_text())
    assert config["model_cfg"]["vision_cfg"]["timm_model_name"] == "vit_small_patch16_224"
    assert not (out / "trunk").exists()
    moved = Path(shutil.move(out, tmp_path / "there"))
    before = (moved / "open_clip_config.json").read_bytes()
    relocate_export(moved)
    assert (moved / "open_clip_config.json").read_bytes() == before
    plain, _, _ = open_clip.create_model_and_transforms(f"local-dir:{moved}")
    tokens = torch.randint(1, 512, (2, 77))
    expected = embed(load_checkpoint(moved).model, images, tokens)
    assert all(map(torch.equal, embed(plain.eval(), images, tokens), expected))


@pytest.mark.slow
def test_slips_vit_s_keeps_its_twelve_heads_everywhere(tmp_path: Path, images: torch.Tensor) -> None:
    path = save(tmp_path / "slip_small.pt", 384, 12)
    tokens = torch.randint(1, 512, (2, 77))
    expected = embed(load_checkpoint(path).model, images, tokens)
    clip = export_checkpoint(path, "open_clip", tmp_path / "clip")
    plain, _, _ = open_clip.create_model_and_transforms(f"local-dir:{clip}")
    assert plain.visual.trunk.blocks[0].attn.num_heads == 12
    assert all(map(torch.equal, embed(plain.eval(), images, tokens), expected))
    assert load_checkpoint(clip).info.heads.image == 12
    backbone = export_checkpoint(path, "backbone", tmp_path / "backbone")
    with torch.no_grad():
        wanted = load_image_tower(path).trunk(images)
        assert torch.equal(timm.create_model(f"local-dir:{backbone}", pretrained=True).eval()(images), wanted)
        assert torch.equal(load_image_tower(backbone).trunk(images), wanted)


@pytest.mark.slow
def test_vit_b_is_portable(tmp_path: Path, images: torch.Tensor) -> None:
    path = save(tmp_path / "clip_base.pt", 768, 12)
    out = export_checkpoint(path, "open_clip", tmp_path / "out")
    plain, _, _ = open_clip.create_model_and_transforms(f"local-dir:{out}")
    tokens = torch.randint(1, 512, (2, 77))
    expected = embed(load_checkpoint(path).model, images, tokens)
    assert all(map(torch.equal, embed(plain.eval(), images, tokens), expected))


@pytest.mark.parametrize("tower", ["ema", "online"])
def test_a_backbone_export_holds_the_tower_asked_for(oracle: GetOracle, tmp_path: Path, tower: str) -> None:
    case = oracle("detailclip")
    out = export_checkpoint(case.path, "backbone", tmp_path / "out", tower, image_heads=2)
    plain = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    expected = load_image_tower(case.path, tower, image_heads=2)
    back = load_image_tower(out)
    assert (back.info.tower, back.info.towers) == (tower, (tower,))
    with torch.no_grad():
        wanted = expected.trunk(case.images)
        assert torch.equal(plain(case.images), wanted)
        assert torch.equal(back.trunk(case.images), wanted)


def test_openais_kind_of_tower_survives_the_round_trip(tmp_path: Path, images: torch.Tensor) -> None:
    """Norm before the blocks, epsilon 1e-5, QuickGELU: nothing of it shows in a shape."""
    vision = VitArchitecture(64, 2, 2, 16, 224, 1e-5, 4.0, quick_gelu=True, pre_norm=True)
    way = Preprocessing((0.48, 0.46, 0.41), (0.27, 0.26, 0.28), 224, "bicubic", 224)
    text = TextArchitecture(64, 2, 1, 512, 77, 4.0, quick_gelu=False)
    made = layout_dual_encoder(vision, text, 32)
    take_weights(made, makers.random({key: tuple(value.shape) for key, value in made.state_dict().items()}))
    save_dual_encoder(made, tmp_path / "c.safetensors", Embedded("mine", "other", ("online",), vision, text, way))
    out = export_checkpoint(tmp_path / "c.safetensors", "open_clip", tmp_path / "out")
    plain, _, _ = open_clip.create_model_and_transforms(f"local-dir:{out}")
    tokens = torch.randint(1, 512, (2, 77))
    expected = embed(made, images, tokens)
    assert all(map(torch.equal, embed(load_checkpoint(out).model, images, tokens), expected))
    assert all(map(torch.equal, embed(plain.eval(), images, tokens), expected))
    assert load_checkpoint(out).info.preprocessing == way


class TestMetadata:
    def test_an_export_says_where_it_came_from(self, oracle: GetOracle, tmp_path: Path) -> None:
        case = oracle("detailclip")
        out = export_checkpoint(case.path, "backbone", tmp_path / "out", image_heads=2)
        told = metadata(out / "model.safetensors")
        assert told["source_sha256"] == sha256_of(case.path)
        assert told["source_name"] == "detailclip.pt"
        assert (told["family"], told["tower"]) == ("detailclip", "ema")
        assert json.loads(told["architecture"])["heads"] == 2
        info = load_image_tower(out).info
        assert (info.family, info.layout, info.title) == ("detailclip", "timm-vit", "DetailCLIP")
        assert info.notes == ()

    def test_a_copy_of_a_copy_names_the_first_source(self, oracle: GetOracle, tmp_path: Path) -> None:
        case = oracle("slip")
        first = export_checkpoint(case.path, "open_clip", tmp_path / "first", **HEADS)
        second = export_checkpoint(first, "backbone", tmp_path / "second")
        source = inspect_checkpoint(second).source
        assert source is not None
        assert source.sha256 == sha256_of(case.path)

    def test_training_and_row_travel_along(self, tmp_path: Path) -> None:
        loaded = load_checkpoint(ensure_tiny())
        told = Embedded(
            name="run-7",
            family="detailclip",
            towers=("ema",),
            architecture=loaded.info.architecture,
            text=loaded.info.text,
            preprocessing=loaded.info.preprocessing,
            training={"method": "detailclip", "epochs": 25, "alphas": [1, 1, 1]},
            row="DetailCLIP@25",
        )
        save_dual_encoder(loaded.model, tmp_path / "c.safetensors", told)
        out = export_checkpoint(tmp_path / "c.safetensors", "open_clip", tmp_path / "out")
        info = load_checkpoint(out).info
        assert (info.name, info.row, info.training, info.tower) == ("run-7", told.row, told.training, "ema")

    def test_heads_cannot_be_told_against_the_metadata(self) -> None:
        with pytest.raises(CheckpointError, match="--image-heads 4, but the file states 2"):
            load_checkpoint(ensure_tiny(), image_heads=4)
        assert load_checkpoint(ensure_tiny(), image_heads=2).info.heads.image == 2

    def test_the_dual_encoders_keys_without_metadata_are_refused(self, tmp_path: Path) -> None:
        torch.save(load_checkpoint(ensure_tiny()).model.state_dict(), tmp_path / "c.pt")
        with pytest.raises(CheckpointError, match="not this project's metadata"):
            load_checkpoint(tmp_path / "c.pt", image_heads=2, text_heads=1)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"detailclip_bench_format": "2"}, "update detailclip-bench"),
            ({"architecture": "{"}, "damaged metadata"),
            ({"architecture": '{"width": 3}'}, "damaged metadata"),
            ({"preprocessing": "3"}, "damaged metadata"),
            ({"name": None}, "damaged metadata"),
            ({"architecture": '"heads": "two"'}, "heads is 'two', not int"),
            ({"architecture": '"heads": 3'}, "does not divide"),
            ({"architecture": '"heads": 0'}, "does not divide"),
            ({"architecture": '"width": 256'}, "describe another image tower"),
            ({"text_architecture": '"vocabulary": 7'}, "describe another text tower"),
        ],
    )
    def test_damaged_or_lying_metadata_are_refused(
        self, tmp_path: Path, change: dict[str, str | None], named: str
    ) -> None:
        told = metadata(ensure_tiny())
        for key, value in change.items():
            if value is None:
                del told[key]
            elif value.startswith('"'):
                field, _, number = value.strip().partition(": ")
                told[key] = json.dumps(json.loads(told[key]) | {json.loads(field): json.loads(number)})
            else:
                told[key] = value
        save_file(load_file(ensure_tiny()), tmp_path / "c.safetensors", metadata=told)
        with pytest.raises(CheckpointError, match=named):
            load_checkpoint(tmp_path / "c.safetensors")

    def test_names_in_any_script_survive(self, tmp_path: Path) -> None:
        """The header is put in order after it was written, which must not change what it says."""
        loaded = load_checkpoint(ensure_tiny())
        name = 'détail "クリップ" \\ / \t\n\x01 \U0001f600'
        info = loaded.info
        told = Embedded(name, "x", ("online",), info.architecture, info.text, info.preprocessing)
        save_dual_encoder(loaded.model, tmp_path / "c.safetensors", told)
        back = load_checkpoint(tmp_path / "c.safetensors")
        assert back.info.name == name
        assert torch.equal(back.model.positional_embedding, loaded.model.positional_embedding)


class TestRefusals:
    def test_an_image_only_family_has_no_open_clip_model(self, tmp_path: Path) -> None:
        torch.save({"state_dict": makers.simclr()}, tmp_path / "c.pt")
        with pytest.raises(CheckpointError, match=r"SimCLR.*no text side.*backbone"):
            export_checkpoint(tmp_path / "c.pt", "open_clip", tmp_path / "out", image_heads=2)
        assert not (tmp_path / "out").exists()

    def test_an_unknown_form_is_refused(self) -> None:
        with pytest.raises(CheckpointError, match="open_clip and backbone"):
            export_checkpoint(ensure_tiny(), "onnx", Path("out"))  # type: ignore[arg-type]

    def test_an_existing_export_is_never_overwritten(self, tmp_path: Path) -> None:
        out = export_checkpoint(ensure_tiny(), "backbone", tmp_path / "out")
        before = sha256_of(out / "model.safetensors")
        forms: tuple[Literal["backbone", "open_clip"], ...] = ("backbone", "open_clip")
        for form in forms:
            with pytest.raises(CheckpointError, match="already exists"):
                export_checkpoint(ensure_tiny(), form, out)
        assert sha256_of(out / "model.safetensors") == before
        (tmp_path / "file").write_text("x")
        with pytest.raises(CheckpointError, match="already exists"):
            export_checkpoint(ensure_tiny(), "backbone", tmp_path / "file")

    def test_an_unknown_epsilon_cannot_be_said_in_timms_words(self, tmp_path: Path) -> None:
        vision = VitArchitecture(64, 1, 1, 16, 224, 1e-3, 4.0)
        tower = load_image_tower(ensure_tiny())
        told = Embedded("odd", "other", ("online",), vision, None, tower.preprocessing)
        save_file(makers.vit(64, 1), tmp_path / "c.safetensors", metadata=told.to_metadata())
        with pytest.raises(CheckpointError, match=r"epsilon 0\.001"):
            export_checkpoint(tmp_path / "c.safetensors", "backbone", tmp_path / "out")

    def test_a_kill_before_the_weights_leaves_no_checkpoint(self, tmp_path: Path) -> None:
        with (
            patch("safetensors.torch.save_file", side_effect=KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            export_checkpoint(ensure_tiny(), "open_clip", tmp_path / "out")
        with pytest.raises(CheckpointError, match="is a folder without"):
            load_checkpoint(tmp_path / "out")
        assert load_checkpoint(export_checkpoint(ensure_tiny(), "open_clip", tmp_path / "out"))


def test_save_backbone_writes_one_sanitised_file(oracle: GetOracle, tmp_path: Path) -> None:
    case = oracle("aclip")
    tower = load_image_tower(case.path, "online", image_heads=2)
    save_backbone(tower, tmp_path / "backbone.safetensors")
    read = read_checkpoint(tmp_path / "backbone.safetensors")
    assert list(read.content) == sorted(tower.trunk.state_dict())
    assert {value.dtype for value in read.content.values()} == {torch.float32}
    told = metadata(tmp_path / "backbone.safetensors")
    assert VitArchitecture.from_dict(json.loads(told["architecture"])) == tower.architecture
    assert told["source_sha256"] == tower.info.sha256
    back = load_image_tower(tmp_path / "backbone.safetensors")
    assert all(torch.equal(value, back.trunk.state_dict()[key]) for key, value in tower.trunk.state_dict().items())


def test_a_dual_encoder_cannot_be_saved_without_its_text_architecture(tmp_path: Path) -> None:
    loaded = load_checkpoint(ensure_tiny())
    told = Embedded("x", "other", ("online",), loaded.info.architecture, None, loaded.info.preprocessing)
    with pytest.raises(ValueError, match="text"):
        save_dual_encoder(loaded.model, tmp_path / "c.safetensors", told)
