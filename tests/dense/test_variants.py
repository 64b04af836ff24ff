"""The protocol variants of docs/methodology.md: reached by their ``-o`` lines, recorded where they are said to be."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.checkpoints import ensure_tiny
from benchmarks.data.sample import generate
from benchmarks.dense.detection_protocol import DetectionFields
from benchmarks.dense.protocol import SegmentationFields
from benchmarks.dense.segmentation import plan as make_plan
from benchmarks.engine.protocol import load_protocol
from benchmarks.run import Job
from benchmarks.suite import get
from tests.checkpoints.layouts import make, save

DOCS = Path(__file__).parents[2] / "docs/methodology.md"
CROP_640 = ("crop_size=(640,640)", "image_scale=(2560,640)", "test_stride=(426,426)")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "root"
    generate(folder, train=2, validation=1, pairs=13, held_out=1, views=0, described=0, boxed=0)
    return folder


@pytest.fixture
def job(data: Path) -> Job:
    return Job(get("ade20k-upernet"), ensure_tiny(), data)


def told(job: Job, *overrides: str, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fingerprinted part, and that of the checkpoint."""
    plan = make_plan(replace(job, overrides=overrides, **options))
    return plan.protocol, plan.model_protocol


def documented() -> list[tuple[str, tuple[str, ...], bool]]:
    """Of each row that has options: benchmark, options, whether the fingerprint is said to change."""
    section = DOCS.read_text(encoding="utf-8").partition("## Variants")[2].partition("\n## ")[0]
    found = []
    for row in section.splitlines():
        cells = [cell.strip() for cell in row.split("|")]
        options = tuple(re.findall(r"-o '?([^\s'`]+)", row)) if row.startswith("|") else ()
        if options:
            found.append(("coco-cascade" if "coco-cascade" in cells[2] else "ade20k-upernet", options, cells[4]))
    return [(benchmark_id, options, said == "another") for benchmark_id, options, said in found]


@pytest.mark.parametrize(("benchmark_id", "line", "changes"), documented())
def test_every_documented_line_does_what_the_table_says(
    benchmark_id: str, line: tuple[str, ...], changes: bool
) -> None:
    """It is understood, it changes something, and it changes the fingerprinted part or not, as said."""
    schema: Any = DetectionFields if benchmark_id == "coco-cascade" else SegmentationFields
    config = get(benchmark_id).config
    assert config is not None
    shipped, variant = load_protocol(config, schema), load_protocol(config, schema, overrides=line)
    assert variant != shipped
    assert (variant.protocol() != shipped.protocol()) == changes


def test_the_documented_lines_are_read() -> None:
    """An empty table must not pass."""
    assert ("ade20k-upernet", CROP_640, True) in documented()
    assert len(documented()) == 11


def test_what_belongs_to_the_checkpoint_keeps_the_fingerprint(job: Job, tmp_path: Path) -> None:
    """Norm on the taps, and which tower: shown in the record, compared in one table."""
    shipped = told(job)
    without = told(job, "backbone.norm_on_taps=False")
    assert without[0] == shipped[0]
    assert (shipped[1]["norm_on_taps"], without[1]["norm_on_taps"]) == (True, False)
    layout = make("detailclip")
    both = replace(job, checkpoint=save(layout, tmp_path / "both"), **layout.image_told)
    towers = {name: told(both, tower=name) for name in ("ema", "online")}
    assert towers["ema"][0] == towers["online"][0] == shipped[0]
    assert {name: model["tower"] for name, (_, model) in towers.items()} == {"ema": "ema", "online": "online"}
    assert told(both)[1]["tower"] == "ema"


@pytest.mark.slow
def test_crops_of_640_pixels_are_trained_and_scored(job: Job, tmp_path: Path) -> None:
    """The position table goes from 14x14 to 40x40, and windows of 640 cover the larger test picture."""
    from benchmarks.engine.runner import BenchRunner

    small = ("head_channels=16", "auxiliary_channels=16", "batch_size=2", "iterations=1", "execution.workers=0")
    plan = make_plan(replace(job, overrides=(*CROP_640, *small)))
    assert plan.model_protocol["position_table"] == "14x14 to 40x40"
    runner = BenchRunner.from_config(plan.config(tmp_path, tmp_path / "state"), torch.device("cpu"))
    shapes = []
    backbone: Any = runner.bare_model.backbone
    backbone.register_forward_pre_hook(lambda module, inputs: shapes.append(tuple(inputs[0].shape)))
    runner.train_and_test()
    assert backbone.trunk.pos_embed.shape[1] == 1 + 40 * 40
    assert shapes[0] == (2, 3, 640, 640)
    assert all(min(shape[2:]) == 640 for shape in shapes[1:])
    assert len(shapes) > 2
    assert len(runner.test_evaluator.metrics[0].images) == 1
