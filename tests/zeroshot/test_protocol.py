"""What is fingerprinted: every choice that decides a number, and nothing else."""

import pytest

from benchmarks.data.vocabulary import shipped
from benchmarks.engine.protocol import load_protocol
from benchmarks.records import fingerprint
from benchmarks.suite import BENCHMARKS, get
from benchmarks.zeroshot.protocol import (
    ClassificationFields,
    RetrievalFields,
    default_classification,
    default_retrieval,
)

CLASSIFIED = [item.dataset for item in BENCHMARKS if item.runner == "benchmarks.zeroshot.classification"]


def protocol(dataset: str, *overrides: str) -> str:
    fields = load_protocol("zeroshot/classification", ClassificationFields, overrides=overrides)
    return fingerprint(fields.protocol(dataset, shipped(dataset)))


@pytest.mark.parametrize("dataset", CLASSIFIED)
def test_the_order_of_folders_is_another_protocol_only_where_it_is_another_order(dataset: str) -> None:
    """Otherwise `-o class_order=folders` for a whole table would make equal numbers incomparable."""
    differs = protocol(dataset, "class_order=folders") != protocol(dataset)
    assert differs == (dataset in {"aircraft", "flowers", "sun397"})


@pytest.mark.parametrize("override", ["split=vtab", "pictures=10"])
def test_every_choice_makes_another_protocol(override: str) -> None:
    assert protocol("kitti", override) != protocol("kitti")


@pytest.mark.parametrize("override", ["execution.batch_size=3", "execution.workers=0", "split=slip"])
def test_what_decides_nothing_does_not(override: str) -> None:
    """A split that is the default is the default, named or not."""
    assert protocol("kitti", override) == protocol("kitti")


@pytest.mark.parametrize("override", ["all_captions=True", "pictures=10"])
def test_every_choice_of_retrieval_makes_another_protocol(override: str) -> None:
    changed = load_protocol("zeroshot/retrieval", RetrievalFields, overrides=[override]).protocol("coco")
    assert fingerprint(changed) != fingerprint(default_retrieval(get("coco-retrieval")))


def test_data_sets_differ() -> None:
    prints = {protocol(dataset) for dataset in CLASSIFIED}
    assert len(prints) == len(CLASSIFIED)
    assert fingerprint(default_classification(get("zeroshot/kitti"))) == protocol("kitti")
