"""The models that are counted are those that are run."""

from pathlib import Path

import pytest
import torch

from benchmarks.dense.backbone import DenseViT, read_backbone
from benchmarks.dense.detection_protocol import DetectionFields
from benchmarks.dense.protocol import SegmentationFields
from benchmarks.engine.protocol import load_protocol
from benchmarks.estimate.models import detector, dual_encoder, segmentor, write_hollow_backbone
from tests.estimate.architectures import CLIP_TEXT, TINY, VIT_B


def millions(model: torch.nn.Module) -> float:
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def test_a_hollow_file_is_read_as_weights_and_takes_no_place(tmp_path: Path) -> None:
    path = write_hollow_backbone(VIT_B, tmp_path)
    architecture, tensors = read_backbone(path)
    assert architecture == VIT_B
    assert sum(tensor.numel() for tensor in tensors.values()) == 85_798_656
    assert path.stat().st_blocks * 512 < 100_000 < path.stat().st_size


def test_a_hollow_file_fits_the_backbone(tmp_path: Path) -> None:
    backbone = DenseViT(str(write_hollow_backbone(TINY, tmp_path)), (64, 64), norm_on_taps=True, pyramid=None)
    assert not backbone.trunk.state_dict()["blocks.0.attn.qkv.weight"].any()


def test_upernet_on_vit_b_has_its_published_size() -> None:
    # BEiT-B with UperNet is published with 163 M parameters; its tables of relative positions count little.
    fields = load_protocol("segmentation/ade20k_upernet", SegmentationFields)
    model = segmentor(fields, VIT_B)
    assert millions(model) == pytest.approx(163, abs=1)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_the_linear_head_is_all_that_is_trained_on_a_frozen_tower() -> None:
    model = segmentor(load_protocol("segmentation/ade20k_linear", SegmentationFields), VIT_B)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert trained == 4 * 768 * 150 + 150


def test_the_detector_has_three_box_and_mask_heads() -> None:
    model = detector(load_protocol("detection/coco_cascade", DetectionFields), TINY)
    assert len(model.roi_head.bbox_head) == len(model.roi_head.mask_head) == 3
    assert not any(isinstance(module, torch.nn.SyncBatchNorm) for module in model.modules())


def test_several_views_are_counted_with_the_model_of_one() -> None:
    fields = load_protocol("segmentation/ade20k_linear", SegmentationFields, overrides=["test_flip=True"])
    assert type(segmentor(fields, TINY)).__name__ == "EncoderDecoder"


def test_the_dual_encoder_has_the_size_of_clips() -> None:
    assert millions(dual_encoder(VIT_B, CLIP_TEXT, 512)) == pytest.approx(149.6, abs=0.3)  # OpenAI's ViT-B/16
