"""The generated world as small classification, retrieval and detection data sets, in the official layouts."""

from benchmarks.data.sample_views.boxes import write_boxes
from benchmarks.data.sample_views.write import write_views

__all__ = ["write_boxes", "write_views"]
