"""Counting what a step of a model costs without doing it: fake tensors have shapes and no content.

Every operation of the real modules is dispatched at the real sizes, forward and backward, under autocast where the
protocol has it; what is counted is exact for the operations that run. Attention is the fused kernel, which keeps no
matrix of scores, as on a GPU. The types that autocast chooses are those of torch's rules for the CPU, which differ from
the GPU's in a few operations that count little.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from benchmarks.estimate.hardware import Precision

_TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Step:
    """What one training step of a process costs.

    Attributes:
        forward: floating-point operations of the forward pass; a multiply-add is two.
        whole: the same of forward and backward pass together, recomputation included.
        kept: bytes held between the two: activations, and the weights' copies in half precision.
        peak: the most bytes held at any moment, beside weights and their gradients.
    """

    forward: int
    whole: int
    kept: int
    peak: int


@contextmanager
def weightless() -> Iterator[None]:
    """Tensors made or computed inside have shapes and types, and take no memory."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def without_content(model: nn.Module) -> nn.Module:
    """``model``, laid out on the ``meta`` device, as a weightless one on the CPU; to be called inside `weightless`."""
    return model.to_empty(device="cpu")


def count_training(model: nn.Module, loss: Callable[[], Tensor], precision: Precision) -> Step:
    """Count a training step; to be called inside `weightless`.

    Args:
        model: in the mode that is to be counted; gradients of its trained weights are there already.
        loss: the forward pass.
        precision: of the protocol.
    """
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None
    held = _Held(model)
    with held, _flops() as flops:
        with _autocast(precision):
            value = loss()
        forward, kept = flops.get_total_flops(), held.now
        value.backward()
    return Step(forward, flops.get_total_flops(), kept, held.peak)


def count_inference(model: nn.Module, forward: Callable[[], Any]) -> Step:
    """Count a forward pass in float32 without gradients; to be called inside `weightless`."""
    held = _Held(model)
    with torch.no_grad(), held, _flops() as flops:
        result = forward()
    kept = held.now
    del result
    return Step(flops.get_total_flops(), flops.get_total_flops(), kept, held.peak)


def _autocast(precision: Precision) -> AbstractContextManager[Any]:
    return nullcontext() if precision == "fp32" else torch.autocast("cpu", dtype=_TYPES[precision])


def _flops() -> FlopCounterMode:
    """torch's counter of matrix products, convolutions and attention, taught the CPU's name of the fused attention."""
    aten = torch.ops.aten
    mapping = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    return FlopCounterMode(display=False, custom_mapping=mapping)


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """The two products of attention, from the shapes (B, heads, N, d)."""
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Its five products backward: the scores are computed again."""
    return int(sdpa_backward_flop_count(gradient, query, key, value))


class _Held(TorchDispatchMode):
    """Follows the memory that the results of operations hold, beside a model's weights, buffers and gradients.

    Attributes:
        now: bytes held.
        peak: the most that were.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        own = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters() if p.grad is not None)]
        self._known = {tensor.untyped_storage()._cdata for tensor in own}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func``, and note what it holds from now on."""
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._take(value.untyped_storage())
        return result

    def _take(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, key, storage.nbytes())

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
