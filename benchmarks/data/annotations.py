"""A JSON file of annotations, read against its layout: what is wrong with it is one line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.errors import DataError

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

Content = TypeVar("Content")


def read_annotations(path: Path, layout: "TypeAdapter[Content]", name: str, remedy: str) -> Content:
    """The file's content; what it holds beside its layout is passed over.

    Args:
        path: of the file.
        layout: what it must hold.
        name: of the layout, for the error: ``in`` this.
        remedy: for the error.

    Raises:
        DataError: the file cannot be read, is no JSON, or has another layout.
    """
    from pydantic import ValidationError

    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    try:
        return layout.validate_json(content)
    except ValidationError as error:
        raise DataError(f"{path}: {_reason(error, name, remedy)}") from None


def _reason(error: "ValidationError", name: str, remedy: str) -> str:
    """The first thing that is wrong, and the remedy."""
    first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
    message = " ".join(first["msg"].split())
    if first["type"] == "json_invalid":
        return f"is no JSON file ({message}), perhaps it is truncated; download it again"
    return f"is not in {name} ({'.'.join(map(str, first['loc']))}: {message}); {remedy}"
