"""Boxes stay in float32, and the losses are those of the published protocol."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData
from torch.nn import functional

from benchmarks.dense import operators  # noqa: F401 (before MMDetection)
from benchmarks.dense.detection import plan as make_plan
from benchmarks.dense.detection_model import model_config
from tests.dense.coco_world import job, some_instances, write_root


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The model of the shipped protocol, with narrow heads."""
    from mmengine.registry import init_default_scope

    from benchmarks.dense import detection_heads  # noqa: F401

    init_default_scope("mmdet")
    root = write_root(tmp_path_factory.mktemp("coco"), some_instances())
    narrow = ("fpn_channels=8", "rpn_channels=8", "box_channels=8", "box_fc_channels=8", "mask_channels=8",
              "norm_layer='BN'")  # fmt: skip
    plan = make_plan(job(root, *narrow, quick=False))
    return model_config(plan.fields, plan.tower, plan.pixel_statistics, Path("unused"))


def box_head(config: dict[str, Any], stage: int = 0) -> Any:
    from mmdet.registry import MODELS

    return MODELS.build(config["roi_head"]["bbox_head"][stage])


def rois(count: int = 6) -> torch.Tensor:
    """(count, 5): boxes on one picture whose corners half precision cannot hold."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(count, 2, generator=generator) * 500 + 0.123
    return torch.cat(
        [torch.zeros(count, 1), corners, corners + 30 + 300 * torch.rand(count, 2, generator=generator)], 1
    )


def test_regions_keep_their_place_in_half_precision(config: dict[str, Any]) -> None:
    """Features in bfloat16: cut out where float32 has them; MMDetection's own extractor moves the region."""
    from mmdet.registry import MODELS

    exact = MODELS.build(config["roi_head"]["bbox_roi_extractor"])
    own = MODELS.build({**config["roi_head"]["bbox_roi_extractor"], "type": "SingleRoIExtractor"})
    ramp = [torch.arange(0, 1024, stride, dtype=torch.float32) / 1024 for stride in (4, 8, 16, 32)]
    maps = tuple(row.expand(1, 8, len(row), -1).contiguous() for row in ramp)
    half = tuple(level.bfloat16() for level in maps)
    truth = exact(maps, rois())
    torch.testing.assert_close(truth, own(maps, rois()), rtol=0, atol=0)
    assert exact(half, rois()).dtype == torch.float32
    error, coarse = ((pooled.float() - truth).abs().max() for pooled in (exact(half, rois()), own(half, rois())))
    assert error < coarse


def test_heads_hand_out_float32_under_autocast(config: dict[str, Any]) -> None:
    from mmdet.registry import MODELS

    proposals = MODELS.build({**config["rpn_head"], "train_cfg": None, "test_cfg": None})
    masks = MODELS.build(config["roi_head"]["mask_head"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [*proposals.forward_single(torch.rand(1, 8, 4, 4)), *box_head(config)(torch.rand(3, 8, 7, 7)),
                 masks(torch.rand(2, 8, 14, 14))]  # fmt: skip
        assert box_head(config).shared_convs[0](torch.rand(3, 8, 7, 7)).dtype == torch.bfloat16
    assert {value.dtype for value in found} == {torch.float32}
    assert found[3].shape == (3, 320)
    assert found[4].shape == (2, 80, 28, 28)


def giou(box: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Generalised intersection over union, as its paper (arXiv 1902.09630) has it."""
    area, its = (float((b[2] - b[0]) * (b[3] - b[1])) for b in (box, other))
    low, high = torch.maximum(box[:2], other[:2]), torch.minimum(box[2:], other[2:])
    overlap = (high - low).clamp(min=0).prod()
    hull = (torch.maximum(box[2:], other[2:]) - torch.minimum(box[:2], other[:2])).prod()
    union = area + its - overlap
    return overlap / union - (hull - union) / hull


def test_box_loss_is_giou_times_ten_over_all_regions(config: dict[str, Any]) -> None:
    """Two of six regions are objects: their losses are divided by six. Background is the last class."""
    head, regions = box_head(config), rois()
    labels = torch.tensor([3, 80, 80, 17, 80, 80])
    truth = regions[:, 1:] + 5
    offsets = 0.1 * torch.randn(6, 320, generator=torch.Generator().manual_seed(1))
    scores = torch.randn(6, 81, generator=torch.Generator().manual_seed(2))
    weights = (labels < 80).float()[:, None].expand(-1, 4)
    losses = head.loss(scores, offsets, regions, labels, torch.ones(6), truth, weights)
    expected = 0.0
    for row in (0, 3):
        left, top, right, bottom = regions[row, 1:]
        delta = offsets[row].view(80, 4)[labels[row]] * torch.tensor([0.1, 0.1, 0.2, 0.2])
        centre = torch.stack([left + right, top + bottom]) / 2 + delta[:2] * torch.stack([right - left, bottom - top])
        size = torch.stack([right - left, bottom - top]) * delta[2:].exp()
        expected += float(10 * (1 - giou(torch.cat([centre - size / 2, centre + size / 2]), truth[row])))
    assert losses["loss_bbox"] == pytest.approx(expected / 6, rel=1e-4)
    assert losses["loss_cls"] == pytest.approx(float(functional.cross_entropy(scores, labels)), rel=1e-5)


def test_proposal_losses_are_divided_by_the_sampled_anchors(config: dict[str, Any]) -> None:
    """Cross-entropy and SmoothL1 (beta 1/9) of the sampled anchors, both over their number."""
    from mmdet.registry import MODELS

    head = MODELS.build({**config["rpn_head"], "train_cfg": config["train_cfg"]["rpn"], "test_cfg": None})
    labels, sampled = torch.tensor([0, 1, 1, 1]), torch.tensor([1.0, 1.0, 1.0, 0.0])
    scores = torch.tensor([0.3, -0.2, 0.9, 5.0])
    offsets, targets = torch.rand(4, 4), torch.zeros(4, 4)
    on_objects = (labels == 0).float()[:, None].expand(-1, 4)
    cls, box = head.loss_by_feat_single(
        scores.view(1, 1, 2, 2), offsets.T.reshape(1, 4, 2, 2), torch.zeros(1, 4, 4), labels[None], sampled[None],
        targets[None], on_objects[None], avg_factor=3,
    )  # fmt: skip
    wanted = functional.binary_cross_entropy_with_logits(scores[:3], torch.tensor([1.0, 0, 0]), reduction="sum")
    assert cls == pytest.approx(float(wanted) / 3, rel=1e-5)
    assert box == pytest.approx(
        float(functional.smooth_l1_loss(offsets[0], targets[0], reduction="sum", beta=1 / 9)) / 3
    )


def test_boxes_between_stages(config: dict[str, Any]) -> None:
    """Objects move by their own class's offsets, background by the likeliest class's; copies of the truth go."""
    head, regions = box_head(config), rois(3)
    labels = torch.tensor([5, 7, 80])
    scores = torch.zeros(3, 81)
    scores[2, [9, 80]] = torch.tensor([1.0, 2.0])
    offsets = torch.zeros(3, 80, 4)
    for row, label in enumerate((5, 7, 9)):
        offsets[row, label] = torch.tensor([1.0, 0, 0, 0])
    sampled: Any = InstanceData(pos_is_gt=torch.tensor([1, 0], dtype=torch.uint8))

    class Sampled:
        pos_is_gt = sampled.pos_is_gt

    results = head.refine_bboxes(
        [Sampled()],
        {"rois": regions, "cls_score": scores, "bbox_pred": offsets.flatten(1), "bbox_targets": (labels,)},
        [{"img_shape": (2000, 2000)}],
    )
    moved = regions[1:, 1:].clone()
    moved[:, [0, 2]] += 0.1 * (moved[:, 2] - moved[:, 0])[:, None]
    torch.testing.assert_close(results[0].bboxes, moved)
