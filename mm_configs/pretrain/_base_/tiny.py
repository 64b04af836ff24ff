"""Towers that two cores train in minutes."""

image_tower = dict(width=128, depth=4, heads=4, patch_size=16, image_size=128, norm_eps=1e-6, mlp_ratio=4.0)
text_tower = dict(width=128, depth=2, heads=2, vocabulary=49408, context=77, mlp_ratio=4.0)
joint = 128
