"""CLIP, ViT-B/16, 25 epochs of YFCC15M: the baseline row of Tables 2 and 3.

Its published recipe (that of SLIP) has the learning rate, decay, batch and schedule of DetailCLIP's. It differs in the
views (one crop of 50 to 100 %, bilinear, without colour changes), in the captions (title or description at random) and
in the patch projection, which is trained.
"""

_base_ = ["_base_/vit-b16.py", "_base_/yfcc15m.py"]

method = "clip"
preset = "default"
row = "CLIP@25"
