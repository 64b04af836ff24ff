"""Where CLIP_benchmark's protocol is ours (the same names, prompts and pictures), its own code gives our numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval
from open_clip import get_tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tests.talk import Talk
from tests.zeroshot import plain_loop, real_layouts, towers
from tests.zeroshot.real_layouts import Captioned, Classes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_data,
    pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning"),  # theirs
    pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true"),
]

Item = tuple[Tensor, Any]


class Items(Dataset[Item]):
    """A data set as CLIP_benchmark walks it: pixels, and the label or the captions."""

    def __init__(self, pixels: Sequence[Tensor], targets: Sequence[Any], classes: Sequence[str] = ()) -> None:
        self.pixels, self.targets, self.classes = pixels, targets, classes

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Item:
        return self.pixels[index], self.targets[index]


def captioned_batch(items: Sequence[Item]) -> tuple[Tensor, list[Any]]:
    return torch.stack([pixels for pixels, _ in items]), [captions for _, captions in items]


def their_accuracies(model: Any, classes: Classes) -> dict[str, float]:
    way = plain_loop.transform()
    items = Items([way(picture) for picture in classes.opened()], classes.labels, classes.names)
    templates = [template.replace("{}", "{c}") for template in classes.templates]
    found: dict[str, float] = zeroshot_classification.evaluate(
        model, DataLoader(items, 64), get_tokenizer("ViT-B-16"), classes.names, templates, "cpu", amp=False
    )
    return found


@pytest.mark.parametrize("name", ["gtsrb", "stl10", "kitti", "clevr"])
def test_accuracies_equal(name: str, real_data: Path, tmp_path: Path) -> None:
    classes = real_layouts.write_classes(tmp_path / "data", real_data, name)
    job = towers.job(f"zeroshot/{name}", towers.slip(tmp_path / "slip.pt"), tmp_path / "data")
    record = Talk().session(tmp_path).run(job)
    assert record is not None
    theirs = their_accuracies(towers.model_of(job.checkpoint), classes)
    assert record.metrics["top1"].value == pytest.approx(100 * theirs["acc1"])
    assert record.metrics["mean_per_class"].value == pytest.approx(100 * theirs["mean_per_class_recall"])
    if len(classes.names) > 5:
        assert record.metrics["top5"].value == pytest.approx(100 * theirs["acc5"])


def their_recalls(model: Any, captioned: Captioned) -> dict[str, float]:
    way = plain_loop.transform()
    items = Items([way(picture) for picture in captioned.opened()], captioned.captions)
    loader = DataLoader(items, 64, collate_fn=captioned_batch)
    found: dict[str, float] = zeroshot_retrieval.evaluate(
        model, loader, get_tokenizer("ViT-B-16"), "cpu", amp=False, recall_k_list=[1, 5, 10]
    )
    return found


@pytest.mark.parametrize(("name", "overrides"), [("flickr8k", ()), ("coco", ("all_captions=True",))])
def test_recalls_equal(name: str, overrides: tuple[str, ...], real_data: Path, tmp_path: Path) -> None:
    """CLIP_benchmark takes all captions there are; Flickr8k has five of each picture anyway."""
    lay_out = {"flickr8k": real_layouts.flickr8k_of, "coco": real_layouts.coco_of}[name]
    captioned = lay_out(tmp_path / "data", real_data)
    job = towers.job(f"{name}-retrieval", towers.slip(tmp_path / "slip.pt"), tmp_path / "data", *overrides)
    record = Talk().session(tmp_path).run(job)
    assert record is not None
    theirs = their_recalls(towers.model_of(job.checkpoint), captioned)
    for k in (1, 5, 10):
        assert record.metrics[f"i2t_r{k}"].value == pytest.approx(100 * theirs[f"text_retrieval_recall@{k}"])
        assert record.metrics[f"t2i_r{k}"].value == pytest.approx(100 * theirs[f"image_retrieval_recall@{k}"])
    assert record.metrics["t2i_r10"].value > 0
