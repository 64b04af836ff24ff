"""CLIP on the generated sample: about a minute on two cores. It shows that the chain works."""

_base_ = ["_base_/tiny.py", "_base_/sample.py"]

method = "clip"
preset = "default"
row = None
