"""Estimates of whole jobs: from a checkpoint file, without data, with the options that change them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.checkpoints import ensure_tiny
from benchmarks.dense.protocol import SegmentationFields
from benchmarks.engine.protocol import load_protocol
from benchmarks.errors import CheckpointError, OptionError
from benchmarks.estimate import Estimate, estimate, estimate_all, show
from benchmarks.estimate.counting import Step
from benchmarks.estimate.dense import Counts
from benchmarks.estimate.disk import ARCHIVES
from benchmarks.estimate.hardware import GPUS, SIZES, UTILISATION, Utilisation
from benchmarks.estimate.plan import ESTIMATORS, _advice, _training_memory
from benchmarks.estimate.result import GIB, Hours, Memory, Work
from benchmarks.run import Job
from benchmarks.suite import BENCHMARKS, get


def job(benchmark: str, *overrides: str, quick: bool = False, limit: int | None = None) -> Job:
    nowhere = Path("/there/is/no/such/folder")
    return Job(get(benchmark), ensure_tiny(), nowhere, overrides=overrides, quick=quick, limit=limit)


def shown(*estimates: Estimate) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(show(estimates))
    return console.export_text()


def test_every_benchmark_of_the_suite_can_be_estimated() -> None:
    assert {benchmark.runner for benchmark in BENCHMARKS} == set(ESTIMATORS)
    assert {benchmark.dataset for benchmark in BENCHMARKS} == set(ARCHIVES)


@pytest.mark.parametrize("name", ["ade20k-linear", "imagenet-zeroshot", "flickr30k-retrieval"])
def test_an_estimate_needs_no_data(name: str) -> None:
    found = estimate(job(name))
    assert found.checkpoint == "tiny-random"
    assert found.disk > 0
    assert all(work.total > 0 for work in found.works)
    for gpu in GPUS:
        hours = found.hours(gpu)
        assert 0 < hours.least < hours.usual < hours.most


@pytest.mark.slow
def test_a_detector_is_estimated() -> None:
    found = estimate(job("coco-cascade", quick=True))
    training, scoring = found.works
    assert training.count == 60 * 2  # iterations and pictures of --quick
    assert scoring.count == 5000


def test_overrides_and_limits_change_it() -> None:
    short = estimate(job("ade20k-linear", "iterations=1000", limit=10, quick=True))
    assert [work.count for work in short.works] == [1000 * 4, 10]
    assert short.loading.workers == 0
    assert estimate(job("imagenet-zeroshot", "pictures=500")).works[0].count == 500
    assert estimate(job("imagenet-zeroshot", limit=7)).works[0].count == 7


def test_several_processes_share_the_batch_and_copy_gradients() -> None:
    one, four = estimate(job("ade20k-linear")), estimate(job("ade20k-linear"), processes=4)
    assert (one.memory.batch, four.memory.batch) == (16, 4)
    assert four.memory.gradients == 2 * one.memory.gradients
    assert four.memory.kept < one.memory.kept
    assert four.hours(GPUS[0]).usual == pytest.approx(one.hours(GPUS[0]).usual)
    assert "on the clock" in shown(four)
    assert "on the clock, at best" not in shown(one)


def test_more_processes_than_pictures_are_refused() -> None:
    with pytest.raises(OptionError, match="does not divide by 17 processes"):
        estimate(job("ade20k-linear"), processes=17)


def test_wrong_fields_are_refused() -> None:
    with pytest.raises(OptionError, match="field iteration"):
        estimate(job("ade20k-linear", "iteration=5"))


@pytest.fixture
def tower(tmp_path: Path) -> Path:
    """A checkpoint without a text side."""
    from benchmarks.checkpoints import load_image_tower, save_backbone

    path = tmp_path / "tower.safetensors"
    save_backbone(load_image_tower(ensure_tiny()), path)
    return path


def test_a_checkpoint_without_texts_cannot_classify(tower: Path) -> None:
    with pytest.raises(CheckpointError, match="no text side"):
        estimate(replace(job("imagenet-zeroshot"), checkpoint=tower, image_heads=2))


def test_a_group_leaves_out_what_the_checkpoint_cannot_do(tower: Path) -> None:
    jobs = [
        replace(job(name, quick=True), checkpoint=tower, image_heads=2) for name in ("ade20k-linear", "zeroshot/mnist")
    ]
    said: list[str] = []
    assert [found.benchmark for found in estimate_all(jobs, frozenset(), 1, said.append)] == ["ade20k-linear"]
    assert said == [f"zeroshot/mnist: needs a text side, which {tower} lacks, skipped"]
    with pytest.raises(CheckpointError, match="no text side"):
        estimate_all(jobs[1:], frozenset({"zeroshot/mnist"}), 1, said.append)
    with pytest.raises(OptionError, match="nothing of it"):
        estimate_all(jobs[1:], frozenset(), 1, said.append)


def test_what_does_not_fit_is_said_with_remedies() -> None:
    found = estimate(job("ade20k-linear-finetune", "batch_size=400"))
    assert found.memory.total > 80 * GIB
    forty, eighty = found.advice
    assert forty.startswith("40 GB are too few")
    assert eighty.startswith("80 GB are too few")
    assert "GPUs instead of 1" in forty
    parts = re.search(r"-o (execution.accumulate=\d+)", eighty)
    assert parts
    fitting = estimate(job("ade20k-linear-finetune", "batch_size=400", parts[1]))
    assert 0.5 < fitting.memory.total / SIZES[80] <= 1.01
    assert "NO" in shown(found)


def counts(kept: int, **changes: float) -> Counts:
    """Of a model of no size that keeps so many GiB for a batch of 16."""
    step = Step(forward=10, whole=30, kept=kept * GIB, peak=kept * GIB)
    plain = Counts(training=30, scoring=10, step=step, batch=16, weights=0, trained=0, tower=0, copies=0)
    return replace(plain, **changes)  # type: ignore[arg-type]


def advised(plain: Counts, recomputing: Counts, *overrides: str) -> tuple[str, ...]:
    fields = load_protocol("segmentation/ade20k_upernet", SegmentationFields, overrides=overrides)
    return _advice(_training_memory(plain, 16, 1), plain, fields, 1, lambda changed: recomputing)


def test_recomputing_is_advised_where_it_is_enough() -> None:
    recomputing = counts(20, training=40)
    assert "execution.checkpoint_blocks=True (23.0 GiB, 33% more operations)" in advised(counts(50), recomputing)[0]
    assert not any("checkpoint_blocks" in line for line in advised(counts(50), counts(45)))
    on = "execution.checkpoint_blocks=True"
    assert not any("checkpoint_blocks" in line for line in advised(counts(50), recomputing, on)), "it is on already"


def test_nothing_is_advised_where_all_fits() -> None:
    assert advised(counts(10), counts(5)) == ()


def test_the_fewest_gpus_that_are_enough_are_advised() -> None:
    assert "; or 2 GPUs instead of 1" in advised(counts(50), counts(5))[0]
    forty, eighty = advised(counts(200), counts(190))
    assert "8 GPUs instead of 1" in forty  # 4 would need 56 GiB each
    assert "4 GPUs instead of 1" in eighty
    assert "execution.accumulate=8 (2 pictures at a time" in forty


def test_what_fits_nowhere_is_said() -> None:
    assert advised(counts(5000), counts(5000))[0] == "40 GB are too few: not even one picture fits"


def test_the_resume_state_is_there_twice() -> None:
    found = estimate(job("ade20k-linear-finetune"))
    state = next(place for place in found.places if place.name == "resume state")
    assert state.size == 2 * 3 * found.memory.weights


def test_hours_follow_from_peak_and_utilisation() -> None:
    a100 = GPUS[0]
    work = Work("training", "segmentation", "fp16", count=1000, flops=312e12 * 0.30 * 3.6)
    assert work.hours(a100).usual == pytest.approx(1)
    assert work.rate(a100) == pytest.approx(1 / 3.6)
    assert replace(work, precision="fp32").hours(a100).usual == pytest.approx(16)
    assert Hours(1, 2, 3) + Hours(1, 1, 1) == Hours(2, 3, 4)


@pytest.mark.parametrize("used", UTILISATION.values())
def test_utilisations_are_ranges(used: Utilisation) -> None:
    assert 0 < used.low < used.usual < used.high < 1


def test_largest_batch_fits_and_one_more_does_not() -> None:
    memory = Memory(batch=4, weights=GIB, gradients=GIB, moments=2 * GIB, copies=0, kept=8 * GIB, passing=2 * GIB)
    largest = memory.largest_batch(40 * GIB)
    each = (memory.total - memory.fixed) / 4
    assert memory.fixed + largest * each <= 40 * GIB < memory.fixed + (largest + 1) * each
    assert memory.largest_batch(GIB) == 0


def test_one_is_shown_in_full_and_several_in_lines() -> None:
    dense, words = estimate(job("ade20k-linear")), estimate(job("zeroshot/mnist"))
    full, lines = shown(dense), shown(dense, words)
    for part in ("GPU time", "Memory of each GPU", "Disk", "resume state", "a model, not a measurement", "loading"):
        assert part in full
    assert "zeroshot/mnist" in lines
    assert "together" in lines
    assert "Memory of each GPU" not in lines
