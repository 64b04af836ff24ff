"""The total batch stays the protocol's however it is divided, and the learning rate follows a stated rule."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.dense.common import norm_batch, optimiser_config, with_norm_batch
from benchmarks.dense.detection_protocol import DetectionFields
from benchmarks.dense.protocol import SegmentationFields
from benchmarks.engine.division import Division, divide, divisors, scaled_rate
from benchmarks.engine.protocol import load_protocol
from benchmarks.errors import OptionError

CPU = torch.device("cpu")
GPU = torch.device("cuda", 0)
few = st.integers(1, 40)


@given(batch=few, processes=few, accumulate=few)
def test_no_picture_is_lost_or_added(batch: int, processes: int, accumulate: int) -> None:
    """Either the parts add up, or the line names numbers that do, and taking them works."""
    try:
        division = divide(batch, processes, accumulate)
    except OptionError as error:
        assert batch % (processes * accumulate)
        assert f"{processes} processes and execution.accumulate={accumulate}" in str(error)
        totals = str(error).split("choose batch_size=")[1].split(",")[0].split(" or ")
        assert all(divide(int(total), processes, accumulate).part >= 1 for total in totals)
    else:
        assert division.part * processes * accumulate == batch


def test_the_numbers_that_divide_are_named() -> None:
    with pytest.raises(OptionError, match=r"one of 1, 2, 4, 8, 16, or choose batch_size=12 or 18, which is another"):
        divide(16, 3, 2)
    with pytest.raises(OptionError, match=r"choose batch_size=32, which"):
        divide(16, 32, 1)
    assert divisors(12) == [1, 2, 3, 4, 6, 12]


def test_a_record_says_what_computed() -> None:
    assert divide(16, 1, 1).describe("cpu") == "cpu"
    assert divide(16, 8, 1).describe("cuda (A100)") == "8 x cuda (A100)"
    assert divide(16, 2, 4).describe("cpu") == "2 x cpu in 4 parts of 2 images"


def test_the_rate_follows_the_rule_that_was_named() -> None:
    assert scaled_rate(1e-4, 64, 16, "none") == 1e-4
    assert scaled_rate(1e-4, 64, 16, "linear") == pytest.approx(4e-4)
    assert scaled_rate(1e-4, 4, 16, "linear") == pytest.approx(2.5e-5)
    assert scaled_rate(1e-4, 64, 16, "sqrt") == pytest.approx(2e-4)


@pytest.mark.parametrize(
    ("name", "schema"),
    [("segmentation/ade20k_upernet", SegmentationFields), ("detection/coco_cascade", DetectionFields)],
)
def test_the_rate_reaches_the_optimiser(name: str, schema: type[SegmentationFields | DetectionFields]) -> None:
    """As shipped nothing is scaled, also not the quick variant; another batch scales only if that was asked for."""

    def rate(*overrides: str, quick: bool = False) -> float:
        fields = load_protocol(name, schema, quick, overrides)
        value: float = optimiser_config(fields, 12, CPU)["optimizer"]["lr"] / fields.lr
        return value

    for quick in (False, True):
        assert rate("scale_lr=linear", quick=quick) == rate("batch_size=32", quick=quick) == 1
    assert rate("batch_size=32", "scale_lr=linear") == 2
    assert rate("batch_size=64", "scale_lr=sqrt") == 2


def test_accumulation_reaches_the_optimiser() -> None:
    fields = load_protocol("segmentation/ade20k_upernet", SegmentationFields, False, ["execution.accumulate=4"])
    assert optimiser_config(fields, 12, CPU)["accumulative_counts"] == 4


@pytest.mark.parametrize(
    ("division", "device", "expected"),
    [
        (Division(16, 1, 1), CPU, {"SyncBN": 16, "BN": 16}),
        (Division(16, 8, 1), GPU, {"SyncBN": 16, "BN": 2}),
        (Division(16, 1, 4), GPU, {"SyncBN": 4, "BN": 4}),
        (Division(16, 2, 4), GPU, {"SyncBN": 4, "BN": 2}),
        (Division(16, 2, 1), CPU, {"SyncBN": 8, "BN": 8}),
    ],
)
def test_what_batch_norm_sees(division: Division, device: torch.device, expected: dict[str, int]) -> None:
    """It decides the result, so other statistics than the whole batch's are seen in the protocol's fingerprint."""
    assert norm_batch("SyncBN", division, device) == expected["SyncBN"]
    assert norm_batch("BN", division, device) == expected["BN"]
    assert norm_batch("GN", division, device) is None


def test_only_other_statistics_make_another_protocol() -> None:
    protocol = {"batch_size": 16, "lr": 1.0}
    assert with_norm_batch(protocol, 16) == with_norm_batch(protocol, None) == protocol
    assert with_norm_batch(protocol, 4) == {**protocol, "norm_batch": 4}
