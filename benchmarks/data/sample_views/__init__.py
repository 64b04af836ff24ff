"""The generated world as small classification and retrieval data sets, in the official layouts."""

from benchmarks.data.sample_views.write import write_views

__all__ = ["write_views"]
