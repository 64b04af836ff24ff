"""The tiny config learns what it shows, from the generated pairs; and real, untidy pairs go through the same way."""

import json
from pathlib import Path
from statistics import mean

import pytest

from benchmarks.checkpoints import load_checkpoint
from benchmarks.data.sample import ensure
from benchmarks.records import Record, Store
from benchmarks.run import Job, Session
from benchmarks.suite import in_group
from pretrain.training import PretrainJob, pretrain
from tests.talk import silently

TERMS = ("clip", "reconstruction", "cls_kl", "patch_kl")
NOT_IN_CAPTIONS = {"zeroshot/clevr", "zeroshot/kitti", "zeroshot/mnist"}
"""What these sets of the sample ask for, no caption says."""


def curves(folder: Path) -> dict[str, list[float]]:
    """The logged scalars of a run by name."""
    (file,) = folder.glob("logs/*/vis_data/scalars.json")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return {name: [line[name] for line in lines if name in line] for name in TERMS}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of the shipped config's six passes over the data."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    overrides = ("training.epochs=3", "execution.log_interval=5")
    pretrain(PretrainJob("detailclip_tiny_sample", ensure(), folder, overrides=overrides), "resume", lambda line: None)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("term", TERMS)
def test_each_term_falls(run: Path, term: str) -> None:
    """From the second pass on: the teacher's patch temperature changes after the first."""
    values = curves(run)[term]
    second = values[len(values) // 3 :]
    assert mean(second[-5:]) < 0.97 * mean(second[:5])


@pytest.fixture(scope="module")
def zero_shot(run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Tables 2 and 3 of the tiny model, on the sample."""
    session = Session(Store(tmp_path_factory.mktemp("results")), "resume", lambda line: None, silently, [])
    checkpoint = run / "checkpoint.safetensors"
    jobs = [Job(benchmark, checkpoint, ensure()) for benchmark in (*in_group("table2"), *in_group("table3"))]
    session.prepare(jobs)
    return [record for job in jobs if (record := session.run(job))]


def chance(record: Record) -> float:
    """Percent right of a guess; the sample's sets have classes of their own."""
    return 100 / len(record.per_class["accuracy"])


@pytest.mark.slow
def test_zero_shot_is_clearly_above_chance(zero_shot: list[Record]) -> None:
    """On the sets that ask for what captions say: on average half as much again as a guess, and ImageNet's view, which
    has all things, is above chance with its whole interval.
    """
    scored = {record.benchmark: record for record in zero_shot if "top1" in record.metrics}
    assert len(scored) == 14
    gains = {
        name: record.metrics["top1"].value / chance(record)
        for name, record in scored.items()
        if name not in NOT_IN_CAPTIONS
    }
    assert mean(gains.values()) > 1.5
    things = scored["imagenet-zeroshot"]
    assert (things.metrics["top1"].low or 0) > chance(things)


@pytest.mark.slow
def test_retrieval_is_clearly_above_chance(zero_shot: list[Record]) -> None:
    scored = [record for record in zero_shot if "t2i_r10" in record.metrics]
    assert {record.benchmark for record in scored} == {"flickr30k-retrieval", "coco-retrieval"}
    for record in scored:
        assert record.metrics["t2i_r10"].value > 1.5 * 1000 / record.counts.scored


@pytest.mark.slow
@pytest.mark.real_data
def test_real_pairs_from_end_to_end(real_data: Path, tmp_path: Path) -> None:
    """Flickr8k in Karpathy's format: photographs of any size and sentences of any length."""
    overrides = (
        "data.kind=karpathy",
        "data.annotations=flickr8k/dataset_flickr8k.json",
        "data.folder=flickr8k/images",
        "training.epochs=0.3",
        "training.warmup_epochs=0.1",
    )
    job = PretrainJob("detailclip_tiny_sample", real_data, tmp_path / "flickr", overrides=overrides)
    pretrain(job, "resume", lambda line: None)
    loaded = load_checkpoint(tmp_path / "flickr" / "checkpoint.safetensors")
    assert loaded.info.training is not None
    assert loaded.info.training["images"] == 600
    assert not (tmp_path / "flickr" / "broken.txt").exists()
