"""A data set whose samples are made with ``mmcv.ops``: what a data-loader worker must manage by itself."""

from typing import TypedDict

import torch
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.dense import operators

BOXES = torch.tensor([[0.0, 0.0, 8.0, 8.0], [1.0, 0.0, 9.0, 8.0], [20.0, 20.0, 30.0, 30.0]])
SCORES = torch.tensor([0.7, 0.9, 0.8])
KEPT = [1, 2]


class Sample(TypedDict):
    """What one sample holds."""

    kept: Tensor
    pooled: Tensor
    gradient: Tensor
    kind: str


class OperatorDataset(Dataset[Sample]):
    """Sample ``index`` is the NMS of three boxes, and the RoIAlign of a ramp with its gradient."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        from mmcv.ops import RoIAlign, nms

        _, kept = nms(BOXES, SCORES, iou_threshold=0.5)
        ramp = ((index + 1) * torch.arange(16.0)).reshape(1, 1, 4, 4).requires_grad_()
        pooled = RoIAlign(2, spatial_scale=1.0, sampling_ratio=2)(ramp, torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]]))
        pooled.sum().backward()
        assert ramp.grad is not None
        return Sample(kept=kept, pooled=pooled.detach(), gradient=ramp.grad, kind=operators.kind())
