"""MMDetection's parts with box coordinates in float32 whatever the features are.

MMDetection 3 casts regions of interest to the features' type, and decodes boxes from the head's own type: half
precision moves a box on a large picture by whole pixels. Here features become float32 where regions are cut out of
them, and what heads predict becomes float32 where they hand it out; the layers in between run in the protocol's
precision. In float32 nothing differs from MMDetection's own parts.
"""

from typing import Any

from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmengine.registry import MODELS
from torch import Tensor


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


@MODELS.register_module()
class ExactBBoxHead(ConvFCBBoxHead):  # type: ignore[misc, unused-ignore]
    """``ConvFCBBoxHead`` whose scores and offsets are float32."""

    def forward(self, x: Any) -> tuple[Tensor, Tensor]:
        """(n, classes + 1) logits and (n, 4 or 4·classes) offsets."""
        scores, offsets = super().forward(x)
        return scores.float(), offsets.float()


@MODELS.register_module()
class ExactMaskHead(FCNMaskHead):  # type: ignore[misc, unused-ignore]
    """``FCNMaskHead`` whose logits are float32."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, classes, 2·s, 2·s) logits."""
        masks: Tensor = super().forward(x)
        return masks.float()
