"""A family is a declaration: the ones to come (MAE, DINO, iBOT) can be said without touching any
other code.
"""

from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from benchmarks.checkpoints import convert, load_image_tower
from benchmarks.checkpoints.families import FAMILIES, Drop, Family, Tower, vit
from benchmarks.errors import CheckpointError
from tests.checkpoints import makers

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
    families = (*FAMILIES, MAE, IBOT)
    original = convert.identify
    with patch(
        "benchmarks.checkpoints.opened.identify", lambda states, file: original(states, file, families)
    ) as patched:
        yield patched


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
