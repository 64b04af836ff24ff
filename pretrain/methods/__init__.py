"""The pretraining methods, one file each. A new one is a file and a line in :data:`METHODS`."""

from pretrain.methods.base import Batch, Method, Progress
from pretrain.methods.clip import CLIP
from pretrain.methods.detailclip import DetailCLIP

METHODS: dict[str, type[Method]] = {"detailclip": DetailCLIP, "clip": CLIP}
"""By the name that a config says."""

__all__ = ["CLIP", "METHODS", "Batch", "DetailCLIP", "Method", "Progress"]
