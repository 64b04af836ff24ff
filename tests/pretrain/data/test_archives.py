"""Archives are listed once, read in place by any process, and nothing in them becomes a path."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest

from benchmarks.errors import DataError
from benchmarks.files import atomic_path, cache_folder
from pretrain.data import archives
from pretrain.data.archives import ArchiveReader, members
from tests.pretrain.data.makers import write_tar, write_zip

FILES = {"a/one.jpg": b"1" * 700, "two.txt": b"zwei", "empty": b""}


def open_tars() -> list[str]:
    """The tar files that this process has open."""
    targets = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir() if link.exists()]
    return [target for target in targets if target.endswith(".tar")]


def read_all(archive: Path, reader: ArchiveReader) -> dict[str, bytes]:
    rows = members(archive).to_pylist()
    if archive.suffix == ".zip":
        return {row["name"]: reader.zip(archive, row["offset"], row["size"], row["method"]) for row in rows}
    return {row["name"]: reader.tar(archive, row["offset"], row["size"]) for row in rows}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_members_are_read_in_place(tmp_path: Path, compression: int) -> None:
    write_zip(tmp_path / "x.zip", FILES, compression)
    assert read_all(tmp_path / "x.zip", ArchiveReader()) == FILES


def test_tar_members_are_read_in_place(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", list(FILES.items()))
    assert read_all(tmp_path / "x.tar", ArchiveReader()) == FILES


def test_list_is_made_once_and_again_when_the_archive_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "x.tar"
    write_tar(archive, list(FILES.items()))
    first = members(archive)
    assert (tmp_path / "x.tar.members.parquet").is_file()
    with monkeypatch.context() as patch:
        patch.setattr(archives, "_list_tar", lambda path: pytest.fail("listed again"))
        assert members(archive).equals(first)
    write_tar(archive, [("new.txt", b"new")])
    os.utime(archive, ns=(1, 1))
    assert members(archive)["name"].to_pylist() == ["new.txt"]


def test_damaged_list_is_made_anew(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", list(FILES.items()))
    first = members(tmp_path / "x.tar")
    (tmp_path / "x.tar.members.parquet").write_bytes(b"PAR1 no")
    assert members(tmp_path / "x.tar").equals(first)


def test_list_goes_to_the_cache_folder_where_the_data_are_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETAILCLIP_BENCH_CACHE", str(tmp_path / "cache"))
    archive = tmp_path / "data" / "x.tar"
    write_tar(archive, list(FILES.items()))
    write = atomic_path

    def read_only(path: Path) -> object:
        if path.parent == archive.parent:
            raise PermissionError(13, "Read-only file system")
        return write(path)

    monkeypatch.setattr(archives, "atomic_path", read_only)
    first = members(archive)
    assert list(archive.parent.iterdir()) == [archive]
    assert len(list((cache_folder() / "archives").iterdir())) == 1
    monkeypatch.setattr(archives, "_list_tar", lambda path: pytest.fail("listed again"))
    assert members(archive).equals(first)


def test_nowhere_to_keep_the_list_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(path: Path) -> object:
        raise PermissionError(13, "Read-only file system")

    write_tar(tmp_path / "x.tar", list(FILES.items()))
    monkeypatch.setattr(archives, "atomic_path", read_only)
    with pytest.raises(DataError, match="DETAILCLIP_BENCH_CACHE"):
        members(tmp_path / "x.tar")


def test_reader_keeps_few_archives_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_OPEN_FILES", 2)
    reader = ArchiveReader()
    for round_ in range(2):
        for index in range(5):
            path = tmp_path / f"{index}.tar"
            if round_ == 0:
                write_tar(path, [("x.txt", str(index).encode())])
            assert read_all(path, reader) == {"x.txt": str(index).encode()}
    assert len(open_tars()) == 2
    del reader
    assert open_tars() == []


def test_copy_of_a_reader_opens_its_own_files(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", list(FILES.items()))
    reader = ArchiveReader()
    read_all(tmp_path / "x.tar", reader)
    copy = pickle.loads(pickle.dumps(reader))
    del reader
    assert read_all(tmp_path / "x.tar", copy) == FILES


def test_damage_after_listing_is_an_os_error(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    write_zip(archive, FILES, zipfile.ZIP_DEFLATED)
    row = members(archive).to_pylist()[0]
    content = bytearray(archive.read_bytes())
    content[30 + len(row["name"])] = 0xFF
    archive.write_bytes(content)
    with pytest.raises(OSError, match="damaged"):
        ArchiveReader().zip(archive, row["offset"], row["size"], row["method"])
    with pytest.raises(OSError, match="no member begins"):
        ArchiveReader().zip(archive, row["offset"] + 1, row["size"], row["method"])
    archive.write_bytes(content[:40])
    with pytest.raises(OSError, match="ends within"):
        ArchiveReader().zip(archive, row["offset"], 700, row["method"])


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\x03\x04 but no directory"])
def test_what_is_no_zip_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.zip.*download it again"):
        members(tmp_path / "x.zip")


def test_unsupported_compression_is_named(tmp_path: Path) -> None:
    write_zip(tmp_path / "x.zip", FILES, zipfile.ZIP_LZMA)
    with pytest.raises(DataError, match="deflate"):
        members(tmp_path / "x.zip")


def test_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.tar.*No such file"):
        members(tmp_path / "none.tar")


@pytest.mark.parametrize("suffix", ["tar", "zip"])
def test_traversing_names_are_only_names(tmp_path: Path, suffix: str) -> None:
    hostile = {"../../evil.jpg": b"x", "/etc/evil": b"y"}
    archive = tmp_path / "deep" / "er" / f"x.{suffix}"
    if suffix == "tar":
        write_tar(archive, list(hostile.items()))
    else:
        write_zip(archive, hostile)
    assert set(read_all(archive, ArchiveReader()).values()) == {b"x", b"y"}
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()].count("evil.jpg") == 0


def test_links_and_folders_in_a_tar_are_no_members(tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        folder = tarfile.TarInfo("folder.jpg")
        folder.type = tarfile.DIRTYPE
        tar.addfile(link)
        tar.addfile(folder)
    assert members(tmp_path / "x.tar").num_rows == 0
