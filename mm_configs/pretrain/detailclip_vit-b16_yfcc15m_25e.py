"""DetailCLIP, ViT-B/16, 25 epochs of YFCC15M: Tables 1 to 3, and the first row of Table 4."""

_base_ = ["_base_/vit-b16.py", "_base_/yfcc15m.py"]

method = "detailclip"
preset = "default"
row = "DetailCLIP@25"
