"""The paper's towers: ViT-B/16 at 224 pixels, CLIP's text transformer of width 512 (QuickGELU)."""

image_tower = dict(width=768, depth=12, heads=12, patch_size=16, image_size=224, norm_eps=1e-6, mlp_ratio=4.0)
text_tower = dict(width=512, depth=12, heads=8, vocabulary=49408, context=77, mlp_ratio=4.0)
joint = 512
