"""What pretraining writes is read whole by pretraining, by every benchmark, and by the released code's layout."""

import argparse
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.checkpoints import export_checkpoint, inspect_checkpoint, load_checkpoint
from benchmarks.checkpoints.read import read_checkpoint
from benchmarks.errors import CheckpointError
from pretrain import DetailCLIP
from pretrain.checkpoint import export_released, load_pretrained, save_checkpoint
from pretrain.methods import Method
from pretrain.towers import encode_text
from tests.pretrain.oracle import Step, published_content
from tests.pretrain.tiny import pair_batch, tiny_clip, tiny_detailclip

TRAINING = {"method": "detailclip", "preset": "released", "epochs": 2, "images": 100, "views": 2}


def trained(method: Method) -> Method:
    """With every weight moved away from its initial value, averages and centres too."""
    generator = torch.Generator().manual_seed(5)
    for tensor in method.state_dict().values():
        tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.01)
    return method


@pytest.fixture(scope="module")
def model() -> DetailCLIP:
    found = trained(tiny_detailclip())
    assert isinstance(found, DetailCLIP)
    return found


@pytest.fixture(scope="module")
def path(model: DetailCLIP, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("run") / "checkpoint.safetensors"
    save_checkpoint(model, file, "a-run", TRAINING, "DetailCLIP@25")
    return file


def test_it_comes_back_whole(model: DetailCLIP, path: Path) -> None:
    back = load_pretrained(path)
    assert type(back) is DetailCLIP
    assert back.fields == model.fields
    for name, value in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name
    assert back.centers.cls.abs().sum() > 0


@pytest.mark.parametrize("tower", ["ema", "online"])
def test_the_benchmarks_read_both_towers(model: DetailCLIP, path: Path, tower: str) -> None:
    loaded = load_checkpoint(path, tower=tower)
    images, _, tokens = pair_batch()
    source = model.ema if tower == "ema" else model.online
    with torch.no_grad():
        expected = source.visual(images)
        padded = torch.nn.functional.pad(tokens, (0, 0))
        texts = encode_text(model.online, tokens, source.transformer, source.text_projection)
        assert torch.allclose(loaded.model.encode_image(images), expected, atol=1e-5)
        assert torch.allclose(loaded.model.encode_text(padded), texts, atol=1e-5)


def test_it_says_what_it_is(path: Path) -> None:
    found = inspect_checkpoint(path)
    assert (found.name, found.row, found.tower, found.towers) == ("a-run", "DetailCLIP@25", "ema", ("ema", "online"))
    assert found.training is not None
    assert found.training["epochs"] == 2
    assert found.training["fields"]["alpha_cls"] == 1.0
    assert not found.report.missing and not found.report.unexpected


def test_an_export_of_one_tower_reads_back(path: Path, tmp_path: Path) -> None:
    out = export_checkpoint(path, "open_clip", tmp_path / "export", tower="ema")
    images, _, _ = pair_batch()
    with torch.no_grad():
        assert torch.equal(
            load_checkpoint(out).model.encode_image(images), load_checkpoint(path).model.encode_image(images)
        )


def test_a_method_without_teacher_has_one_tower(tmp_path: Path) -> None:
    save_checkpoint(tiny_clip(), tmp_path / "c.safetensors", "c", {"method": "clip"}, None)
    assert inspect_checkpoint(tmp_path / "c.safetensors").towers == ("online",)
    with pytest.raises(CheckpointError, match="has no ema tower"):
        load_checkpoint(tmp_path / "c.safetensors", tower="ema")


def test_to_the_released_layout_and_back(model: DetailCLIP, path: Path, tmp_path: Path) -> None:
    out = export_released(path, tmp_path / "released.pt")
    back = DetailCLIP.from_released(out, image_heads=3, text_heads=2, decoder_heads=4)
    for name, value in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name
    again = load_checkpoint(out, image_heads=3, text_heads=2)
    assert (again.info.family, again.info.tower) == ("detailclip", "ema")


def test_the_export_has_exactly_the_published_keys(step: Step, tmp_path: Path) -> None:
    """Names, shapes, dtypes and values, both names of the last layer and the fixed table included."""
    save_checkpoint(step.model(), tmp_path / "c.safetensors", "c", {"method": "detailclip"}, None)
    out = export_released(tmp_path / "c.safetensors", tmp_path / "released.pt")
    with torch.serialization.safe_globals([argparse.Namespace]):
        ours = torch.load(out, weights_only=True)["state_dict"]
    published = published_content()["state_dict"]
    assert isinstance(published, dict)
    assert set(ours) == set(published)
    for name, value in published.items():
        assert ours[name].dtype == value.dtype, name
        assert torch.equal(ours[name], value), name


def test_an_export_overwrites_nothing(path: Path, tmp_path: Path) -> None:
    (tmp_path / "taken.pt").write_text("mine")
    with pytest.raises(CheckpointError, match="already exists"):
        export_released(path, tmp_path / "taken.pt")
    assert (tmp_path / "taken.pt").read_text() == "mine"


def test_only_detailclip_has_the_released_layout(tmp_path: Path) -> None:
    save_checkpoint(tiny_clip(), tmp_path / "c.safetensors", "c", {"method": "clip"}, None)
    with pytest.raises(CheckpointError, match="the released layout is DetailCLIP's"):
        export_released(tmp_path / "c.safetensors", tmp_path / "out.pt")


def test_a_foreign_file_is_refused_in_one_line(step: Step, path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a pretraining checkpoint of this project"):
        load_pretrained(step.path)
    with pytest.raises(CheckpointError, match="not a DetailCLIP training checkpoint"):
        DetailCLIP.from_released(path)


def test_an_unknown_method_is_named(tmp_path: Path) -> None:
    save_checkpoint(tiny_clip(), tmp_path / "c.safetensors", "c", {"method": "slip"}, None)
    with pytest.raises(CheckpointError, match="made by 'slip'"):
        load_pretrained(tmp_path / "c.safetensors")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"image_heads": 5}, "5 image heads do not divide the width 128"),
        ({"text_heads": 3}, "3 text heads do not divide the width 64"),
        ({"decoder_heads": 7}, "7 decoder heads do not divide the width 128"),
    ],
)
def test_impossible_heads_are_refused(step: Step, told: dict[str, int], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        DetailCLIP.from_released(step.path, **told)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("ibot_head.last_layer2.weight_v", "must be one layer"),
        ("decoder_pos_embed", "not the fixed sine-cosine table"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, key: str, message: str) -> None:
    file = published_content()
    state = file["state_dict"]
    assert isinstance(state, dict)
    state[f"module.{key}"] = state[f"module.{key}"] + 0.1
    torch.save(file, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=message):
        DetailCLIP.from_released(tmp_path / "odd.pt", image_heads=2, text_heads=1, decoder_heads=4)


def test_gains_other_than_one_are_refused(tmp_path: Path) -> None:
    file = published_content()
    state = file["state_dict"]
    assert isinstance(state, dict)
    for layer in ("last_layer", "last_layer2"):
        state[f"module.ibot_head.{layer}.weight_g"] = state[f"module.ibot_head.{layer}.weight_g"] * 2
    torch.save(file, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match="gains"):
        DetailCLIP.from_released(tmp_path / "odd.pt", image_heads=2, text_heads=1, decoder_heads=4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": {"alpha_cls": "many"}}, "no fields of detailclip in the metadata"),
        ({"fields": None}, "no fields of detailclip in the metadata"),
        ({"joint": "wide"}, "impossible sizes"),
        ({"joint": 0}, "impossible sizes"),
        ({"joint": 17}, "weights do not fit the sizes"),
    ],
)
def test_hostile_metadata_are_one_line(
    model: DetailCLIP, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    save_checkpoint(model, tmp_path / "c.safetensors", "c", {"method": "detailclip"}, None)
    read = read_checkpoint(tmp_path / "c.safetensors")
    training = {**json.loads(read.metadata["training"]), **change}
    save_file(dict(read.content), tmp_path / "odd.safetensors", {**read.metadata, "training": json.dumps(training)})
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(tmp_path / "odd.safetensors")


@pytest.mark.parametrize(
    ("entry", "change"),
    [
        ("architecture", {"heads": 0}),
        ("architecture", {"heads": 5}),
        ("architecture", {"patch_size": 0}),
        ("architecture", {"patch_size": 7}),
        ("text_architecture", {"depth": 0}),
        ("preprocessing", {"mean": [0.5]}),
    ],
)
def test_impossible_sizes_in_the_metadata_are_one_line(
    model: DetailCLIP, tmp_path: Path, entry: str, change: dict[str, object]
) -> None:
    save_checkpoint(model, tmp_path / "c.safetensors", "c", {"method": "detailclip"}, None)
    read = read_checkpoint(tmp_path / "c.safetensors")
    told = json.dumps({**json.loads(read.metadata[entry]), **change})
    save_file(dict(read.content), tmp_path / "odd.safetensors", {**read.metadata, entry: told})
    with pytest.raises(CheckpointError, match="impossible sizes"):
        load_pretrained(tmp_path / "odd.safetensors")


def test_training_that_is_no_table_is_one_line(model: DetailCLIP, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "c.safetensors", "c", {"method": "detailclip"}, None)
    read = read_checkpoint(tmp_path / "c.safetensors")
    save_file(dict(read.content), tmp_path / "odd.safetensors", {**read.metadata, "training": "[1]"})
    with pytest.raises(CheckpointError, match="damaged metadata"):
        load_pretrained(tmp_path / "odd.safetensors")


MISSING = [
    "ibot_head.last_layer2.weight_v",
    "ibot_head.last_layer.weight_g",
    "ibot_head.mlp.0.weight",
    "decoder_pos_embed",
    "visual.blocks.0.mlp.fc1.weight",
    "text_projection",
    "logit_scale",
]


@pytest.mark.parametrize("key", MISSING)
def test_a_released_file_without_a_weight_is_one_line(tmp_path: Path, key: str) -> None:
    file = published_content()
    state = file["state_dict"]
    assert isinstance(state, dict)
    del state[f"module.{key}"]
    torch.save(file, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError):
        DetailCLIP.from_released(tmp_path / "odd.pt", image_heads=2, text_heads=1, decoder_heads=4)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("text_projection", torch.zeros(64)),
        ("visual.patch_embed.proj.weight", torch.zeros(128, 768)),
        ("decoder_pos_embed", torch.zeros(5)),
        ("image_projection", torch.zeros(128, 7)),
        ("visual.blocks.x.norm1.weight", torch.zeros(128)),
        ("logit_scale", 4.6),
        ("logit_scale", torch.tensor(4)),
    ],
)
def test_a_released_file_with_an_odd_weight_is_one_line(tmp_path: Path, key: str, value: object) -> None:
    file = published_content()
    state = file["state_dict"]
    assert isinstance(state, dict)
    state[f"module.{key}"] = value
    torch.save(file, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError):
        DetailCLIP.from_released(tmp_path / "odd.pt", image_heads=2, text_heads=1, decoder_heads=4)


@pytest.mark.parametrize("centers", [torch.zeros(3), [1], {"cls": torch.zeros(1, 64)}, {"cls": 1, "patch": 2}])
def test_odd_centres_beside_a_released_file_are_one_line(tmp_path: Path, centers: object) -> None:
    torch.save({**published_content(), "loss_centers": centers}, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match="loss_centers"):
        DetailCLIP.from_released(tmp_path / "odd.pt", image_heads=2, text_heads=1, decoder_heads=4)


def test_an_export_brings_its_fields_along(tmp_path: Path) -> None:
    model = tiny_detailclip(alpha_patch=2.0, divergence="kl_student_teacher")
    save_checkpoint(model, tmp_path / "c.safetensors", "c", {"method": "detailclip"}, None)
    out = export_released(tmp_path / "c.safetensors", tmp_path / "released.pt")
    assert DetailCLIP.from_released(out, image_heads=3, text_heads=2, decoder_heads=4).fields == model.fields
    content = torch.load(out, weights_only=False)
    torch.save({**content, "detailclip_bench_fields": {"alpha_cls": "x"}}, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match="export the checkpoint again"):
        DetailCLIP.from_released(tmp_path / "odd.pt", image_heads=3, text_heads=2, decoder_heads=4)
