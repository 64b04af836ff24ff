"""The two answers to a file that is not what it should be: damaged, or refused as unsafe."""

from pathlib import Path

from benchmarks.errors import CheckpointError


def damaged(file: Path, detail: str = "") -> CheckpointError:
    """The error for a file whose bytes do not fit together, with what was found where that is known."""
    found = f" ({detail})" if detail else ""
    return CheckpointError(f"{file}: the file is truncated or damaged{found}; download or copy it again")


def refused(file: Path, what: str) -> CheckpointError:
    """The error for a pickle that goes beyond harmless data.

    Args:
        file: which holds the pickle.
        what: what it does, for example ``names os.system``.
    """
    return CheckpointError(
        f"{file}: refused: the pickle {what}, which is not on the list of harmless types "
        "(or the file is damaged); nothing in it was run. Save the state_dict alone, or use safetensors"
    )
