"""COCO, Cascade Mask R-CNN, 36 epochs ("3x"), as iBOT's config file has it before its command line overrides it.

It fills no cell of the paper's tables.
"""

_base_ = ["_base_/coco.py"]

epochs = 36
drop_epochs = (27, 33)
