"""ADE20K, one 1x1 convolution on the four taps of the frozen tower: Table 1, column "ADE20K linear".

The paper calls the linear runs "end-to-end", but its numbers are at the level of frozen ones and its release points
to iBOT's frozen protocol. The literal reading is ade20k_linear_finetune.
"""

_base_ = ["_base_/ade20k.py"]

head = "linear"
head_channels = None
head_dropout = 0.0
pool_scales = None
auxiliary_channels = None
auxiliary_weight = None

frozen_backbone = True
pyramid = False
drop_path_rate = 0.0

lr = 8e-4
layer_decay = 1.0
decay_biases_and_norms = True

quick = dict(lr=5e-3)
