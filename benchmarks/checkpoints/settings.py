"""Settings that several families share and that the weights do not show: preprocessing, and heads by width."""

from collections.abc import Mapping
from types import MappingProxyType

from benchmarks.checkpoints.architecture import Preprocessing

IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224, "bilinear", 224)
"""Pixel statistics of ImageNet and a bilinear resize to 224: what the SLIP code evaluates with."""

IMAGENET_BICUBIC = Preprocessing(IMAGENET.mean, IMAGENET.std, 256, "bicubic", 224)
"""Pixel statistics of ImageNet and 224 of 256 with a bicubic resize: what MAE, DINO, iBOT and AttMask evaluate with."""

DEIT_WAY = Preprocessing(IMAGENET.mean, IMAGENET.std, 248, "bicubic", 224)
"""The same with nine tenths of the shorter side, as timm evaluates DeiT (DeiT's own script takes 224 of 256)."""

OPENAI = Preprocessing((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), 224, "bicubic", 224)
"""Pixel statistics of OpenAI's CLIP and a bicubic resize to 224, which open_clip has taken over."""

VIT_HEADS: Mapping[int, int] = MappingProxyType({384: 6, 768: 12, 1024: 16})
"""Heads by width of ViT-S, B, L: 64 channels a head."""

DEIT_HEADS: Mapping[int, int] = MappingProxyType({192: 3, **VIT_HEADS})
"""The same with DeiT's ViT-Ti."""

MAE_HEADS: Mapping[int, int] = MappingProxyType({768: 12, 1024: 16, 1280: 16})
"""Heads by width of MAE's ViT-B, L and H."""

SLIP_VIT_HEADS: Mapping[int, int] = MappingProxyType({384: 12, 768: 12, 1024: 16})
"""The same in the SLIP and A-CLIP code, whose ViT-S follows MoCo v3: 12 heads of 32 channels."""

TEXT_HEADS: Mapping[int, int] = MappingProxyType({width: width // 64 for width in (512, 640, 768, 1024, 1280)})
"""Heads by width of CLIP's text towers: 64 channels a head."""

OPENAI_HEADS: Mapping[int, int] = MappingProxyType({width: width // 64 for width in range(64, 4097, 64)})
"""OpenAI's own rule for both towers: 64 channels a head, whatever the width."""

OPEN_CLIP_VIT_HEADS: Mapping[int, int] = MappingProxyType(
    {width: width // 64 for width in (384, 512, 768, 896, 1024)} | dict.fromkeys((1280, 1408, 1664, 1792), 16)
)
"""Heads by width of open_clip's ViT-S, M, B, B-plus and L (64 channels a head) and of H, g, bigG and e (16 heads)."""

OPEN_CLIP_TEXT_HEADS: Mapping[int, int] = MappingProxyType(
    {width: width // 64 for width in (256, 384, 512, 640, 768, 1024, 1280)}
)
"""Heads by width of open_clip's text towers: 64 channels a head."""
