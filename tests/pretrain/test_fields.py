"""Configs, presets and overrides: what lies over what, what is refused and how, and that every shipped one is whole."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import MODELS

from benchmarks.errors import OptionError
from benchmarks.tables.layouts import LAYOUTS, paper_rows
from pretrain.fields import FREE_TO_CHANGE, load_fields, preset_fields, preset_sections, shipped_configs
from pretrain.training import count_steps, model_config
from tests.pretrain.toy import toy_fields

TINY = "detailclip_tiny_sample"
BASE = "detailclip_vit-b16_yfcc15m_25e"


def written(folder: Path, **changes: Any) -> str:
    """A config of the user's own."""
    path = folder / "mine.json"
    path.write_text(json.dumps(toy_fields() | changes))
    return str(path)


@pytest.mark.parametrize("config", shipped_configs())
def test_every_shipped_config_is_whole_and_builds_its_method(config: str) -> None:
    fields = load_fields(config)
    with torch.device("meta"):
        model = MODELS.build(model_config(fields))
    assert model.image.image_size == fields.image_tower.image_size
    assert model.fields == fields.fields
    assert fields.model_dump(mode="json") == json.loads(fields.model_dump_json())


def test_the_recipe_has_the_steps_of_the_released_code() -> None:
    """14,689,580 pairs at 4096: 3586 steps a pass without the rest, which the endless stream does not drop."""
    released = 3586
    for config, epochs in ((BASE, 25), ("detailclip_vit-b16_yfcc15m_50e", 50)):
        steps = count_steps(load_fields(config), images=14_689_580, processes=16)
        assert steps.accumulation == 1
        assert steps.total == epochs * 14_689_580 // 4096
        assert 0 <= steps.total - epochs * released < epochs
        assert steps.warmup == released


def test_table_4_is_complete() -> None:
    """Each of its rows has a config with those weights, which names the row."""
    asked = {}
    for row in paper_rows(4):
        config = f"{BASE}_a{row['a1']}-{row['a2']}-{row['a3']}"
        fields = load_fields(config)
        weights = (fields.fields.alpha_cls, fields.fields.alpha_patch, fields.fields.alpha_reconstruction)
        assert weights == (float(row["a1"]), float(row["a2"]), float(row["a3"]))
        assert fields.row is not None
        asked[LAYOUTS[4].aliases.get(fields.row, fields.row)] = LAYOUTS[4].row_name.format(**row)
    assert all(ours == name for ours, name in asked.items())
    assert len(asked) == 5


def test_presets_differ_in_what_they_are_for() -> None:
    released, paper = preset_fields("detailclip", "released"), preset_fields("detailclip", "paper")
    assert preset_fields("detailclip", "default") == released
    differing = {name for name in released if released[name] != paper[name]}
    assert differing == {
        "removal", "divergence", "pixel_target", "reconstruction_scale", "clip_views", "frozen_patch_projection"
    }  # fmt: skip
    default, legacy, literal = (load_fields(BASE, [f"preset={name}"]) for name in ("default", "released", "paper"))
    assert (default.captions.overflow, legacy.captions.overflow) == ("keep_eot", "legacy_truncate")
    assert default.views == legacy.views
    assert (literal.views.teacher_view, literal.views.crop_scale) == ("enclosing", (0.5, 1.0))
    assert literal.captions.choice == "random"


def test_sections_that_only_presets_fill_have_no_values_elsewhere(tmp_path: Path) -> None:
    """A config without preset must say everything; nothing falls back to one method's values."""
    for section, field in (("views", "teacher_view"), ("captions", "overflow")):
        sections = toy_fields()
        del sections[section][field]
        with pytest.raises(OptionError, match=rf"{section}\.{field}: Field required"):
            load_fields(written(tmp_path, **sections))


def test_the_released_views_and_captions() -> None:
    sections = preset_sections("detailclip", "released")
    assert sections["views"] == {
        "crop_scale": (0.14, 1.0), "crop_ratio": (3 / 4, 4 / 3), "interpolation": "bicubic", "flip_probability": 0.0,
        "jitter_probability": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1,
        "grey_probability": 0.2, "blur_probability": 0.1, "blur_sigma": (0.1, 2.0), "solarise_probability": 0.2,
        "solarise_threshold": 128, "teacher_view": "same",
    }  # fmt: skip
    assert sections["captions"] == {"choice": "concatenate", "overflow": "legacy_truncate"}


def test_config_lies_over_preset_and_overrides_over_both() -> None:
    fields = load_fields(TINY)
    assert fields.fields.head.prototypes < preset_fields("detailclip", "default")["head"]["prototypes"]
    changed = load_fields(TINY, ["fields.head.hidden=33", "preset=paper", "training.lr=0.5"])
    assert changed.fields.head.prototypes == fields.fields.head.prototypes
    assert (changed.fields.head.hidden, changed.training.lr) == (33, 0.5)
    assert changed.fields.removal.granularity == "patch"


def test_another_recipe_does_not_stand_for_the_papers_row() -> None:
    assert load_fields(BASE, ["fields.alpha_cls=0", "row=DetailCLIP(0,1,1)@25"]).row == "DetailCLIP(0,1,1)@25"
    for override in (
        "training.epochs=1", "fields.alpha_cls=0", "fields.removal.keep_ratio=0.25", "views.flip_probability=0.5",
        "data.root=elsewhere", "data.kind=yfcc15m", "execution.device_batch=128", "image_tower.depth=6",
    ):  # fmt: skip
        assert load_fields(BASE, [override]).row is None, override


def test_what_does_not_decide_the_outcome_keeps_the_row() -> None:
    """And the presets, which all are readings of the paper; a checkpoint names its own."""
    for override in ("preset=released", "preset=paper", *(f"{name}=1" for name in FREE_TO_CHANGE)):
        assert load_fields(BASE, [override]).row == "DetailCLIP@25", override


def test_another_kind_of_data_replaces_the_section() -> None:
    overrides = ["data.kind=karpathy", "data.annotations=a.json", "data.folder=images"]
    assert load_fields(TINY, overrides).data.model_dump()["annotations"] == "a.json"
    assert load_fields(TINY, ["data.folder=elsewhere"]).data.model_dump()["table"] == "pairs/train.csv"


def test_a_config_of_ones_own(tmp_path: Path) -> None:
    fields = load_fields(written(tmp_path))
    assert (fields.method, fields.preset, fields.fields.alpha_toy) == ("toy", None, 1.0)
    python = tmp_path / "mine.py"
    python.write_text("_base_ = ['mine.json']\ntraining = dict(lr=0.25)\n")
    assert load_fields(str(python)).training.lr == 0.25


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("fields.head.hiden=3", "fields.head.hiden"),
        ("fields.removal.keep_ratio=1.5", "fields.removal.keep_ratio"),
        ("training.lr=-1", "training.lr"),
        ("training.precision=fp64", "training.precision"),
        ("views.crop_scale=(0.5, 0.1)", "views"),
        ("captions.choice=longest", "captions.choice"),
        ("data.kind=karpathy", "annotations"),
        ("data=3", "data"),
        ("image_tower.image_size=100", "100 is not a multiple of patch_size 16"),
        ("text_tower.heads=3", "not a multiple of heads 3"),
        ("execution.device_batch=0", "execution.device_batch"),
        ("speed=1", "speed"),
        ("preset=fast", "detailclip has default, paper, released"),
        ("method=dino", "there is detailclip, clip"),
        ("row=A@B", "row"),
    ],
)
def test_refusals_name_the_field_in_one_line(override: str, named: str) -> None:
    with pytest.raises(OptionError) as refused:
        load_fields(TINY, [override])
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_fields_of_the_right_section_are_listed() -> None:
    with pytest.raises(OptionError, match=r"fields: bottleneck, hidden, prototypes"):
        load_fields(TINY, ["fields.head.hiden=3"])


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("detailclip_tiny", "detailclip_tiny_sample"),
        ("nowhere.json", "no such config file"),
        ("mine.yaml", "name a .py or .json file"),
    ],
)
def test_unknown_configs(config: str, named: str) -> None:
    with pytest.raises(OptionError, match=named):
        load_fields(config)


def test_damaged_configs(tmp_path: Path) -> None:
    for name, text in (("a.json", "{"), ("a.py", "lr = (")):
        (tmp_path / name).write_text(text)
        with pytest.raises(OptionError, match=f"{name}.*mend the file"):
            load_fields(str(tmp_path / name))
    with pytest.raises(OptionError, match="method None is unknown"):
        (tmp_path / "b.json").write_text("{}")
        load_fields(str(tmp_path / "b.json"))
