"""Layer-wise learning-rate decay for fine-tuning a ViT backbone.

A tower of L blocks has L + 2 ids: 0 for what comes before the blocks, i + 1 for block i, L + 1 for everything after
them (final norm, pyramid, heads). The learning rate of id k is scaled by decay^(L + 1 - k).
"""

import re
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

EMBEDDING = re.compile(r"backbone\.trunk\.(cls_token|pos_embed|patch_embed|norm_pre)")
BLOCK = re.compile(r"backbone\.trunk\.blocks\.(\d+)\.")
POSITION_OR_CLASS = ("pos_embed", "cls_token")


def layer_id(name: str, depth: int) -> int:
    """The id, 0 to ``depth`` + 1, of the parameter called ``name`` in the whole model."""
    if EMBEDDING.match(name):
        return 0
    block = BLOCK.match(name)
    return int(block[1]) + 1 if block else depth + 1


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor(DefaultOptimWrapperConstructor):  # type: ignore[misc, unused-ignore]
    """Parameter groups by layer and by weight decay.

    ``paramwise_cfg`` takes exactly these keys:

    - ``layer_decay``: the factor from layer to layer, in (0, 1]; 1 means no layer decay.
    - ``depth``: the number of blocks.
    - ``decay_biases_and_norms``: decay one-dimensional tensors and biases too.
    - ``exempt_pos_cls``: no weight decay for the position table and the class token. iBOT's list of exemptions
      means to do so but never matches, so they are decayed there.
    """

    def _validate_cfg(self) -> None:
        """Nothing beyond the types: the protocol that fills ``paramwise_cfg`` has been validated."""

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, **kwargs: Any) -> None:
        """Append one group for each pair of layer id and weight decay that occurs, in order of the ids."""
        depth, decay = self.paramwise_cfg["depth"], self.paramwise_cfg["layer_decay"]
        groups: dict[tuple[int, float], dict[str, Any]] = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            number, weight_decay = layer_id(name, depth), self._weight_decay(name, parameter)
            group = groups.setdefault(
                (number, weight_decay),
                {
                    "params": [],
                    "lr": self.base_lr * decay ** (depth + 1 - number),
                    "weight_decay": weight_decay,
                },
            )
            group["params"].append(parameter)
        params.extend(groups[key] for key in sorted(groups))

    def _weight_decay(self, name: str, parameter: nn.Parameter) -> float:
        plain = parameter.ndim == 1 or name.endswith(".bias")
        if plain and not self.paramwise_cfg["decay_biases_and_norms"]:
            return 0.0
        if self.paramwise_cfg["exempt_pos_cls"] and name.endswith(POSITION_OR_CLASS):
            return 0.0
        return float(self.base_wd)
