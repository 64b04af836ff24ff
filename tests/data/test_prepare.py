"""Preparing fetches what is missing, unpacks it where the readers look, and never does the same work twice."""

import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import transfer
from benchmarks.data import catalogue
from benchmarks.data import prepare as module
from benchmarks.data.catalogue import DATA_SETS, DataSet
from benchmarks.data.prepare import prepare
from benchmarks.data.presence import Presence
from benchmarks.data.root import SAMPLE_MARKER
from benchmarks.download import ByteProgress, Download
from benchmarks.errors import DataError, OptionError
from benchmarks.files import exclusive
from tests.loopback import Server, serving


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def toy(server: Server, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    """A data set of two archives and a plain file, three pictures when complete."""
    monkeypatch.setattr(transfer, "_WAITS", ())
    server.publish("/images.tar.gz", tarred({"images/1.jpg": b"1", "images/2.jpg": b"2"}))
    server.publish("/more.zip", zipped({"images/3.jpg": b"3", "list.txt": b"123"}))
    server.publish("/labels.mat", b"labels")
    server.publish("/train.zip", zipped({"train/9.jpg": b"9"}))
    downloads = (("images.tar.gz", "toy/images.tar.gz"), ("more.zip", "toy/more.zip"), ("labels.mat", "labels.mat"))
    declared = replace(
        DATA_SETS["dtd"],
        name="toy",
        title="A toy",
        downloads=tuple(Download(f"{server.url}/{path}", filename) for path, filename in downloads),
        further=(Download(f"{server.url}/train.zip", "train.zip"),),
        by_hand="",
        state=lambda data_root: Presence(("labels.mat",), {"toy/images": 3}).state(data_root, "toy"),
    )
    monkeypatch.setattr(catalogue, "DATA_SETS", {"toy": declared})
    return declared


class Told:
    """What the user was told, and which bars were shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bars: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def bar(self, label: str) -> Iterator[ByteProgress]:
        self.bars.append(label)
        yield lambda done, total: None

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def told() -> Told:
    return Told()


def files(folder: Path) -> list[str]:
    return sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and ".prepare" not in p.parts
    )


COMPLETE = ["labels.mat", "toy/images/1.jpg", "toy/images/2.jpg", "toy/images/3.jpg", "toy/list.txt"]


def test_everything_is_fetched_and_unpacked_where_its_name_says(toy: DataSet, tmp_path: Path, told: Told) -> None:
    assert prepare(tmp_path / "new" / "root", "toy", told.say, told.bar) == "complete"
    assert files(tmp_path / "new" / "root" / "toy") == COMPLETE
    assert told.bars[:2] == ["fetching images.tar.gz", "unpacking images.tar.gz"]
    assert toy.licence in told.text
    assert "further files, by name only: train.zip" in told.text


def test_second_call_fetches_nothing(toy: DataSet, server: Server, tmp_path: Path, told: Told) -> None:
    prepare(tmp_path, "toy", told.say, told.bar)
    server.requests.clear()
    assert prepare(tmp_path, "toy", told.say, told.bar) == "complete"
    assert not server.requests
    assert told.lines[-1] == "toy: complete, nothing to do"


def test_only_what_was_lost_is_fetched_again(toy: DataSet, server: Server, tmp_path: Path, told: Told) -> None:
    prepare(tmp_path, "toy", told.say, told.bar)
    server.requests.clear()
    (tmp_path / "toy" / "labels.mat").unlink()
    prepare(tmp_path, "toy", told.say, told.bar)
    assert [path for path, _, _ in server.requests] == ["/labels.mat"]
    (tmp_path / "toy" / "toy" / "list.txt").unlink()
    (tmp_path / "toy" / "toy" / "images" / "3.jpg").unlink()
    server.requests.clear()
    assert prepare(tmp_path, "toy", told.say, told.bar) == "complete"
    assert [path for path, _, _ in server.requests] == ["/more.zip"]


def test_what_is_still_short_says_how_to_fetch_all_anew(toy: DataSet, tmp_path: Path, told: Told) -> None:
    prepare(tmp_path, "toy", told.say, told.bar)
    (tmp_path / "toy" / "toy" / "images" / "3.jpg").unlink()
    assert prepare(tmp_path, "toy", told.say, told.bar) == "partial 2/3"
    assert f"remove {tmp_path / 'toy' / '.prepare'}" in told.text


def test_archive_put_there_by_hand_is_unpacked(toy: DataSet, server: Server, tmp_path: Path, told: Told) -> None:
    (tmp_path / "toy" / "toy").mkdir(parents=True)
    (tmp_path / "toy" / "toy" / "more.zip").write_bytes(server.files["/more.zip"].content)
    prepare(tmp_path, "toy", told.say, told.bar)
    assert files(tmp_path / "toy") == COMPLETE
    assert "/more.zip" not in [path for path, _, _ in server.requests]


def test_interrupted_call_is_taken_up_where_it_stopped(
    toy: DataSet, server: Server, tmp_path: Path, told: Told
) -> None:
    server.files["/more.zip"].statuses = [404]
    with pytest.raises(DataError, match="answered 404"):
        prepare(tmp_path, "toy", told.say, told.bar)
    server.requests.clear()
    assert prepare(tmp_path, "toy", told.say, told.bar) == "complete"
    assert [path for path, _, _ in server.requests] == ["/more.zip", "/labels.mat"]


def test_kill_before_the_note_unpacks_again(
    toy: DataSet, server: Server, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_text", kill)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path, "toy", told.say, told.bar)
    server.requests.clear()
    assert prepare(tmp_path, "toy", told.say, told.bar) == "complete"
    assert "/images.tar.gz" not in [path for path, _, _ in server.requests], "the archive was still there"
    assert files(tmp_path / "toy") == COMPLETE


def test_damaged_archive_names_itself(toy: DataSet, server: Server, tmp_path: Path, told: Told) -> None:
    server.publish("/more.zip", b"<html>moved</html>")
    with pytest.raises(DataError, match=r"more\.zip: is damaged"):
        prepare(tmp_path, "toy", told.say, told.bar)


@pytest.mark.parametrize("note", [b"", b"[]", b"{", b'{"toy/more.zip": []}'])
def test_damaged_note_only_costs_work(toy: DataSet, tmp_path: Path, told: Told, note: bytes) -> None:
    work = tmp_path / "toy" / ".prepare"
    work.mkdir(parents=True)
    (work / "unpacked.json").write_bytes(note)
    assert prepare(tmp_path, "toy", told.say, told.bar) == "complete"
    assert set(json.loads((work / "unpacked.json").read_bytes())) == {"toy/images.tar.gz", "toy/more.zip"}


def test_two_processes_at_once(toy: DataSet, tmp_path: Path, told: Told) -> None:
    with exclusive(tmp_path / "toy" / ".prepare"), pytest.raises(DataError, match="another process is preparing it"):
        prepare(tmp_path, "toy", told.say, told.bar)


def test_named_files_alone(toy: DataSet, tmp_path: Path, told: Told) -> None:
    prepare(tmp_path, "toy", told.say, told.bar, only=["train.zip", "labels.mat"])
    assert files(tmp_path / "toy") == ["labels.mat", "train/9.jpg"]
    with pytest.raises(OptionError, match=r"val\.zip.*train\.zip"):
        prepare(tmp_path, "toy", told.say, told.bar, only=["val.zip"])


def test_generated_data_are_left_alone(toy: DataSet, tmp_path: Path, told: Told) -> None:
    (tmp_path / SAMPLE_MARKER).write_text("{}")
    with pytest.raises(DataError, match="generated data"):
        prepare(tmp_path, "toy", told.say, told.bar)


def test_set_that_can_only_be_had_by_hand(tmp_path: Path, told: Told) -> None:
    with pytest.raises(DataError, match="imagenet"):
        prepare(tmp_path, "imagenet", told.say, told.bar)
    assert "register at image-net.org" in told.text
    pictures = tmp_path / "imagenet" / "val" / "n01440764"
    pictures.mkdir(parents=True)
    (pictures / "ILSVRC2012_val_00000293.JPEG").touch()
    assert prepare(tmp_path, "imagenet", told.say, told.bar) == "partial 1/50000"


def test_unknown_name_proposes_the_likeliest(tmp_path: Path, told: Told) -> None:
    with pytest.raises(OptionError, match="did you mean mnist"):
        prepare(tmp_path, "minst", told.say, told.bar)


def test_every_archive_of_the_suite_has_a_place_beneath_its_folder() -> None:
    for data_set in DATA_SETS.values():
        for download in (*data_set.downloads, *data_set.further):
            assert download.url.startswith(("http://", "https://"))
            path = Path(download.filename)
            assert not path.is_absolute()
            assert ".." not in path.parts
            assert download.md5 is None or len(download.md5) == 32
        assert data_set.downloads or data_set.by_hand, data_set.name
        names = [Path(download.filename).name for download in (*data_set.downloads, *data_set.further)]
        assert len(set(names)) == len(names)
