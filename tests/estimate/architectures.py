"""Towers that the estimates are tested with."""

from benchmarks.checkpoints import TextArchitecture, VitArchitecture

VIT_B = VitArchitecture(width=768, depth=12, heads=12, patch_size=16, image_size=224, norm_eps=1e-6, mlp_ratio=4.0)
TINY = VitArchitecture(width=64, depth=4, heads=2, patch_size=16, image_size=64, norm_eps=1e-6, mlp_ratio=4.0)
CLIP_TEXT = TextArchitecture(width=512, depth=12, heads=8, vocabulary=49408, context=77, mlp_ratio=4.0)


def multiply_adds(tower: VitArchitecture, side: int) -> float:
    """Of a forward pass on a square picture, by the textbook: 12 N D² + 2 N² D a block, and the patch projection."""
    patches = (side // tower.patch_size) ** 2
    tokens = patches + 1
    block = (4 + 2 * tower.mlp_ratio) * tokens * tower.width**2 + 2 * tokens**2 * tower.width
    return tower.depth * block + patches * 3 * tower.patch_size**2 * tower.width
