"""Cascade Mask R-CNN (arXiv 1906.09756) over the tower, as a config of MMDetection's parts."""

from pathlib import Path
from typing import Any

from benchmarks.checkpoints import ImageTower
from benchmarks.dense.common import Statistics, image_preprocessor
from benchmarks.dense.detection_protocol import STAGES, DetectionFields

GROUPS = 32
_FINEST = 14
"""A region whose side is below twice this many cells of the finest map is cut out of that map (FPN's 224 / 4 / 4)."""


def pyramid_strides(patch: int, levels: int = 5) -> tuple[float, ...]:
    """Strides of the pyramid over a tower with this patch, in pixels: 4, 8, 16, 32, 64 for a patch of 16."""
    return tuple(patch / 4 * 2**level for level in range(levels))


def model_config(fields: DetectionFields, tower: ImageTower, statistics: Statistics, weights: Path) -> dict[str, Any]:
    """MMDetection's ``CascadeRCNN`` over the tower whose weights lie in the file ``weights``."""
    strides = pyramid_strides(tower.architecture.patch_size, fields.fpn_levels)
    return {
        "type": "CascadeRCNN",
        "data_preprocessor": {
            "type": "DetDataPreprocessor",
            **image_preprocessor(statistics),
            "pad_mask": True,
            "pad_size_divisor": fields.pad_multiple,
        },
        "backbone": {
            "type": "DenseViT",
            "weights": str(weights),
            "image_size": fields.position_size,
            "norm_on_taps": fields.backbone.norm_on_taps,
            "position_offset": fields.backbone.position_offset,
            "pyramid": _norm(fields),
            "drop_path_rate": fields.drop_path_rate,
            "checkpoint_blocks": fields.execution.checkpoint_blocks,
        },
        "neck": {
            "type": "FPN",
            "in_channels": [tower.architecture.width] * 4,
            "out_channels": fields.fpn_channels,
            "num_outs": fields.fpn_levels,
        },
        "rpn_head": _proposal_head(fields, strides),
        "roi_head": _cascade(fields, strides[:4]),
        "train_cfg": {
            "rpn": _proposal_training(fields),
            "rpn_proposal": _proposals(fields, fields.rpn_before_nms_training, fields.rpn_after_nms_training),
            "rcnn": [_stage_training(fields, iou) for iou in fields.stage_ious],
        },
        "test_cfg": {
            "rpn": _proposals(fields, fields.rpn_before_nms_test, fields.rpn_after_nms_test),
            "rcnn": {
                "score_thr": fields.score_threshold,
                "nms": {"type": "nms", "iou_threshold": fields.nms_iou},
                "max_per_img": fields.max_per_image,
                "mask_thr_binary": fields.mask_threshold,
            },
        },
    }


def _norm(fields: DetectionFields) -> dict[str, Any]:
    """MMEngine's config of the norm layer."""
    groups = {"num_groups": GROUPS} if fields.norm_layer == "GN" else {}
    return {"type": fields.norm_layer, "requires_grad": True, **groups}


def _coder(stds: tuple[float, ...]) -> dict[str, Any]:
    """Boxes as offsets from others; both log sides are clipped at ln(1000 / 16)."""
    return {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": list(stds)}


def _proposal_head(fields: DetectionFields, strides: tuple[float, ...]) -> dict[str, Any]:
    """The region proposal network: one convolution, then a score and a box for each anchor."""
    return {
        "type": "ExactRPNHead",
        "in_channels": fields.fpn_channels,
        "feat_channels": fields.rpn_channels,
        "anchor_generator": {
            "type": "AnchorGenerator",
            "scales": [fields.anchor_scale],
            "ratios": list(fields.anchor_ratios),
            "strides": list(strides),
        },
        "bbox_coder": _coder(fields.rpn_stds),
        "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
        "loss_bbox": {"type": "SmoothL1Loss", "beta": fields.rpn_box_beta, "loss_weight": 1.0},
    }


def _cascade(fields: DetectionFields, strides: tuple[float, ...]) -> dict[str, Any]:
    """Box and mask heads of all stages."""
    return {
        "type": "CascadeRoIHead",
        "num_stages": STAGES,
        "stage_loss_weights": list(fields.stage_weights),
        "bbox_roi_extractor": _extractor(fields, fields.box_roi_size, strides),
        "bbox_head": [_box_head(fields, stds) for stds in fields.stage_stds],
        "mask_roi_extractor": _extractor(fields, fields.mask_roi_size, strides),
        "mask_head": {
            "type": "ExactMaskHead",
            "num_convs": fields.mask_convs,
            "in_channels": fields.fpn_channels,
            "conv_out_channels": fields.mask_channels,
            "num_classes": fields.num_classes,
            "loss_mask": {"type": "CrossEntropyLoss", "use_mask": True, "loss_weight": 1.0},
        },
    }


def _extractor(fields: DetectionFields, size: int, strides: tuple[float, ...]) -> dict[str, Any]:
    """RoIAlign with as many samples as a bin has cells, from the level that fits the region's size."""
    return {
        "type": "ExactRoIExtractor",
        "roi_layer": {"type": "RoIAlign", "output_size": size, "sampling_ratio": 0},
        "out_channels": fields.fpn_channels,
        "featmap_strides": list(strides),
        "finest_scale": _FINEST * strides[0],
    }


def _box_head(fields: DetectionFields, stds: tuple[float, ...]) -> dict[str, Any]:
    """Convolutions with norm layers, one fully connected layer, then classes and boxes."""
    losses: dict[str, dict[str, Any]] = {
        "giou": {"type": "GIoULoss", "loss_weight": fields.box_loss_weight},
        "smooth_l1": {"type": "SmoothL1Loss", "beta": 1.0, "loss_weight": fields.box_loss_weight},
    }
    return {
        "type": "ExactBBoxHead",
        "num_shared_convs": fields.box_convs,
        "num_shared_fcs": 1,
        "in_channels": fields.fpn_channels,
        "conv_out_channels": fields.box_channels,
        "fc_out_channels": fields.box_fc_channels,
        "roi_feat_size": fields.box_roi_size,
        "num_classes": fields.num_classes,
        "norm_cfg": _norm(fields),
        "bbox_coder": _coder(stds),
        "reg_class_agnostic": fields.class_agnostic_boxes,
        "reg_decoded_bbox": fields.box_loss == "giou",
        "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
        "loss_bbox": losses[fields.box_loss],
    }


def _proposals(fields: DetectionFields, before: int, after: int) -> dict[str, Any]:
    """How many proposals are kept before and after each level's own non-maximum suppression."""
    return {
        "nms_pre": before,
        "max_per_img": after,
        "nms": {"type": "nms", "iou_threshold": fields.rpn_nms_iou},
        "min_bbox_size": 0,
    }


def _proposal_training(fields: DetectionFields) -> dict[str, Any]:
    """Which anchors are objects, and how many are drawn."""
    return {
        "assigner": {
            "type": "MaxIoUAssigner",
            "pos_iou_thr": fields.rpn_positive_iou,
            "neg_iou_thr": fields.rpn_negative_iou,
            "min_pos_iou": fields.rpn_best_anchor_iou,
            "match_low_quality": True,
            "ignore_iof_thr": -1,  # crowds do not act as regions to be ignored
        },
        "sampler": {
            "type": "RandomSampler",
            "num": fields.rpn_samples,
            "pos_fraction": fields.rpn_positive_share,
            "neg_pos_ub": -1,
            "add_gt_as_proposals": False,
        },
        "allowed_border": fields.rpn_allowed_border,
        "pos_weight": -1,
        "debug": False,
    }


def _stage_training(fields: DetectionFields, iou: float) -> dict[str, Any]:
    """Which proposals are objects in one stage, and how many are drawn."""
    return {
        "assigner": {
            "type": "MaxIoUAssigner",
            "pos_iou_thr": iou,
            "neg_iou_thr": iou,
            "min_pos_iou": iou,
            "match_low_quality": False,
            "ignore_iof_thr": -1,
        },
        "sampler": {
            "type": "RandomSampler",
            "num": fields.roi_samples,
            "pos_fraction": fields.roi_positive_share,
            "neg_pos_ub": -1,
            "add_gt_as_proposals": fields.roi_add_truth,
        },
        "mask_size": 2 * fields.mask_roi_size,
        "pos_weight": -1,
        "debug": False,
    }
