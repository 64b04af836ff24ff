"""All classification data sets by name. A new one is one declaration."""

from collections.abc import Mapping

from benchmarks.data.classification.arrays import ARRAYS
from benchmarks.data.classification.extended import EXTENDED
from benchmarks.data.classification.files import FILES
from benchmarks.data.classification.split import ClassificationDataSet

CLASSIFICATION: Mapping[str, ClassificationDataSet] = {
    declared.name: declared for declared in (*FILES, *ARRAYS, *EXTENDED)
}
