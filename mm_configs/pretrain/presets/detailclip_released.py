"""DetailCLIP as its released code trains it: what the published 50-epoch checkpoint comes from."""

fields = dict(
    # Eq. 10. The four weights are command-line flags there, all 1 by default.
    alpha_cls=1.0,
    alpha_patch=1.0,
    alpha_reconstruction=1.0,
    clip_weight=1.0,
    # Of the 49 cells of 2x2 patches, the 24 + 1 with the highest mean attention are kept: 100 of 196 patches.
    removal=dict(granularity="block2x2", keep_ratio=0.5, keep_plus_one=True),
    attention_source="all_layers",
    # The teacher's distribution is the target; the CLS token of one view is compared with the other view's.
    divergence="cross_entropy",
    cls_pairing="cross",
    student_temperature=0.1,
    teacher_cls_temperature=0.04,
    teacher_patch_temperature=0.07,
    teacher_patch_temperature_start=0.04,
    teacher_patch_warmup_epochs=1,
    centering=True,
    center_momentum=0.9,
    # Every patch is standardised, and the error is a mean over its values.
    pixel_target="normalised",
    reconstruction_scale="mean",
    # Both masked views meet the text.
    clip_views="average",
    # The patch projection stays at its random start, as in MoCo v3.
    frozen_patch_projection=True,
    ema_momentum=0.996,
    head=dict(hidden=2048, bottleneck=256, prototypes=8192),
    decoder_heads=16,
)

views = dict(
    crop_scale=(0.14, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    interpolation="bicubic",
    flip_probability=0.0,
    jitter_probability=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.2,
    hue=0.1,
    grey_probability=0.2,
    blur_probability=0.1,
    blur_sigma=(0.1, 2.0),
    solarise_probability=0.2,
    solarise_threshold=128,
    teacher_view="same",
)

# Title and description are joined; a caption of more than 77 tokens loses its end-of-text token.
captions = dict(choice="concatenate", overflow="legacy_truncate")
