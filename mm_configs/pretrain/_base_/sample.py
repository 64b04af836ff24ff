"""The generated image-caption pairs, and a recipe for about three minutes on two cores."""

data = dict(kind="index", table="pairs/train.csv", folder="pairs", image="image", captions=("title", "description"))

training = dict(
    epochs=6,
    batch_size=32,
    lr=1e-3,
    start_lr=1e-6,
    min_lr=1e-5,
    warmup_epochs=1,
    betas=(0.9, 0.98),
    eps=1e-8,
    weight_decay=0.1,
    precision="fp32",
)

execution = dict(
    device_batch=32,
    workers=1,
    checkpoint_blocks=False,
    state_interval=50,
    checkpoint_epochs=None,
    log_interval=10,
    max_broken=0,
)
