"""The data root: the one folder beneath which every data set lies in its official layout."""

from pathlib import Path

from benchmarks.errors import DataError

SAMPLE_MARKER = "SAMPLE.json"


def require_root(data_root: Path) -> None:
    """Assert that the data root exists.

    Raises:
        DataError: it does not, or is not a folder.
    """
    if not data_root.is_dir():
        raise DataError(
            f"{data_root}: no such data folder; name an existing one with --data-root, "
            "or write a small generated one with `bench data sample`"
        )


def is_sample(data_root: Path) -> bool:
    """Whether the data root holds generated data (its marker lies there): scores on it are no results."""
    return (data_root / SAMPLE_MARKER).is_file()
