"""Mixed precision, with the rule for machines that cannot do what a protocol asks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS

Precision = Literal["fp32", "fp16", "bf16"]


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):  # type: ignore[misc, unused-ignore]
    """Forward passes under bfloat16 autocast; no loss scaling is needed. MMEngine's own wrapper refuses the CPU.

    Args:
        device_type: ``"cpu"`` or ``"cuda"``.
    """

    def __init__(self, device_type: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.device_type = device_type

    @contextmanager
    def optim_context(self, model: torch.nn.Module) -> Iterator[None]:
        """Autocast around the forward pass and the loss."""
        with super().optim_context(model), torch.autocast(self.device_type, dtype=torch.bfloat16):
            yield


def precision_used(asked: Precision, device: torch.device) -> Precision:
    """What runs when a protocol asks for ``asked``: fp16 needs a GPU and becomes fp32 on the CPU."""
    return "fp32" if asked == "fp16" and device.type == "cpu" else asked


def optim_wrapper(used: Precision, device: torch.device) -> dict[str, Any]:
    """The MMEngine config of the optimiser wrapper for a precision that ``precision_used`` returned."""
    if used == "fp16":
        return {"type": "AmpOptimWrapper", "dtype": "float16", "loss_scale": "dynamic"}
    if used == "bf16":
        return {"type": "Bf16OptimWrapper", "device_type": device.type}
    return {"type": "OptimWrapper"}
