"""The data set as MMEngine loads it: what a sample holds depends on (seed, epoch, index) alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import DATASETS, FUNCTIONS
from torch.utils.data import DataLoader, Sampler

import pretrain.data as data
from benchmarks.engine.sampling import SampleKey
from benchmarks.errors import DataError
from pretrain.data.captions import tokenize
from tests.pretrain.data.makers import TEXTS, jpeg, write_csv
from tests.pretrain.sections import caption_section, view_section

INDEX = {"kind": "index", "table": "pairs.csv", "folder": "images"}


def pairs(root: Path, **changes: Any) -> data.ImageTextPairs:
    arguments = {
        "source": INDEX,
        "views": view_section(),
        "captions": caption_section(),
        "count": 2,
        "size": 16,
        "seed": 0,
        "data_root": str(root),
    }
    built: data.ImageTextPairs = DATASETS.build({"type": "ImageTextPairs", **arguments, **changes})
    return built


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first["broken"] == second["broken"] and all(
        torch.equal(first[name], second[name]) for name in first if name != "broken"
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_csv(tmp_path)
    return tmp_path


def test_sample_holds_views_tokens_and_no_broken_names(root: Path) -> None:
    sample = pairs(root)[SampleKey(0, 2)]
    assert set(sample) == {"views", "tokens", "broken"}
    assert sample["views"].shape == (2, 3, 16, 16)
    assert torch.equal(sample["tokens"], tokenize(" ".join(TEXTS[2]), "keep_eot"))
    assert sample["broken"] == []


def test_what_mmengine_asks_of_a_data_set(root: Path) -> None:
    dataset = pairs(root)
    dataset.full_init()
    assert dataset.metainfo == {}
    assert len(dataset) == 3


def test_sample_depends_on_seed_epoch_and_index_alone(root: Path) -> None:
    dataset = pairs(root, captions=caption_section(choice="random"))
    first = dataset[SampleKey(1, 0)]
    torch.manual_seed(99)
    before = torch.get_rng_state()
    dataset[SampleKey(0, 2)]
    assert same(first, dataset[SampleKey(1, 0)])
    assert torch.equal(before, torch.get_rng_state()), "the model's randomness was disturbed"
    for other in (dataset[SampleKey(2, 0)], pairs(root, seed=1)[SampleKey(1, 0)]):
        assert not torch.equal(first["views"], other["views"])


class Keys(Sampler[SampleKey]):
    def __iter__(self) -> Iterator[SampleKey]:
        return iter([SampleKey(epoch, index) for epoch in range(2) for index in range(3)])

    def __len__(self) -> int:
        return 6


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_see_what_the_main_process_sees(root: Path, context: str) -> None:
    (root / "images" / "1.jpg").unlink()
    dataset = pairs(root, views=view_section(teacher_view="enclosing"))
    collate = FUNCTIONS.get("collate_pairs")
    alone = list(DataLoader(dataset, 2, sampler=Keys(), collate_fn=collate))
    shared = list(
        DataLoader(dataset, 2, sampler=Keys(), collate_fn=collate, num_workers=2, multiprocessing_context=context)
    )
    assert len(alone) == 3
    assert all(same(first, second) for first, second in zip(alone, shared, strict=True))


def test_batch_has_the_contracted_shapes(root: Path) -> None:
    dataset = pairs(root, views=view_section(teacher_view="enclosing"), count=3)
    batch = data.collate_pairs([dataset[SampleKey(0, index)] for index in range(3)])
    assert {name: (tuple(value.shape), value.dtype) for name, value in batch.items() if name != "broken"} == {
        "views": ((3, 3, 3, 16, 16), torch.uint8),
        "enclosing": ((3, 3, 16, 16), torch.uint8),
        "boxes": ((3, 3, 4), torch.float32),
        "tokens": ((3, 77), torch.int64),
    }
    assert batch["broken"] == []


@pytest.mark.parametrize("content", [None, b"", b"I am a text file", jpeg(1)[:-80]])
def test_broken_image_is_replaced_by_another_pair_and_named(root: Path, content: bytes | None) -> None:
    path = root / "images" / "1.jpg"
    path.unlink() if content is None else path.write_bytes(content)
    dataset = pairs(root)
    sample = dataset[SampleKey(0, 1)]
    assert set(sample["broken"]) == {"1.jpg"}
    replacements = {tuple(tokenize(" ".join(filter(None, TEXTS[index])), "keep_eot").tolist()) for index in (0, 2)}
    assert tuple(sample["tokens"].tolist()) in replacements
    assert same(sample, dataset[SampleKey(0, 1)])
    chosen = {tuple(dataset[SampleKey(epoch, 1)]["tokens"].tolist()) for epoch in range(20)}
    assert chosen == replacements


def test_path_that_no_file_can_have_is_a_broken_image(root: Path) -> None:
    rows = [{"image": name, "title": "a square", "description": ""} for name in ("0.jpg", "1\0.jpg", "2.jpg")]
    (root / "pairs.json").write_text(json.dumps(rows))
    dataset = pairs(root, source={**INDEX, "table": "pairs.json"})
    assert dataset[SampleKey(0, 0)]["broken"] == []
    assert set(dataset[SampleKey(0, 1)]["broken"]) == {"1\0.jpg"}


def test_pair_without_text_is_replaced_and_named(root: Path) -> None:
    dataset = pairs(root, source={**INDEX, "captions": ["description"]})
    assert dataset[SampleKey(0, 0)]["broken"] == []
    assert set(dataset[SampleKey(0, 1)]["broken"]) == {"1.jpg"}


def test_names_of_a_batch_are_gathered(root: Path) -> None:
    for index in (0, 1):
        (root / "images" / f"{index}.jpg").unlink()
    dataset = pairs(root)
    batch = data.collate_pairs([dataset[SampleKey(0, index)] for index in range(3)])
    assert {"0.jpg", "1.jpg"} <= set(batch["broken"])


def test_data_set_of_broken_images_gives_up_with_one_line(root: Path) -> None:
    for index in range(3):
        (root / "images" / f"{index}.jpg").unlink()
    with pytest.raises(DataError, match=r"2\.jpg and 9 other") as caught:
        pairs(root)[SampleKey(0, 2)]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"captions": caption_section(choice="first")},
        {"views": view_section(crop_scale=(0.9, 1.0))},
        {"source": {**INDEX, "captions": ["title"]}},
        {"seed": 1},
        {"size": 8},
        {"count": 1},
    ],
)
def test_every_argument_acts(root: Path, change: dict[str, Any]) -> None:
    assert not same(pairs(root)[SampleKey(0, 0)], pairs(root, **change)[SampleKey(0, 0)])


@pytest.mark.real_data
def test_real_flickr8k_batch(real_data: Path) -> None:
    source = {"kind": "karpathy", "annotations": "flickr8k/dataset_flickr8k.json", "folder": "flickr8k/images"}
    dataset = pairs(real_data, source=source, size=32)
    batch = data.collate_pairs([dataset[SampleKey(0, index)] for index in range(8)])
    assert batch["broken"] == []
    assert (batch["tokens"].argmax(dim=1) > 3).all()
