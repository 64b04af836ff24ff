"""What our own safetensors files say about themselves, in the text entries of the header.

The weights alone do not tell heads, activations, epsilons, preprocessing, or where they came from; a file
written by this project therefore carries it all, and reads back without a question.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.checkpoints.architecture import Preprocessing, TextArchitecture, VitArchitecture
from benchmarks.errors import CheckpointError

FORMAT_KEY = "detailclip_bench_format"
FORMAT = "1"

_SEPARATOR = ","


@dataclass(frozen=True)
class Source:
    """The file that weights were taken from: its name and the sha256 of its content."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Embedded:
    """The metadata of one of our files.

    Attributes:
        name: of the checkpoint, in records and tables.
        family: name of the family that the weights come from.
        towers: what the file holds of ``ema`` and ``online``, the default first.
        architecture: of the image tower.
        text: of the text tower, None for a backbone alone.
        preprocessing: of the pictures.
        source: the file that the weights were taken from; None for weights made by this project.
        training: how the weights were made, where known (method, preset, epochs ...).
        row: the row of the paper's tables that the checkpoint stands for, ``METHOD[@EPOCHS]``.
    """

    name: str
    family: str
    towers: tuple[str, ...]
    architecture: VitArchitecture
    text: TextArchitecture | None
    preprocessing: Preprocessing
    source: Source | None = None
    training: Mapping[str, Any] | None = None
    row: str | None = None

    def to_metadata(self) -> dict[str, str]:
        """The entries of the safetensors header. Structured values are JSON."""
        entries: dict[str, Any] = {
            "architecture": self.architecture.to_dict(),
            "preprocessing": self.preprocessing.to_dict(),
            "text_architecture": self.text.to_dict() if self.text else None,
            "training": dict(self.training) if self.training is not None else None,
        }
        texts = {key: json.dumps(value, sort_keys=True) for key, value in entries.items() if value is not None}
        texts |= {
            FORMAT_KEY: FORMAT,
            "format": "pt",
            "name": self.name,
            "family": self.family,
            "tower": _SEPARATOR.join(self.towers),
        }
        if self.source:
            texts |= {"source_name": self.source.name, "source_sha256": self.source.sha256}
        if self.row:
            texts["row"] = self.row
        return texts


def read_embedded(metadata: Mapping[str, str], file: str) -> Embedded | None:
    """The inverse of :meth:`Embedded.to_metadata`, or None for a file that is not ours.

    Raises:
        CheckpointError: the file says that it is ours, and its metadata are of a later format or damaged.
    """
    if FORMAT_KEY not in metadata:
        return None
    if metadata[FORMAT_KEY] != FORMAT:
        raise CheckpointError(
            f"{file}: metadata format {metadata[FORMAT_KEY]}, this version reads {FORMAT}: update detailclip-bench"
        )
    try:
        return _parse(metadata)
    except (KeyError, TypeError, ValueError) as error:  # json.JSONDecodeError is a ValueError
        raise CheckpointError(f"{file}: damaged metadata ({error}); export the checkpoint again") from None


def _parse(metadata: Mapping[str, str]) -> Embedded:
    """Build the metadata object from a header of the current format."""
    text = metadata.get("text_architecture")
    training = metadata.get("training")
    made = json.loads(training) if training else None
    if not (made is None or isinstance(made, dict)):
        raise ValueError("training is not a table")
    has_source = "source_sha256" in metadata
    return Embedded(
        name=metadata["name"],
        family=metadata["family"],
        towers=tuple(metadata["tower"].split(_SEPARATOR)),
        architecture=VitArchitecture.from_dict(json.loads(metadata["architecture"])),
        text=TextArchitecture.from_dict(json.loads(text)) if text else None,
        preprocessing=Preprocessing.from_dict(json.loads(metadata["preprocessing"])),
        source=Source(metadata["source_name"], metadata["source_sha256"]) if has_source else None,
        training=made,
        row=metadata.get("row"),
    )
