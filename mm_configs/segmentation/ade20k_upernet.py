"""ADE20K, UperNet, fine-tuned end to end: Table 1, column "ADE20K UperNet"."""

_base_ = ["_base_/ade20k.py"]

head = "upernet"
head_channels = 768
head_dropout = 0.1
pool_scales = (1, 2, 3, 6)
auxiliary_channels = 256
auxiliary_weight = 0.4

frozen_backbone = False
pyramid = True
drop_path_rate = 0.1

lr = 8e-5
layer_decay = 0.65
decay_biases_and_norms = False

quick = dict(head_channels=64, auxiliary_channels=32, lr=5e-4)
