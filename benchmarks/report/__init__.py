"""The report: everything below a results folder as a static site that opens from disk."""

from benchmarks.report.write import write_report

__all__ = ["write_report"]
