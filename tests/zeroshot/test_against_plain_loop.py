"""Tables 2 and 3's numbers are right: on real pictures they are those of SLIP's evaluation, written plainly."""

from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.records import Record, Store
from benchmarks.run import Job, default_fingerprints
from benchmarks.tables import build
from tests.talk import Talk
from tests.zeroshot import plain_loop, real_layouts, towers
from tests.zeroshot.plain_loop import CLOSE
from tests.zeroshot.real_layouts import Captioned, Classes
from tests.zeroshot.towers import Array

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


def run(job: Job, out: Path) -> tuple[Record, pd.DataFrame, dict[str, Array]]:
    """The record, its samples, and what was scored."""
    with towers.overheard() as heard:
        record = Talk().session(out).run(job)
    assert record is not None
    return record, Store(out).read_samples(record.run_id), heard


def assert_close(ours: Array, plain: torch.Tensor) -> None:
    np.testing.assert_allclose(ours, plain.numpy(), rtol=0, atol=CLOSE)


def check_classification(job: Job, classes: Classes, bicubic: bool, out: Path) -> Record:
    """Everything that a classification run gives, against the plain loop."""
    record, samples, heard = run(job, out)
    model = towers.model_of(job.checkpoint)
    weights = plain_loop.classifier(model, classes.names, classes.templates)
    pictures = plain_loop.pictures(model, classes.opened(), plain_loop.transform(bicubic))
    assert_close(heard["classes"], weights)
    assert_close(heard["images"], pictures)
    scores, labels = pictures @ weights.T, torch.tensor(classes.labels)
    assert_close(heard["images"] @ heard["classes"].T, scores)
    assert samples["label"].tolist() == classes.labels

    best, predicted = scores.topk(2).values, scores.argmax(dim=1)
    sure = best[:, 0] - best[:, 1] > CLOSE
    found = torch.from_numpy(samples["prediction"].to_numpy(np.int64))
    assert torch.equal(found[sure], predicted[sure])
    assert sure.float().mean() > 0.95, "what is compared are few"
    assert len(predicted.unique()) > 1, "a tower that names one class everywhere shows little"
    np.testing.assert_allclose(samples["margin"], best[:, 0] - best[:, 1], rtol=0, atol=2 * CLOSE)

    correct = torch.where(sure, predicted, found) == labels
    assert samples["correct"].tolist() == correct.tolist()
    assert record.metrics["top1"].value == pytest.approx(100 * float(correct.double().mean()))
    assert record.metrics["mean_per_class"].value == pytest.approx(plain_loop.mean_per_class(correct, labels))
    place = plain_loop.places(scores, torch.nn.functional.one_hot(labels, len(weights)).bool())
    rank = torch.from_numpy(samples["rank"].to_numpy(np.int64))
    assert ((place.least <= rank) & (rank <= place.most)).all()
    if len(weights) > 5:
        least, most = place.share(5)
        assert least - 1e-9 <= record.metrics["top5"].value <= most + 1e-9
        assert record.metrics["top5"].value == pytest.approx(100 * float((rank <= 5).double().mean()))
    return record


BENCHMARKS = {
    "gtsrb": "zeroshot/gtsrb",
    "stl10": "zeroshot/stl10",
    "kitti": "zeroshot/kitti",
    "clevr": "zeroshot/clevr",
    "imagenet": "imagenet-zeroshot",
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_classification_is_the_plain_loops(name: str, real_data: Path, tmp_path: Path) -> None:
    classes = real_layouts.write_classes(tmp_path / "data", real_data, name)
    job = towers.job(BENCHMARKS[name], towers.slip(tmp_path / "slip.pt"), tmp_path / "data")
    record = check_classification(job, classes, False, tmp_path)
    assert record.status == "partial"
    assert record.counts.scored == len(classes.labels)
    assert record.counts.official == job.benchmark.official_size


def test_all_of_mnist_is_the_plain_loops_and_fills_its_cell(real_data: Path, tmp_path: Path) -> None:
    """All 10,000 digits: a full run, whose protocol is the shipped one."""
    classes = real_layouts.write_classes(tmp_path / "data", real_data, "mnist")
    job = towers.job("zeroshot/mnist", towers.slip(tmp_path / "slip.pt"), tmp_path / "data", row="SLIP@25")
    record = check_classification(job, classes, False, tmp_path)
    assert record.status == "full"
    assert record.protocol_fingerprint == default_fingerprints()["zeroshot/mnist"]
    table = build(3, Store(tmp_path).load_all(), default_fingerprints())
    (entry,) = [entry for row in table.rows for entry in row.entries]
    assert entry.cells["MNIST"].value == record.metrics["top1"].value
    assert table.other == ()


def test_open_clips_pictures_are_bicubic(real_data: Path, tmp_path: Path) -> None:
    """Another family: other statistics, interpolation, and a norm before the blocks."""
    classes = real_layouts.write_classes(tmp_path / "data", real_data, "stl10")
    job = towers.job("zeroshot/stl10", towers.open_clip(tmp_path / "open_clip.pt"), tmp_path / "data")
    check_classification(job, classes, True, tmp_path)


def check_retrieval(job: Job, captioned: Captioned, most: int | None, out: Path) -> Record:
    """Everything that a retrieval run gives, against the plain loop's vectors and brute force."""
    record, samples, heard = run(job, out)
    model = towers.model_of(job.checkpoint)
    used = [captions[:most] for captions in captioned.captions]
    pictures = plain_loop.pictures(model, captioned.opened(), plain_loop.transform())
    texts = plain_loop.captions(model, list(chain.from_iterable(used)))
    assert_close(heard["images"], pictures)
    assert_close(heard["texts"], texts)
    scores = pictures @ texts.T
    owner = torch.arange(len(used)).repeat_interleave(torch.tensor([len(captions) for captions in used]))
    right = owner[None, :] == torch.arange(len(used))[:, None]

    by_image, by_text = plain_loop.places(scores, right), plain_loop.places(scores.T, right.T)
    for column, place in (("i2t_rank", by_image), ("t2i_ranks", by_text)):
        ranks = torch.from_numpy(np.hstack(samples[column].to_list()).astype(np.int64))
        assert ((place.least <= ranks) & (ranks <= place.most)).all()
        assert (place.least == place.most).double().mean() > 0.9, "what is compared are few"
        direction = column[:3]
        for k in (1, 5, 10):
            least, upmost = place.share(k)
            value = record.metrics[f"{direction}_r{k}"].value
            assert least - 1e-9 <= value <= upmost + 1e-9
            assert value == pytest.approx(100 * float((ranks <= k).double().mean()))
            assert record.metrics[f"{direction}_r{k}"].n == len(ranks)
    return record


def test_retrieval_on_flickr8k_is_brute_forces(real_data: Path, tmp_path: Path) -> None:
    captioned = real_layouts.flickr8k_of(tmp_path / "data", real_data)
    job = towers.job("flickr8k-retrieval", towers.slip(tmp_path / "slip.pt"), tmp_path / "data")
    record = check_retrieval(job, captioned, 5, tmp_path)
    assert (record.counts.official, record.counts.scored, record.status) == (1000, 100, "partial")
    assert record.metrics["t2i_r1"].n == 500


def test_retrieval_on_coco_is_brute_forces_with_five_captions_and_with_all(real_data: Path, tmp_path: Path) -> None:
    captioned = real_layouts.coco_of(tmp_path / "data", real_data)
    job = towers.job("coco-retrieval", towers.slip(tmp_path / "slip.pt"), tmp_path / "data")
    five = check_retrieval(job, captioned, 5, tmp_path)
    every = towers.job("coco-retrieval", job.checkpoint, job.data_root, "all_captions=True")
    more = check_retrieval(every, captioned, None, tmp_path)
    assert (five.metrics["t2i_r1"].n, more.metrics["t2i_r1"].n) == (510, 532)
    assert five.protocol_fingerprint != more.protocol_fingerprint


def test_a_full_size_open_clip_model_scores_as_open_clip_itself(real_data: Path, tmp_path: Path) -> None:
    """ViT-B/16, random: our load, our texts and pictures, against open_clip's own model."""
    import open_clip

    torch.manual_seed(0)
    theirs = open_clip.create_model("ViT-B-16").eval()
    torch.save(theirs.state_dict(), tmp_path / "ViT-B-16.pt")
    for name in ("kitti", "stl10"):
        classes = real_layouts.write_classes(tmp_path / "data", real_data, name)
        job = towers.job(
            BENCHMARKS[name], tmp_path / "ViT-B-16.pt", tmp_path / "data", image_heads=None, text_heads=None
        )
        _, samples, heard = run(job, tmp_path)
        weights = plain_loop.classifier(theirs, classes.names, classes.templates)
        pictures = plain_loop.pictures(theirs, classes.opened(), plain_loop.transform(bicubic=True))
        assert_close(heard["classes"], weights)
        assert_close(heard["images"], pictures)
        scores = pictures @ weights.T
        assert_close(heard["images"] @ heard["classes"].T, scores)
        best = scores.topk(2).values
        sure = (best[:, 0] - best[:, 1] > CLOSE).numpy()
        assert sure.mean() > 0.9
        assert (samples["prediction"].to_numpy()[sure] == scores.argmax(dim=1).numpy()[sure]).all()
