"""ADE20K, one 1x1 convolution on the four taps, the tower trained along: the paper's words taken literally.

Optimiser and stochastic depth are those of the UperNet runs. It fills no cell of the paper's tables.
"""

_base_ = ["ade20k_linear.py"]

frozen_backbone = False
drop_path_rate = 0.1

lr = 8e-5
layer_decay = 0.65
decay_biases_and_norms = False

quick = dict(lr=5e-4)
