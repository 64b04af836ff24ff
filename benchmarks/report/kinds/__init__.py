"""What can be shown of per-sample results: one declaration for each form of ``samples.parquet``."""

from collections.abc import Iterable

from benchmarks.report.kinds.classification import CLASSIFICATION
from benchmarks.report.kinds.detection import DETECTION
from benchmarks.report.kinds.kind import Kind, Sampled
from benchmarks.report.kinds.retrieval import RETRIEVAL
from benchmarks.report.kinds.segmentation import SEGMENTATION

KINDS: tuple[Kind, ...] = (SEGMENTATION, DETECTION, CLASSIFICATION, RETRIEVAL)

__all__ = ["KINDS", "Kind", "Sampled", "kind_of"]


def kind_of(columns: Iterable[str]) -> Kind | None:
    """The kind whose columns are all there; None for samples that only have an id."""
    present = set(columns)
    return next((kind for kind in KINDS if kind.columns <= present), None)
