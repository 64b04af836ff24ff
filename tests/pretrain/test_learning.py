"""The tiny config learns what it shows, from the generated pairs; and real, untidy pairs go through the same way."""

import json
from pathlib import Path
from statistics import mean

import pytest

from benchmarks.checkpoints import load_checkpoint
from benchmarks.data.sample import ensure, held_out_folder
from benchmarks.zeroshot.classification import classify_folder
from pretrain.training import PretrainJob, pretrain

TERMS = ("clip", "reconstruction", "cls_kl", "patch_kl")
TEMPLATES = ("a photo of a {}", "a picture of a {}")


def curves(folder: Path) -> dict[str, list[float]]:
    """The logged scalars of a run by name."""
    (file,) = folder.glob("logs/*/vis_data/scalars.json")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return {name: [line[name] for line in lines if name in line] for name in TERMS}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of the shipped config's eight passes over the data."""
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


@pytest.mark.slow
@pytest.mark.parametrize("tower", ["ema", "online"])
def test_zero_shot_is_clearly_above_chance(run: Path, tower: str) -> None:
    found = classify_folder(
        load_checkpoint(run / "checkpoint.safetensors", tower), held_out_folder(ensure()), TEMPLATES
    )
    assert len(found.files) == 208
    assert found.top1 > 2 * 100 / len(found.classes)


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
