"""Classification data sets: which pictures a split has and what class each is of.

- ``split``: what a declaration says, what a reader finds, what a verified split is
- ``files``, ``arrays``, ``extended``: the declarations, one a data set; ``readers`` and ``listing`` serve the first
- ``registry``: all of them by name
- ``load``: from a declaration and a folder to a verified split
"""

from benchmarks.data.classification.load import class_labels, list_split, load_split
from benchmarks.data.classification.registry import CLASSIFICATION
from benchmarks.data.classification.split import ClassificationDataSet, ClassificationSplit, ClassOrder, Listing

__all__ = [
    "CLASSIFICATION",
    "ClassOrder",
    "ClassificationDataSet",
    "ClassificationSplit",
    "Listing",
    "class_labels",
    "list_split",
    "load_split",
]
