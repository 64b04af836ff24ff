"""MMDetection's parts with box coordinates in float32 whatever the features are, and losses of the whole batch.

MMDetection 3 casts regions of interest to the features' type, and decodes boxes from the head's own type: half
precision moves a box on a large picture by whole pixels. Here features become float32 where regions are cut out of
them, and what heads predict becomes float32 where they hand it out; the layers in between run in the protocol's
precision. In float32 nothing differs from MMDetection's own parts.

A loss is divided by how many anchors, regions or objects were drawn. MMDetection's processes each divide by their own
number; here all divide by the mean number of the processes, so that the mean of their losses, and of their gradients,
is that of the whole batch, as one process has it. On one process nothing differs.
"""

from typing import Any

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmengine.registry import MODELS
from torch import Tensor

from benchmarks.engine.together import mean_of_all


@MODELS.register_module()
class ExactRoIExtractor(SingleRoIExtractor):  # type: ignore[misc, unused-ignore]
    """``SingleRoIExtractor`` that leaves the regions as they are."""

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """(n, C, s, s) float32 features of the (n, 5) regions (picture, left, top, right, bottom)."""
        pooled: Tensor = super().forward(tuple(level.float() for level in feats), rois.float(), roi_scale_factor)
        return pooled


@MODELS.register_module()
class ExactRPNHead(RPNHead):  # type: ignore[misc, unused-ignore]
    """``RPNHead`` whose scores and offsets are float32."""

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, A, h, w) logits and (B, 4·A, h, w) offsets of one level."""
        scores, offsets = super().forward_single(x)
        return scores.float(), offsets.float()

    def get_targets(self, anchor_list: list[list[Tensor]], *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """What the losses compare with, and the number of drawn anchors that divides them."""
        *targets, drawn = super().get_targets(anchor_list, *args, **kwargs)
        return (*targets, mean_of_all(anchor_list[0][0].new_tensor(drawn)))


@MODELS.register_module()
class ExactBBoxHead(ConvFCBBoxHead):  # type: ignore[misc, unused-ignore]
    """``ConvFCBBoxHead`` whose scores and offsets are float32."""

    def loss(self, cls_score: Tensor, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The losses of the (n, classes + 1) logits and their boxes, divided by the mean n of all processes."""
        share = share_of_mean(cls_score)
        losses: dict[str, Tensor] = super().loss(cls_score, *args, **kwargs)
        return {name: value * share if name.startswith("loss") else value for name, value in losses.items()}

    def forward(self, x: Any) -> tuple[Tensor, Tensor]:
        """(n, classes + 1) logits and (n, 4 or 4·classes) offsets."""
        scores, offsets = super().forward(x)
        return scores.float(), offsets.float()


@MODELS.register_module()
class ExactMaskHead(FCNMaskHead):  # type: ignore[misc, unused-ignore]
    """``FCNMaskHead`` whose logits are float32."""

    def loss_and_target(self, mask_preds: Tensor, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The loss of the (n, classes, 2·s, 2·s) logits, divided by the mean n of all processes, and its targets."""
        share = share_of_mean(mask_preds)
        told: dict[str, Any] = super().loss_and_target(mask_preds, *args, **kwargs)
        return {**told, "loss_mask": {name: value * share for name, value in told["loss_mask"].items()}}

    def forward(self, x: Tensor) -> Tensor:
        """(n, classes, 2·s, 2·s) logits."""
        masks: Tensor = super().forward(x)
        return masks.float()


def share_of_mean(rows: Tensor) -> Tensor:
    """The number of rows over its mean in all processes: 0-d, 1 on a single process; every process must ask for it."""
    own = rows.new_tensor(len(rows), dtype=torch.float32)
    return own / mean_of_all(own).clamp(min=torch.finfo(torch.float32).tiny)
