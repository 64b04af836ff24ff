"""What is counted without computing equals what is known, computed by hand, or held by real tensors."""

import pytest
import torch
from torch import Tensor, nn

from benchmarks.checkpoints import VitArchitecture
from benchmarks.estimate.counting import Step, count_inference, count_training, weightless, without_content
from benchmarks.estimate.hardware import Precision
from tests.estimate.architectures import TINY, VIT_B, multiply_adds


def step_of(tower: VitArchitecture, side: int, batch: int, precision: Precision = "fp32") -> Step:
    with torch.device("meta"):
        model = tower.build(weight_init="skip", dynamic_img_size=True)
    with weightless():
        without_content(model).train()
        images = torch.empty(batch, 3, side, side)
        return count_training(model, lambda: model(images).float().sum(), precision)


def forward_of(tower: VitArchitecture, side: int) -> Step:
    with torch.device("meta"):
        model = tower.build(weight_init="skip", dynamic_img_size=True)
    with weightless():
        without_content(model).eval()
        images = torch.empty(1, 3, side, side)
        return count_inference(model, lambda: model(images))


def test_vit_b_at_224_is_the_well_known_number() -> None:
    assert forward_of(VIT_B, 224).forward / 2 == pytest.approx(17.6e9, rel=0.02)


@pytest.mark.parametrize("side", [224, 512])
def test_operations_equal_the_textbook(side: int) -> None:
    assert forward_of(VIT_B, side).forward == pytest.approx(2 * multiply_adds(VIT_B, side), rel=1e-9)


def test_training_takes_three_forward_passes() -> None:
    # Backward is twice forward; the patches' gradient in the pixels is not needed, and attention computes its scores
    # once more.
    step = step_of(VIT_B, 224, batch=2)
    assert step.whole / step.forward == pytest.approx(3, rel=0.02)


def test_operations_and_memory_grow_in_proportion_to_the_batch() -> None:
    two, six = step_of(TINY, 64, batch=2), step_of(TINY, 64, batch=6)
    assert six.whole == 3 * two.whole
    assert six.kept == pytest.approx(3 * two.kept, rel=0.01)
    assert six.kept < six.peak <= 3 * two.peak  # beyond what is kept, a part does not depend on the batch


def saved_bytes(model: nn.Module, loss: Tensor, saved: dict[int, int]) -> int:
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    assert loss.requires_grad
    return sum(size for place, size in saved.items() if place not in own)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_kept_is_what_real_tensors_keep(precision: Precision) -> None:
    model = TINY.build().train()
    images = torch.randn(2, 3, 64, 64)
    alive: list[torch.UntypedStorage] = []  # held, so that no place is used twice
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        alive.append(storage)
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    half = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), half:
        loss = model(images).float().sum()
    real = saved_bytes(model, loss, saved) - (images.nbytes if images.data_ptr() in saved else 0)
    assert step_of(TINY, 64, batch=2, precision=precision).kept == pytest.approx(real, rel=0.03)


def test_memory_is_released_when_its_tensors_go() -> None:
    model = nn.Identity()
    with weightless():
        start = torch.empty(256, 1024)  # 1 MiB

        def chain() -> Tensor:
            value = start
            for _ in range(5):
                value = value + 1  # the one before goes
            return value

        step = count_inference(model, chain)
    assert step.kept == 2**20
    assert step.peak == 2 * 2**20


def test_views_take_no_memory() -> None:
    with weightless():
        start = torch.empty(256, 1024)
        step = count_inference(nn.Identity(), lambda: (start + 1).view(1024, 256).t()[:5])
    assert step.peak == 2**20


def test_half_precision_keeps_less() -> None:
    assert step_of(TINY, 64, 64, "fp16").kept < 0.85 * step_of(TINY, 64, 64).kept
