"""CLIP, ViT-B/16, 25 epochs of YFCC15M: the baseline row of Tables 2 and 3.

Its published recipe (that of SLIP) differs from DetailCLIP's in the views alone: learning rate, decay, batch and
schedule are the same.
"""

_base_ = ["_base_/vit-b16.py", "_base_/yfcc15m.py"]

method = "clip"
preset = "default"
row = "CLIP@25"
