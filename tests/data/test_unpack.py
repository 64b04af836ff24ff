"""Archives come out whole or not at all, and nothing in them reaches beyond the folder that was named."""

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.data import unpack as module
from benchmarks.data.unpack import is_archive, unpack
from benchmarks.errors import DataError

FILES = {"set/a.jpg": b"a" * 5000, "set/deep/er/b.txt": b"b", "top.txt": b""}
SUFFIXES = [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"]


def packed(folder: Path, suffix: str, files: dict[str, bytes]) -> Path:
    """An archive of these files."""
    path = folder / f"archive{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    kind = {".tar": "", ".tgz": "gz"}.get(suffix, suffix.rpartition(".")[2])
    return tarred(path, [(tarfile.TarInfo(name), content) for name, content in files.items()], kind)


def tarred(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], kind: str = "") -> Path:
    with tarfile.open(path, f"w:{kind}") as archive:  # type: ignore[call-overload]
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, folder: Path) -> str:
    """The message of the refusal: one line that names the archive; nothing may have come out."""
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(DataError) as caught:
        unpack(archive, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(archive) in message
    assert [path for path in sorted(folder.parent.rglob("*")) if path != folder] == before
    return message


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_form_comes_out_as_it_went_in(tmp_path: Path, suffix: str) -> None:
    archive = packed(tmp_path, suffix, FILES)
    assert is_archive(archive.name)
    assert unpack(archive, tmp_path / "out") == ("set", "top.txt")
    assert contents(tmp_path / "out") == FILES
    assert archive.exists()


def test_single_compressed_file(tmp_path: Path) -> None:
    archive = tmp_path / "x.h5.gz"
    archive.write_bytes(gzip.compress(b"pixels" * 1000))
    assert unpack(archive, tmp_path / "out") == ("x.h5",)
    assert contents(tmp_path / "out") == {"x.h5": b"pixels" * 1000}


def test_what_is_there_stays_and_what_is_new_joins_it(tmp_path: Path) -> None:
    (tmp_path / "out" / "set" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "set" / "own.txt").write_bytes(b"mine")
    (tmp_path / "out" / "set" / "a.jpg").write_bytes(b"old")
    unpack(packed(tmp_path, ".zip", FILES), tmp_path / "out")
    assert contents(tmp_path / "out") == FILES | {"set/own.txt": b"mine"}


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_progress_ends_at_the_archive_s_size(tmp_path: Path, suffix: str) -> None:
    archive = packed(tmp_path, suffix, FILES)
    seen: list[tuple[int, int | None]] = []
    unpack(archive, tmp_path / "out", lambda done, total: seen.append((done, total)))
    size = archive.stat().st_size
    assert seen[-1] == (size, size)
    assert all(done <= size for done, _ in seen)


def test_permissions_are_ordinary_whatever_the_archive_says(tmp_path: Path) -> None:
    info = member("a.txt")
    info.mode = 0o4777
    unpack(tarred(tmp_path / "x.tar", [(info, b"1")]), tmp_path / "out")
    assert not (tmp_path / "out" / "a.txt").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


# Paths, links, devices

ESCAPES = ["../out.txt", "set/../../out.txt", "/tmp/out.txt", "..", "a\\..\\b", "./../x"]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("name", ESCAPES)
def test_path_that_leads_out_is_refused(tmp_path: Path, suffix: str, name: str) -> None:
    archive = packed(tmp_path, suffix, {"good.txt": b"1", name: b"2"})
    assert "leads out of the folder" in refused(archive, tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("link", ["/etc/passwd", "../../etc/passwd", "nowhere", "loop"])
def test_link_to_what_the_archive_does_not_hold_is_refused(tmp_path: Path, kind: bytes, link: str) -> None:
    archive = tarred(tmp_path / "x.tar", [(member("loop", kind, link), b"")])
    assert "links to" in refused(archive, tmp_path / "out")


def test_writing_through_a_link_does_not_leave_the_folder(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    members = [(member("door", tarfile.SYMTYPE, str(victim)), b""), (member("door/x"), b"in")]
    refused(tarred(tmp_path / "x.tar", members), tmp_path / "out")
    assert not any(victim.iterdir())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_link_inside_becomes_a_copy(tmp_path: Path, kind: bytes) -> None:
    target = "a.txt" if kind == tarfile.SYMTYPE else "set/a.txt"  # hard links are named from the top
    members = [(member("set/a.txt"), b"content"), (member("set/b.txt", kind, target), b"")]
    unpack(tarred(tmp_path / "x.tar", members), tmp_path / "out")
    assert contents(tmp_path / "out") == {"set/a.txt": b"content", "set/b.txt": b"content"}
    assert not (tmp_path / "out" / "set" / "b.txt").is_symlink()


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tarred(tmp_path / "x.tar", [(member("device", kind), b"")])
    assert "neither a file nor a folder" in refused(archive, tmp_path / "out")


def test_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert "neither a file nor a folder" in refused(tmp_path / "x.zip", tmp_path / "out")


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path, ".zip", {"a.txt": b"1"})
    content = bytearray(archive.read_bytes())
    content[6] |= 1  # in the file's own header
    content[content.index(b"PK\1\2") + 8] |= 1  # and in the directory
    archive.write_bytes(content)
    assert "encrypted" in refused(archive, tmp_path / "out")


# Bombs


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ALWAYS", 1 << 16)


BOMBS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}


@pytest.mark.parametrize("suffix", [".zip", *BOMBS])
def test_bomb_is_refused(tmp_path: Path, strict: None, suffix: str) -> None:
    zeros = bytes(20_000_000)
    if suffix == ".gz":
        archive = tmp_path / "x.bin.gz"
        archive.write_bytes(gzip.compress(zeros))
    else:
        archive = packed(tmp_path, suffix, {"zeros.bin": zeros})
    assert "would unpack to more than" in refused(archive, tmp_path / "out")


def test_bomb_of_links_is_refused(tmp_path: Path, strict: None) -> None:
    content = random.Random(0).randbytes(20_000)
    members = [(member("a.bin"), content)]
    members += [(member(f"{index}.bin", tarfile.LNKTYPE, "a.bin"), b"") for index in range(2000)]
    archive = tarred(tmp_path / "x.tar.gz", members, "gz")
    assert "would unpack to more than" in refused(archive, tmp_path / "out")


def test_pictures_of_any_number_are_no_bomb(tmp_path: Path, strict: None) -> None:
    content = random.Random(0).randbytes(300_000)
    unpack(packed(tmp_path, ".zip", {"a.bin": content}), tmp_path / "out")
    assert (tmp_path / "out" / "a.bin").read_bytes() == content


# Damage and interruption


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".bin.gz"])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_truncated_archive_leaves_nothing(tmp_path: Path, suffix: str, share: float) -> None:
    files = {"a.bin": random.Random(1).randbytes(50_000), "b.bin": random.Random(2).randbytes(50_000)}
    if suffix == ".bin.gz":
        archive = tmp_path / "x.bin.gz"
        archive.write_bytes(gzip.compress(files["a.bin"]))
    else:
        archive = packed(tmp_path, suffix, files)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    assert "is damaged" in refused(archive, tmp_path / "out")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.bz2"])
def test_what_is_no_archive_is_named(tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"x{suffix}"
    archive.write_bytes(b"<html>moved</html>" * 100)
    assert "is damaged" in refused(archive, tmp_path / "out")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.bz2", ".tar.xz", ".bin.gz"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage_never_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    if suffix == ".bin.gz":
        archive = folder / "x.bin.gz"
        archive.write_bytes(gzip.compress(FILES["set/a.jpg"]))
    else:
        archive = packed(folder, suffix, FILES)
    content = bytearray(archive.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
        content[position] = data.draw(st.integers(0, 255))
    archive.write_bytes(content)
    try:
        unpack(archive, folder / "out")
    except DataError as error:
        assert "\n" not in str(error)
        assert not (folder / "out").exists() or not any((folder / "out").iterdir())


def test_file_and_folder_of_one_name(tmp_path: Path) -> None:
    archive = packed(tmp_path, ".zip", {"a": b"1", "a/b": b"2"})
    assert "cannot be unpacked" in refused(archive, tmp_path / "out")


def test_interruption_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    archive = packed(tmp_path, ".tar", FILES)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "out", interrupt)
    assert contents(tmp_path / "out") == {}


def test_leftover_of_a_kill_is_removed(tmp_path: Path) -> None:
    archive = packed(tmp_path, ".tar", FILES)
    left = tmp_path / "out" / ".tmp-archive.tar" / "set"
    left.mkdir(parents=True)
    (left / "half.jpg").write_bytes(b"half")
    unpack(archive, tmp_path / "out")
    assert contents(tmp_path / "out") == FILES


def test_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, source: object, sink: object) -> Iterator[None]:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(module._Extraction, "_copy", full)
    assert "No space left" in refused(packed(tmp_path, ".tar", FILES), tmp_path / "out")


def test_names_that_are_no_archives() -> None:
    assert not any(map(is_archive, ("setid.mat", "x.json", "y.h5", "gz")))
