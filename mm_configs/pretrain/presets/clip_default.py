"""CLIP as the SLIP code trains it: one crop without colour changes, title or description at random."""

fields = dict(frozen_patch_projection=False)

views = dict(
    crop_scale=(0.5, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    interpolation="bilinear",
    flip_probability=0.0,
    jitter_probability=0.0,
    brightness=0.4,
    contrast=0.4,
    saturation=0.2,
    hue=0.1,
    grey_probability=0.0,
    blur_probability=0.0,
    blur_sigma=(0.1, 2.0),
    solarise_probability=0.0,
    solarise_threshold=128,
    teacher_view="same",
)

captions = dict(choice="random", overflow="keep_eot")
