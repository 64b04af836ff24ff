"""Annotation files that are not what they should be are refused in one line that names the remedy."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from benchmarks.data.annotations import read_annotations
from benchmarks.errors import DataError


class Layout(TypedDict):
    images: list[int]


def read(path: Path) -> Layout:
    return read_annotations(path, TypeAdapter(Layout), "the layout of numbers", "get numbers.json")


def test_the_content_without_what_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    path.write_text('{"images": [1, 2], "licences": "any"}')
    assert read(path) == {"images": [1, 2]}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "cannot be read (No such file or directory); get numbers.json"),
        ('{"images": [1, 2', "is no JSON file"),
        ("\udcff", "is no JSON file"),
        ("[]", "is not in the layout of numbers (: Input should be an object); get numbers.json"),
        ('{"images": [1, "x"]}', "is not in the layout of numbers (images.1: Input should be a valid integer"),
    ],
)
def test_refused_in_one_line(tmp_path: Path, content: str | None, line: str) -> None:
    path = tmp_path / "numbers.json"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)
