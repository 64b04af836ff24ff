"""The cross-entropy of segmentation, averaged over the labelled pixels of all processes."""

from typing import Any

from mmengine.registry import MODELS
from mmseg.models.losses import CrossEntropyLoss
from torch import Tensor

from benchmarks.engine.together import mean_of_all


@MODELS.register_module()
class SharedCrossEntropyLoss(CrossEntropyLoss):  # type: ignore[misc, unused-ignore]
    """MMSegmentation's ``CrossEntropyLoss``, whose mean over labelled pixels is that of the whole batch.

    Left to itself each process divides by its own labelled pixels, and a pixel counts for more where few are labelled.
    On one process nothing differs.
    """

    def forward(self, cls_score: Tensor, label: Tensor, *args: Any, ignore_index: int = -100, **kwargs: Any) -> Tensor:
        """The 0-d loss of (B, C, H, W) logits and (B, H, W) labels; its mean over all processes is the batch's."""
        labelled = mean_of_all((label != ignore_index).sum())
        loss: Tensor = super().forward(
            cls_score, label, *args, avg_factor=labelled, ignore_index=ignore_index, **kwargs
        )
        return loss
