"""YFCC15M: images are found in their zip files, and the metadata pickle can do no harm."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from benchmarks.errors import DataError
from pretrain.data import convert_metadata
from pretrain.data.fields import Yfcc15mFields
from pretrain.data.yfcc15m import Yfcc15mSource
from tests.pretrain.data.makers import TEXTS, jpeg, write_zip
from tests.pretrain.data.test_sources import assert_three_pairs

HASHES = ("00a1b2c3d4e5f60718293a4b5c6d7e8f", "fff0000000000000000000000000beef", "00a1b2ffffffffffffffffffffffffff")
ROWS = [(index, HASHES[index], *TEXTS[index]) for index in range(3)]


def member(digest: str) -> str:
    return f"data/images/{digest[:3]}/{digest[3:6]}/{digest}.jpg"


def write_yfcc(root: Path, rows: Any = ROWS) -> Path:
    """The released layout beneath ``root``: two zip files, one of them deflated, and the pickle."""
    folder = root / "yfcc15m" / "test_zip_3"
    write_zip(folder / "00a.zip", {member(HASHES[i]): jpeg(i) for i in (2, 0)}, zipfile.ZIP_DEFLATED)
    write_zip(folder / "fff.zip", {member(HASHES[1]): jpeg(1)})
    path = root / "yfcc15m.pkl"
    path.write_bytes(pickle.dumps(rows))
    return path


def opened(root: Path) -> Yfcc15mSource:
    return Yfcc15mSource(Yfcc15mFields(), root)


def test_released_layout_is_read(tmp_path: Path) -> None:
    assert convert_metadata(write_yfcc(tmp_path), tmp_path / "yfcc15m" / "yfcc15m.parquet") == 3
    assert_three_pairs(opened(tmp_path))
    assert opened(tmp_path).name(1) == HASHES[1]
    assert not opened(tmp_path).alternatives


def test_table_may_be_csv(tmp_path: Path) -> None:
    convert_metadata(write_yfcc(tmp_path), tmp_path / "t.csv")
    assert_three_pairs(Yfcc15mSource(Yfcc15mFields(metadata="t.csv"), tmp_path))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol_converts(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps([*ROWS, [4, HASHES[0], "é\n,", None]], protocol))
    assert convert_metadata(path, tmp_path / "x.parquet") == 4
    table = parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert table[3] == {"id": "4", "hash": HASHES[0], "title": "é\n,", "description": ""}


def test_image_that_its_zip_lacks_is_an_os_error_and_the_rest_is_read(tmp_path: Path) -> None:
    lost = "fff" + 29 * "1"
    convert_metadata(write_yfcc(tmp_path, [*ROWS, (4, lost, "", "")]), tmp_path / "yfcc15m" / "yfcc15m.parquet")
    source = opened(tmp_path)
    assert source.image(1).size == (24, 24)
    with pytest.raises(FileNotFoundError, match=lost):
        source.image(3)


def test_missing_zip_is_named(tmp_path: Path) -> None:
    rows = [*ROWS, (4, "abc" + 29 * "0", "", ""), (5, "abd" + 29 * "0", "", "")]
    convert_metadata(write_yfcc(tmp_path, rows), tmp_path / "yfcc15m" / "yfcc15m.parquet")
    with pytest.raises(DataError, match=r"abc\.zip: is missing \(and 1 more\)"):
        opened(tmp_path)


@pytest.mark.parametrize("digest", ["../../../etc/passwd", "", "ABCDEF0123", "0a", "00a/../../x"])
def test_hash_that_could_be_a_path_is_refused(tmp_path: Path, digest: str) -> None:
    convert_metadata(write_yfcc(tmp_path, [*ROWS, (4, digest, "", "")]), tmp_path / "yfcc15m" / "yfcc15m.parquet")
    with pytest.raises(DataError, match=r"row 4.*no hash"):
        opened(tmp_path)


class _Hostile:
    """Unpickled by the ordinary reader, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_hostile_pickle_is_refused_and_nothing_runs(tmp_path: Path, protocol: int) -> None:
    path, target = tmp_path / "evil.pkl", tmp_path / "written"
    path.write_bytes(pickle.dumps([(1, HASHES[0], "t", _Hostile(target))], protocol))
    with pytest.raises(DataError, match="wants to call") as caught:
        convert_metadata(path, tmp_path / "out.parquet")
    assert not target.exists()
    assert not (tmp_path / "out.parquet").exists()
    assert "\n" not in str(caught.value)
    pickle.loads(path.read_bytes())
    assert target.exists(), "the pickle was not hostile"


@pytest.mark.parametrize(
    "opcode", [b"cos\nsystem\n(S'touch x'\ntR.", b"Vx\n\x8c\x02os\x8c\x06system\x93.", b"\x80\x02U\x01aQ."]
)
def test_hand_made_opcodes_are_refused(tmp_path: Path, opcode: bytes) -> None:
    (tmp_path / "x.pkl").write_bytes(opcode)
    with pytest.raises(DataError, match="nothing was executed"):
        convert_metadata(tmp_path / "x.pkl", tmp_path / "x.parquet")


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"no pickle", pickle.dumps(ROWS)[:-9]])
def test_damaged_pickle_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.pkl"):
        convert_metadata(tmp_path / "x.pkl", tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1, "title", "description")], "SLIP's list, which lacks the hashes"),
        ([ROWS[0], (1, HASHES[0], "t", "d", "more")], "row 2 is not"),
        ([(1, 2, "t", "d")], "row 1 is not"),
        (["text"], "row 1 is no tuple"),
        ([], "no list of rows"),
        ({"rows": ROWS}, "no list of rows"),
    ],
)
def test_rows_of_another_form_are_named(tmp_path: Path, rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        convert_metadata(write_yfcc(tmp_path, rows), tmp_path / "x.parquet")


def test_other_suffix_and_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.parquet or \.csv"):
        convert_metadata(write_yfcc(tmp_path), tmp_path / "x.pkl2")
    with pytest.raises(DataError, match=r"none\.pkl"):
        convert_metadata(tmp_path / "none.pkl", tmp_path / "x.csv")
