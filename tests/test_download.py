"""A download survives whatever servers, networks and kills do to it, and never leaves a wrong file in its place."""

import errno
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import download as module
from benchmarks import transfer
from benchmarks.download import Download, fetch
from benchmarks.errors import DataError
from tests.loopback import Server, serving

CONTENT = random.Random(0).randbytes(700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(module, "_POLL", 0.01)


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.files.clear()
    running.requests.clear()
    return running


def published(server: Server, **known: object) -> Download:
    return Download(f"{server.url}/file.bin", "sub/file.bin", **known)  # type: ignore[arg-type]


def failure(download: Download, folder: Path) -> str:
    """The message of the error, which must be one line that names the address or the file."""
    with pytest.raises(DataError) as caught:
        fetch(download, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert "file.bin" in message
    return message


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# A whole download


@pytest.mark.parametrize(
    "known",
    [{}, {"sha256": SHA256}, {"md5": MD5.upper(), "size": len(CONTENT)}, {"sha256": SHA256[:8], "md5": MD5[:6]}],
)
def test_file_arrives_whole_and_nothing_else_is_left(server: Server, tmp_path: Path, known: dict[str, object]) -> None:
    server.publish("/file.bin", CONTENT)
    path = fetch(published(server, **known), tmp_path)
    assert path == tmp_path / "sub" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_progress_reaches_the_end_and_knows_it(server: Server, tmp_path: Path) -> None:
    server.publish("/file.bin", CONTENT)
    seen: list[tuple[int, int | None]] = []
    fetch(published(server), tmp_path, lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_server_that_does_not_tell_the_length(server: Server, tmp_path: Path) -> None:
    server.publish("/file.bin", CONTENT, length=False)
    seen: list[int | None] = []
    assert fetch(published(server), tmp_path, lambda done, total: seen.append(total)).read_bytes() == CONTENT
    assert set(seen) == {None}


def test_file_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    server.publish("/file.bin", CONTENT)
    for known in ({"sha256": SHA256}, {}):
        fetch(published(server, **known), tmp_path)
    assert len(server.requests) == 1


def test_another_content_in_its_place_is_an_error_and_stays(server: Server, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file.bin").write_bytes(b"mine")
    assert "remove it" in failure(published(server, md5=MD5), tmp_path)
    assert (tmp_path / "sub" / "file.bin").read_bytes() == b"mine"
    assert not server.requests


# Broken connections


def test_dropped_connections_are_taken_up_where_they_broke(server: Server, tmp_path: Path) -> None:
    server.publish("/file.bin", CONTENT, drops=[300_000, 100_000, 1])
    assert fetch(published(server), tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked, _ in server.requests] == [None, "bytes=300000-", "bytes=400000-", "bytes=400001-"]
    assert {condition for _, _, condition in server.requests[1:]} == {'"one"'}


def test_server_that_ignores_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.publish("/file.bin", CONTENT, ranges=False, drops=[300_000])
    assert fetch(published(server, sha256=SHA256), tmp_path).read_bytes() == CONTENT


def test_server_that_sends_another_range_is_asked_for_all(server: Server, tmp_path: Path) -> None:
    server.publish("/file.bin", CONTENT, shift=5, drops=[300_000])
    assert fetch(published(server), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1][1] is None


def test_connection_that_always_drops_at_the_same_place_is_given_up(server: Server, tmp_path: Path) -> None:
    server.publish("/file.bin", CONTENT, ranges=False, drops=[1000] * 50)
    message = failure(published(server), tmp_path)
    assert "broke off" in message
    assert "1,000 bytes are kept" in message
    assert str(tmp_path / "sub" / "file.bin") in message
    assert len(server.requests) == 5
    assert not (tmp_path / "sub" / "file.bin").exists()


def test_second_call_goes_on_where_the_first_gave_up(server: Server, tmp_path: Path) -> None:
    file = server.publish("/file.bin", CONTENT, drops=[1000, 0, 0, 0, 0, 0])
    failure(published(server), tmp_path)
    file.drops.clear()
    assert fetch(published(server), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1][1] == "bytes=1000-"
    assert names(tmp_path) == ["file.bin"]


def test_file_that_changed_meanwhile_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.publish("/file.bin", CONTENT, drops=[1000, 0, 0, 0, 0, 0])
    failure(published(server), tmp_path)
    other = CONTENT[::-1]
    server.publish("/file.bin", other, etag='"two"')
    assert fetch(published(server), tmp_path).read_bytes() == other


def test_part_of_an_unknown_version_is_used_only_if_a_digest_will_tell(server: Server, tmp_path: Path) -> None:
    for known, asked in (({}, None), ({"sha256": SHA256}, "bytes=1000-")):
        folder = tmp_path / str(asked)
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "file.bin.part").write_bytes(CONTENT[:1000])
        server.publish("/file.bin", CONTENT, etag=None)
        assert fetch(published(server, **known), folder).read_bytes() == CONTENT
        assert server.requests[-1][1] == asked


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(splits=st.lists(st.integers(1, 60_000), max_size=8), ranges=st.booleans(), etag=st.booleans())
def test_any_way_of_breaking_gives_the_same_bytes(
    server: Server, tmp_path_factory: pytest.TempPathFactory, splits: list[int], ranges: bool, etag: bool
) -> None:
    content = CONTENT[:50_000]
    folder = tmp_path_factory.mktemp("fetched")
    server.publish("/file.bin", content, drops=splits, ranges=ranges, etag='"e"' if etag else None)
    download = published(server, sha256=hashlib.sha256(content).hexdigest())
    for _ in range(10):  # a server without ranges may be given up for a while
        try:
            path = fetch(download, folder)
            break
        except DataError as error:
            assert "broke off" in str(error)
    assert path.read_bytes() == content


# Wrong content


@pytest.mark.parametrize("known", [{"sha256": SHA256}, {"md5": MD5}, {"sha256": SHA256[:8]}, {"md5": MD5[:6]}])
def test_wrong_content_is_removed(server: Server, tmp_path: Path, known: dict[str, object]) -> None:
    server.publish("/file.bin", CONTENT[:-1] + b"\0")
    message = failure(published(server, **known), tmp_path)
    assert next(iter(known)) in message
    assert "by hand" in message
    assert names(tmp_path) == []


def test_wrong_size_is_refused_before_anything_is_fetched(server: Server, tmp_path: Path) -> None:
    server.publish("/file.bin", b"<html>moved</html>")
    assert "offers 18 bytes, but 700,000 are published" in failure(published(server, size=len(CONTENT)), tmp_path)
    assert names(tmp_path) == []


def test_part_that_is_whole_already_is_only_checked(server: Server, tmp_path: Path) -> None:
    server.publish("/file.bin", CONTENT)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file.bin.part").write_bytes(CONTENT)
    assert fetch(published(server, sha256=SHA256), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1][1] == f"bytes={len(CONTENT)}-"


def test_part_that_is_longer_than_the_file_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.publish("/file.bin", CONTENT)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(published(server, sha256=SHA256), tmp_path).read_bytes() == CONTENT


# Refusals


@pytest.mark.parametrize("status", [403, 404, 410])
def test_final_refusal_is_not_repeated(server: Server, tmp_path: Path, status: int) -> None:
    server.publish("/file.bin", b"", statuses=[status] * 9)
    message = failure(published(server), tmp_path)
    assert f"answered {status}" in message
    assert f"by hand to {tmp_path / 'sub' / 'file.bin'}" in message
    assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_passing_refusal_is_repeated(server: Server, tmp_path: Path) -> None:
    server.publish("/file.bin", CONTENT, statuses=[503, 429])
    assert fetch(published(server), tmp_path).read_bytes() == CONTENT


def test_host_that_does_not_exist(tmp_path: Path) -> None:
    message = failure(Download("http://nowhere.invalid/file.bin", "file.bin"), tmp_path)
    assert "cannot be resolved" in message


def test_refused_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "refused" in failure(Download(f"http://127.0.0.1:{port}/file.bin", "file.bin"), tmp_path)


def test_server_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert "no answer" in failure(Download(f"http://127.0.0.1:{port}/file.bin", "file.bin"), tmp_path)


def test_server_that_falls_silent_in_the_middle(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_TIMEOUT", 0.2)
    silence = threading.Event()
    server.publish("/file.bin", CONTENT, stall=silence)
    assert "broke off" in failure(published(server), tmp_path)
    silence.set()
    assert fetch(published(server), tmp_path).read_bytes() == CONTENT


def test_too_little_space_is_said_before_anything_is_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publish("/file.bin", CONTENT)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    assert "700,000 bytes are still to come, but 1,000 are free" in failure(published(server), tmp_path)


def test_full_disk_keeps_what_arrived(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.publish("/file.bin", CONTENT)
    real = transfer.Transfer._write

    def full(self: transfer.Transfer, rest: memoryview) -> None:
        if self._size() > 300_000:
            self.part = _Full(self.part)  # type: ignore[assignment]
        real(self, rest)

    with monkeypatch.context() as patch:
        patch.setattr(transfer.Transfer, "_write", full)
        assert "No space left" in failure(published(server), tmp_path)
    assert (tmp_path / "sub" / "file.bin.part").stat().st_size > 300_000
    assert fetch(published(server), tmp_path).read_bytes() == CONTENT


class _Full:
    """A file on a disk without space."""

    def __init__(self, part: object) -> None:
        self._part = part

    def write(self, content: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fileno(self) -> int:
        return self._part.fileno()  # type: ignore[attr-defined, no-any-return]


# Kills and neighbours

_FETCH = """
import sys
from pathlib import Path
from benchmarks.download import Download, fetch
fetch(Download(sys.argv[1], "file.bin"), Path(sys.argv[2]))
"""


def start(server: Server, folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", _FETCH, f"{server.url}/file.bin", str(folder)])


def wait_for_part(folder: Path, size: int) -> None:
    deadline = time.monotonic() + 30
    while not ((folder / "file.bin.part").is_file() and (folder / "file.bin.part").stat().st_size >= size):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_in_the_middle_and_started_again(server: Server, tmp_path: Path) -> None:
    stall = threading.Event()
    file = server.publish("/file.bin", CONTENT, stall=stall)
    process = start(server, tmp_path)
    wait_for_part(tmp_path, len(CONTENT) - 1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stall.set()
    file.stall = None
    assert not (tmp_path / "file.bin").exists()
    fetch(Download(f"{server.url}/file.bin", "file.bin"), tmp_path)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests[-1][1] == f"bytes={len(CONTENT) - 1}-"
    assert names(tmp_path) == ["file.bin"]


def test_two_processes_at_once_fetch_it_once(server: Server, tmp_path: Path) -> None:
    stall = threading.Event()
    server.publish("/file.bin", CONTENT, stall=stall)
    process = start(server, tmp_path)
    wait_for_part(tmp_path, len(CONTENT) - 1)
    seen: list[int] = []

    def watch(done: int, total: int | None) -> None:
        seen.append(done)
        stall.set()

    path = fetch(Download(f"{server.url}/file.bin", "file.bin"), tmp_path, watch)
    assert process.wait(30) == 0
    assert path.read_bytes() == CONTENT
    assert seen[0] == len(CONTENT) - 1, "the other's progress is shown"
    assert len(server.requests) == 1
    assert names(tmp_path) == ["file.bin"]
