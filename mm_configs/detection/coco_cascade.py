"""COCO, Cascade Mask R-CNN, 12 epochs ("1x"): Table 1, columns "COCO AP box" and "AP mask"."""

_base_ = ["_base_/coco.py"]

epochs = 12
drop_epochs = (8, 11)
