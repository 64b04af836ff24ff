"""DetailCLIP on the generated sample: about three minutes on two cores. It shows that the chain works."""

_base_ = ["_base_/tiny.py", "_base_/sample.py"]

method = "detailclip"
preset = "default"
row = None
# A few hundred steps need a faster average than the 0.996 that serves 90,000.
fields = dict(ema_momentum=0.98, head=dict(hidden=256, bottleneck=64, prototypes=1024), decoder_heads=4)
