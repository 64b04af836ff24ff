"""Multi-scale testing of segmentation: one prediction from several sizes of a picture, and from its mirror image."""

from typing import Any

import torch
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder


@MODELS.register_module()
class ManyViewsSegmentor(EncoderDecoder):  # type: ignore[misc, unused-ignore]
    """MMSegmentation's ``EncoderDecoder`` whose test step takes several views of each picture.

    Each view's logits are mirrored back and resized to the picture's own size, as those of a single view are; the
    softmax over the classes is then averaged over the views, and the class of the highest mean wins
    (MMSegmentation 0.12's ``aug_test``, on which iBOT and BEiT ran). MMSegmentation 1's ``SegTTAModel`` computes the
    same but holds every view's logits at once: 150 numbers a pixel and view. Here two such maps are held.
    """

    def test_step(self, data: dict[str, Any]) -> list[Any]:
        """The samples of a batch with ``pred_sem_seg``, (1, H, W) class ids, without logits.

        Args:
            data: what ``TestTimeAug`` makes of a batch: each field is a list over the views.
        """
        merged: list[Any] = []
        totals: list[torch.Tensor] = []
        for view in zip(*data.values(), strict=True):
            samples = super().test_step(dict(zip(data, view, strict=True)))
            shares = [sample.seg_logits.data.softmax(dim=0, dtype=torch.float32) for sample in samples]
            for sample in samples:
                del sample.seg_logits
            if not merged:
                merged, totals = samples, shares
                continue
            for total, share in zip(totals, shares, strict=True):
                total += share
        for sample, total in zip(merged, totals, strict=True):
            sample.set_data({"pred_sem_seg": PixelData(data=total.argmax(dim=0, keepdim=True))})
        return merged
