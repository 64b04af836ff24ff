"""A family is a declaration: one that is not built in (MoCo v3) can be said without touching any other code."""

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from benchmarks.checkpoints import convert, load_image_tower
from benchmarks.checkpoints.families import FAMILIES
from benchmarks.checkpoints.family import Drop, Family, Tower, vit
from benchmarks.errors import CheckpointError
from tests.checkpoints import makers

MOCO_V3 = Family(
    name="moco-v3",
    title="MoCo v3",
    towers=(Tower("ema", vit(r"momentum_encoder\.")), Tower("online", vit(r"base_encoder\."))),
    marks=(r"momentum_encoder\.patch_embed\.", r"predictor\."),
    drops=(Drop(r"(base_encoder|momentum_encoder)\.head\.", "projector"), Drop(r"predictor\.", "predictor")),
    has_text=False,
)


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    """The family above, declared."""
    original = convert.identify
    families = (*FAMILIES, MOCO_V3)
    with patch(
        "benchmarks.checkpoints.opened.identify",
        lambda states, file, options: original(states, file, families, options),
    ):
        yield


def checkpoint(path: Path) -> Path:
    state = makers.prefixed("base_encoder.", makers.vit(seed=1)) | makers.prefixed(
        "momentum_encoder.", makers.vit(seed=2)
    )
    heads = {f"{encoder}.head.0.weight": (8, 64) for encoder in ("base_encoder", "momentum_encoder")}
    state |= makers.random({**heads, "predictor.0.weight": (8, 8)})
    torch.save({"epoch": 300, "arch": "vit_base", "state_dict": makers.module(state)}, path)
    return path


@pytest.mark.parametrize(("tower", "seed"), [(None, 2), ("ema", 2), ("online", 1)])
def test_its_towers_are_loaded_and_the_rest_is_explained(tmp_path: Path, tower: str | None, seed: int) -> None:
    loaded = load_image_tower(checkpoint(tmp_path / "c.pth.tar"), tower, image_heads=2)
    assert (loaded.info.family, loaded.info.title, loaded.info.tower) == ("moco-v3", "MoCo v3", tower or "ema")
    assert torch.equal(loaded.trunk.cls_token, makers.vit(seed=seed)["cls_token"])
    assert loaded.report.dropped["predictor"] == ["predictor.0.weight"]
    assert len(loaded.report.dropped["projector"]) == 2


def test_a_tower_that_it_does_not_declare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no teacher tower; towers in this file: ema, online"):
        load_image_tower(checkpoint(tmp_path / "c.pth.tar"), "teacher", image_heads=2)
