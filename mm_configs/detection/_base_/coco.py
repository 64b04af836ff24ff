"""COCO instances of 2017: data, augmentation, detector and test protocol, shared by all detection benchmarks.

The paper names Cascade Mask R-CNN and nothing else. Everything here is iBOT's published COCO protocol, the one its
release points to, on MMDetection 2. docs/methodology.md says where each value comes from.
"""

# Data. Pictures on which nothing is annotated, or with a side below smallest_side, are not trained on. Batches hold
# pictures of one orientation, so that little of them is padding.
dataset = "coco"
train_split = "train2017"
test_split = "val2017"
num_classes = 80
smallest_side = 32
group_by_orientation = True

# Training augmentation: flip; then resize, or, with crop_probability, resize to a smaller size, crop, and resize.
# Sizes are those of the short side; the long one stays within longest_side.
flip_probability = 0.5
short_sides = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
longest_side = 1333
crop_probability = 0.5
crop_short_sides = (400, 500, 600)
crop_range = (384, 600)
crops_without_boxes = True
pad_multiple = 32

# Test: (longest, shortest) side, aspect ratio kept, no flip.
test_scale = (1333, 800)

# Tower and pyramid. The position table is stored and trained at position_size (height, width).
position_size = (672, 1092)
drop_path_rate = 0.2
norm_layer = "SyncBN"
fpn_channels = 256
fpn_levels = 5

# Region proposals. Anchors have anchor_scale times the stride as side, and height over width as ratio.
anchor_scale = 8
anchor_ratios = (0.5, 1.0, 2.0)
rpn_channels = 256
rpn_stds = (1.0, 1.0, 1.0, 1.0)
rpn_positive_iou = 0.7
rpn_negative_iou = 0.3
rpn_best_anchor_iou = 0.3
rpn_allowed_border = 0
rpn_samples = 256
rpn_positive_share = 0.5
rpn_box_beta = 1 / 9
rpn_nms_iou = 0.7
rpn_before_nms_training = 2000
rpn_after_nms_training = 2000
rpn_before_nms_test = 1000
rpn_after_nms_test = 1000

# The cascade: a box head and a mask head a stage.
stage_weights = (1.0, 0.5, 0.25)
stage_ious = (0.5, 0.6, 0.7)
stage_stds = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))
roi_samples = 512
roi_positive_share = 0.25
roi_add_truth = True
box_roi_size = 7
box_convs = 4
box_channels = 256
box_fc_channels = 1024
class_agnostic_boxes = False
box_loss = "giou"
box_loss_weight = 10.0
mask_roi_size = 14
mask_convs = 4
mask_channels = 256

# Detections.
score_threshold = 0.05
nms_iou = 0.5
max_per_image = 100
mask_threshold = 0.5

# Schedule: AdamW; linear warm-up; the rate falls by drop_factor after each of drop_epochs; the last weights are scored.
# iterations=None: as many as the epochs take. A number cuts the training short, and the drops keep their share of it.
# batch_size is the total over all processes; scale_lr: how lr follows it away from base_batch_size (docs/scaling.md).
batch_size = 16
base_batch_size = 16
scale_lr = "none"
iterations = None
drop_factor = 0.1
warmup_iterations = 500
warmup_ratio = 1e-3
lr = 1e-4
betas = (0.9, 0.999)
weight_decay = 0.05
decay_biases_and_norms = False
exempt_pos_cls = False
layer_decay = 0.75
precision = "fp16"

# How the tower is read: shown in every record, not part of the protocol's fingerprint.
backbone = dict(
    norm_on_taps=False,
    force_imagenet_norm=False,
    position_offset=0.1,
)

# How it is executed: decides time and memory, not the result (but for accumulate under batch norm: docs/scaling.md).
execution = dict(
    workers=2,
    checkpoint_blocks=True,
    state_interval=500,
    accumulate=1,
)

# What --quick changes: the same chain, a fifth as large, one or two minutes on two cores.
quick = dict(
    short_sides=(96, 128, 160),
    longest_side=256,
    crop_short_sides=(96, 128),
    crop_range=(80, 128),
    test_scale=(256, 160),
    position_size=(160, 256),
    fpn_channels=64,
    anchor_scale=4,
    rpn_channels=64,
    rpn_samples=64,
    rpn_before_nms_training=200,
    rpn_after_nms_training=200,
    rpn_before_nms_test=100,
    rpn_after_nms_test=100,
    roi_samples=64,
    box_convs=1,
    box_channels=64,
    box_fc_channels=128,
    mask_convs=1,
    mask_channels=64,
    batch_size=2,
    base_batch_size=2,
    iterations=60,
    warmup_iterations=5,
    lr=5e-4,
    precision="fp32",
    execution=dict(workers=0, checkpoint_blocks=False, state_interval=20),
)
