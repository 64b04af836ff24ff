"""ADE20K: data, augmentation and test protocol, shared by all segmentation benchmarks.

The paper names mmsegmentation, 512x512 crops, 160k iterations and mIoU (section 4.1). Everything else is iBOT's
published ADE20K protocol, the one its release points to. docs/methodology.md says where each value comes from.
"""

# Data. Masks hold 0 for "no class" and 1..150 for the classes; 0 is ignored.
dataset = "ade20k"
train_split = "training"
test_split = "validation"
num_classes = 150

# Training augmentation: resize to fit (long, short) times a random ratio, crop, flip, distort colours.
image_scale = (2048, 512)
scale_ratio = (0.5, 2.0)
crop_size = (512, 512)
crop_max_class_share = 0.75
flip_probability = 0.5
photometric_distortion = True

# Test: keep the aspect ratio, no flip, overlapping windows of crop_size, logits averaged, scored at original size.
# One view of each image; the three last fields are for multi-scale testing (docs/methodology.md, variants).
test_mode = "slide"
test_stride = (341, 341)
test_scales = (1.0,)
test_flip = False
test_smallest_side = None

# Loss: cross-entropy averaged over all pixels, ignored ones included (they add 0 but count).
loss_counts_ignored_pixels = True

# Schedule: AdamW; linear warm-up times a polynomial decay, per iteration; the last iteration's weights are scored.
# batch_size is the total over all processes; scale_lr: how lr follows it away from base_batch_size (docs/scaling.md).
batch_size = 16
base_batch_size = 16
scale_lr = "none"
iterations = 160_000
warmup_iterations = 1500
warmup_ratio = 1e-6
poly_power = 1.0
betas = (0.9, 0.999)
weight_decay = 0.05
exempt_pos_cls = False
precision = "fp16"
norm_layer = "SyncBN"

# How the tower is read: shown in every record, not part of the protocol's fingerprint.
backbone = dict(
    norm_on_taps=True,
    force_imagenet_norm=False,
    position_offset=0.1,
)

# How it is executed: decides time and memory, not the result (but for accumulate under batch norm: docs/scaling.md).
execution = dict(
    workers=2,
    checkpoint_blocks=False,
    state_interval=1000,
    accumulate=1,
)

# What --quick changes: the same chain, everything a quarter as large, a minute on two cores.
quick = dict(
    image_scale=(512, 128),
    crop_size=(128, 128),
    test_stride=(85, 85),
    batch_size=4,
    base_batch_size=4,
    iterations=60,
    warmup_iterations=5,
    precision="fp32",
    execution=dict(workers=0, checkpoint_blocks=False, state_interval=20),
)
