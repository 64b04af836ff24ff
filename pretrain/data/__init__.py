"""Image–text pairs for pretraining: where they come from, how a caption is chosen, and the batches they make.

Importing this package registers ``ImageTextPairs`` and ``collate_pairs`` with MMEngine.
"""

from pretrain.data.fields import CaptionFields, SourceFields
from pretrain.data.pairs import ImageTextPairs, collate_pairs
from pretrain.data.sources import SOURCES, open_source
from pretrain.data.yfcc15m import convert_metadata

__all__ = [
    "SOURCES",
    "CaptionFields",
    "ImageTextPairs",
    "SourceFields",
    "collate_pairs",
    "convert_metadata",
    "open_source",
]
