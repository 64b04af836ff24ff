"""Every published layout through every dense benchmark: two iterations each, and a record that adds up.

What the towers compute is compared with independent implementations in tests/checkpoints; here it is shown that nothing
on the way from a file to a cell of Table 1 knows of a family.
"""

from pathlib import Path

import pytest

from benchmarks.data.sample import generate
from benchmarks.run import Job
from benchmarks.suite import get
from tests.checkpoints.layouts import LAYOUTS, make, save
from tests.talk import Talk

SEGMENTATION = (
    *("image_scale=(128, 64)", "crop_size=(64, 64)", "test_stride=(64, 64)", "test_mode='whole'"),
    *("batch_size=2", "iterations=2", "warmup_iterations=1"),
)
UPERNET = ("head_channels=32", "auxiliary_channels=16")
DETECTION = (
    *("short_sides=(64,)", "longest_side=96", "crop_short_sides=(64,)", "crop_range=(48, 64)", "test_scale=(96, 64)"),
    *("position_size=(64, 96)", "fpn_channels=32", "rpn_channels=16", "box_channels=16", "box_fc_channels=16"),
    *("mask_channels=16", "roi_samples=16", "batch_size=1", "iterations=2", "warmup_iterations=1"),
)
RUNS = {
    "ade20k-upernet": (*SEGMENTATION, *UPERNET),
    "ade20k-linear": SEGMENTATION,
    "coco-cascade": DETECTION,
}
CELLS = {"ade20k-upernet": {"mIoU"}, "ade20k-linear": {"mIoU"}, "coco-cascade": {"AP_box", "AP_mask"}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures to train on and two to score, segmented as well as with boxes."""
    folder = tmp_path_factory.mktemp("data") / "root"
    generate(folder, train=4, validation=2, pairs=13, held_out=1, views=0, described=0, boxed=4)
    return folder


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """One tiny random file of each layout."""
    name = request.param
    return name, save(make(name), tmp_path_factory.mktemp(name) / name)


@pytest.mark.slow
@pytest.mark.parametrize("benchmark_id", RUNS)
def test_every_family_fills_every_cell_of_table_1(
    layout: tuple[str, Path], benchmark_id: str, data: Path, tmp_path: Path
) -> None:
    name, checkpoint = layout
    known = make(name)
    job = Job(
        get(benchmark_id), checkpoint, data, quick=True, limit=1, overrides=RUNS[benchmark_id], **known.image_told
    )
    record = Talk().session(tmp_path).run(job)
    assert record is not None
    assert record.checkpoint.family == known.family
    assert record.model_protocol["tower"] == next(iter(known.trunks))
    assert (record.counts.expected, record.counts.scored) == (1, 1)
    assert record.metrics.keys() >= CELLS[benchmark_id]
    assert all(0 <= record.metrics[cell].value <= 100 for cell in CELLS[benchmark_id])
