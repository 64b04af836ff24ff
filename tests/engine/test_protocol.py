"""Config files: whatever is wrong with a user's own is one line that names it."""

from pathlib import Path

import pytest

from benchmarks.engine.protocol import read_config_file
from benchmarks.errors import OptionError


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("mine.py", "_base_ = './nowhere.py'\n", "nowhere.py"),
        ("mine.json", '{"_base_": "./nowhere.json"}', "nowhere.json"),
        ("mine.json", "[1, 2]", "list"),
        ("mine.json", "{", "JSONDecodeError"),
        ("mine.py", "a = (", "SyntaxError"),
        ("mine.py", "a = 1 / 0\n", "ZeroDivisionError"),
        ("mine.py", "raise RuntimeError('two\\nlines')\n", "two lines"),
    ],
)
def test_a_bad_config_is_one_line_that_names_the_file(tmp_path: Path, name: str, text: str, reason: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(OptionError, match=f"{path}: .*{reason}.*mend the file") as caught:
        read_config_file(path)
    assert "\n" not in str(caught.value)


def test_a_config_lies_over_its_base(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text("a = dict(b=1, c=2)\n")
    path = tmp_path / "mine.py"
    path.write_text("_base_ = './base.py'\na = dict(c=3)\n")
    assert read_config_file(path) == {"a": {"b": 1, "c": 3}}
