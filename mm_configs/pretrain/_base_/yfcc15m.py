"""YFCC15M and the released recipe (DetailCLIP's command line; section 4.1 of the paper agrees where it speaks).

Batch 4096 is 16 GPUs x 256. The learning rate is not scaled with the batch.
"""

data = dict(kind="yfcc15m", metadata="yfcc15m/yfcc15m.parquet", root="yfcc15m")

training = dict(
    epochs=25,
    batch_size=4096,
    lr=5e-4,
    start_lr=1e-6,
    min_lr=1e-5,
    warmup_epochs=1,
    betas=(0.9, 0.98),
    eps=1e-8,
    weight_decay=0.5,
    precision="fp16",
)

execution = dict(
    device_batch=256,
    workers=8,
    checkpoint_blocks=False,
    state_interval=500,
    checkpoint_epochs=5,
    log_interval=50,
    max_broken=1000,
)
