"""Counts of the dense benchmarks: against the real losses on real tensors, and against laws that they must follow."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.dense.detection_protocol import DetectionFields
from benchmarks.dense.protocol import SegmentationFields
from benchmarks.engine.protocol import load_protocol
from benchmarks.estimate.dense import (
    count_detection,
    count_segmentation,
    largest_size,
    mean_size,
    test_windows,
)
from benchmarks.estimate.models import segmentor
from tests.estimate.architectures import TINY, multiply_adds

test_windows.__test__ = False  # type: ignore[attr-defined]  # no test, though its name begins like one


def segmentation(name: str, *overrides: str, quick: bool = True) -> SegmentationFields:
    return load_protocol(f"segmentation/ade20k_{name}", SegmentationFields, quick, overrides)


def detection(*overrides: str, quick: bool = True) -> DetectionFields:
    return load_protocol("detection/coco_cascade", DetectionFields, quick, overrides)


def real_segmentor(fields: SegmentationFields) -> Any:
    """The model with random weights, that trains."""
    model = segmentor(fields, TINY).to_empty(device="cpu")
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.02)
    for name, buffer in model.named_buffers():
        buffer.fill_(1 if "var" in name else 0)
    return model.train()


def bytes_kept_by(model: nn.Module, loss: Any) -> int:
    """What the backward pass of ``loss`` needs, beside the model's own weights."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    alive, sizes = [], {}

    def note(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        total = loss()
    assert total.requires_grad
    return sum(size for place, size in sizes.items() if place not in own)


@pytest.mark.parametrize("head", ["upernet", "linear", "linear_finetune"])
def test_kept_memory_is_that_of_mmsegmentations_own_loss(head: str) -> None:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    fields = segmentation(head)
    model, images = real_segmentor(fields), torch.randn(2, 3, *fields.crop_size)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 150, (1, *fields.crop_size)))) for _ in images]

    def loss() -> Tensor:
        return torch.stack([value for name, value in model.loss(images, samples).items() if "loss" in name]).sum()

    counted = count_segmentation(fields, TINY, batch=2).step.kept
    assert counted == pytest.approx(bytes_kept_by(model, loss), rel=0.05)


def test_a_frozen_tower_costs_one_forward_pass_and_keeps_nothing() -> None:
    frozen = count_segmentation(segmentation("linear"), TINY, batch=4)
    trained = count_segmentation(segmentation("linear_finetune"), TINY, batch=4)
    tower = 2 * 4 * multiply_adds(TINY, 128)
    assert frozen.step.whole - tower < 0.3 * tower  # the head's three passes
    assert trained.step.whole == pytest.approx(3 * trained.step.forward, rel=0.1)
    assert frozen.step.kept < trained.step.kept
    assert frozen.copies == 0  # of --quick, which is float32


def test_recomputed_blocks_cost_a_forward_pass_more_and_keep_less() -> None:
    plain = count_segmentation(segmentation("linear_finetune"), TINY, batch=4)
    saving = count_segmentation(segmentation("linear_finetune", "execution.checkpoint_blocks=True"), TINY, batch=4)
    blocks = 2 * 4 * (multiply_adds(TINY, 128) - 64 * 3 * 16**2 * 64)
    assert 0.9 * blocks < saving.step.whole - plain.step.whole <= blocks  # it stops at the last that is needed
    assert saving.step.kept < plain.step.kept


def test_memory_per_picture_does_not_depend_on_the_batch() -> None:
    fields = segmentation("upernet", "precision=fp16")
    two, eight = (count_segmentation(fields, TINY, batch) for batch in (2, 8))
    each, of_eight = ((counts.step.kept - counts.copies) / counts.batch for counts in (two, eight))
    assert each == pytest.approx(of_eight, rel=0.05)
    assert two.training == pytest.approx(eight.training)


def test_one_picture_is_counted_as_half_of_two() -> None:
    assert count_segmentation(segmentation("upernet"), TINY, batch=1).batch == 2


@pytest.mark.parametrize(
    ("overrides", "windows"),
    [
        ((), {(512, 512): 2}),
        (("test_stride=(100, 100)",), {(512, 512): 3}),
        (("test_mode='whole'",), {(512, 683): 1}),
        (("test_scales=(0.5, 1.0)", "test_flip=True"), {(256, 341): 2, (512, 512): 4}),
    ],
)
def test_windows_of_a_picture(overrides: tuple[str, ...], windows: dict[tuple[int, int], int]) -> None:
    assert test_windows(segmentation("upernet", *overrides, quick=False)) == windows


def test_sizes_of_training_pictures() -> None:
    fields = detection(quick=False)
    assert largest_size(fields) == (800, 1344)
    sizes = [mean_size(fields, batch) for batch in (1, 2, 8)]
    areas = [height * width for height, width in sizes]
    assert areas == sorted(areas), "larger batches are padded more"
    assert all(height % 32 == width % 32 == 0 for height, width in sizes)
    assert 640 * 853 * 0.8 < areas[0] < 800 * 1333
    assert mean_size(fields, 2) == mean_size(fields, 2)


@pytest.mark.slow
def test_a_detector_grows_with_its_regions() -> None:
    few, many = (count_detection(detection(f"roi_samples={number}"), TINY, batch=2) for number in (32, 64))
    assert few.training < many.training
    assert few.step.kept < many.step.kept
    assert few.scoring == many.scoring
    assert count_detection(detection("rpn_after_nms_test=200"), TINY, batch=2).scoring > few.scoring


@pytest.mark.slow
def test_a_detectors_step_on_two_pictures_is_twice_that_on_one() -> None:
    one, two = (count_detection(detection(), TINY, batch=batch) for batch in (1, 2))
    assert two.step.whole == pytest.approx(2 * one.step.whole, rel=0.01)
    assert two.step.kept == pytest.approx(2 * one.step.kept, rel=0.05)


@pytest.mark.slow
def test_upernet_needs_less_than_published_with_unfused_attention() -> None:
    # MMSegmentation states 9.96 GB for MAE's ViT-B with UperNet on 2 pictures a GPU in fp16, where the matrices of
    # scores are kept: at least 12 blocks x 2 pictures x 12 heads x 1025² x (4 + 2) bytes, here fused away.
    from benchmarks.estimate.plan import _training_memory
    from tests.estimate.architectures import VIT_B

    counts = count_segmentation(segmentation("upernet", quick=False), VIT_B, batch=2)
    memory = _training_memory(counts, batch=2, processes=8)
    scores = 12 * 2 * 12 * 1025**2 * 6
    assert 0.75 < (memory.total + scores) / 9.96e9 < 1.1
