"""DetailCLIP as the paper's text has it (arXiv 2409.06809); where the text is silent, as released.

Silent are temperatures, centring, the pairing of views, the averaging over two views, and the decoder's size.
"""

_base_ = ["detailclip_released.py"]

fields = dict(
    # Eq. 9 and section 3.2.3: half of the patches, ranked one by one.
    removal=dict(granularity="patch", keep_ratio=0.5, keep_plus_one=False),
    # Eqs. 6 and 7: KL(student || teacher).
    divergence="kl_student_teacher",
    # Eq. 8: the squared norm of the difference, of pixels as they are.
    pixel_target="raw",
    reconstruction_scale="sum",
    # Eqs. 1 to 5 have one image embedding.
    clip_views="first",
    # A frozen projection is not mentioned.
    frozen_patch_projection=False,
)

# The experiments: crops of 50 to 100 % "similar to SLIP", whose contrastive branch changes no colours, and a larger
# crop for the teacher.
views = dict(
    crop_scale=(0.5, 1.0),
    interpolation="bilinear",
    jitter_probability=0.0,
    grey_probability=0.0,
    blur_probability=0.0,
    solarise_probability=0.0,
    teacher_view="enclosing",
)

# The experiments: the title or the description, at random. It says nothing of over-long captions.
captions = dict(choice="random", overflow="legacy_truncate")
