"""A file is whole or absent: no failing step and no kill leaves half of one."""

import hashlib
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import files
from benchmarks.errors import RecordError

WRITER = """
import itertools, sys
from pathlib import Path
from benchmarks.files import write_text
target = Path(sys.argv[1])
for turn in itertools.count():
    write_text(target, "ab"[turn % 2] * 2_000_000)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_as_utf8_into_a_folder_that_is_made(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "text.json"
    files.write_text(target, "grüße\n")
    assert target.read_bytes() == "grüße\n".encode()
    assert names(target.parent) == ["text.json"]


def test_an_old_file_is_replaced_and_its_mode_follows_the_umask(tmp_path: Path) -> None:
    """mkstemp makes private files; a results folder shared by a group must stay readable."""
    target = tmp_path / "x.txt"
    target.write_text("old")
    mask = os.umask(0o022)
    try:
        files.write_text(target, "new")
    finally:
        os.umask(mask)
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


def test_the_temporary_name_keeps_the_suffix_and_lies_in_the_same_folder(tmp_path: Path) -> None:
    """Libraries choose a format by the suffix, and a rename across file systems would not be atomic."""
    with files.atomic_path(tmp_path / "samples.parquet") as temporary:
        assert temporary.suffix == ".parquet"
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".tmp-")
        assert names(tmp_path) == [temporary.name]


def failing(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def fail_in_write(_: pytest.MonkeyPatch, target: Path) -> None:
    with files.atomic_path(target) as temporary:
        temporary.write_text("ha")  # half of it is on the disk already
        failing()


def fail_in_fsync(patch: pytest.MonkeyPatch, target: Path) -> None:
    patch.setattr(os, "fsync", failing)
    files.write_text(target, "half")


def fail_in_rename(patch: pytest.MonkeyPatch, target: Path) -> None:
    patch.setattr(Path, "replace", failing)
    files.write_text(target, "half")


@pytest.mark.parametrize("step", [fail_in_write, fail_in_fsync, fail_in_rename])
@pytest.mark.parametrize("old", ["old", None])
def test_a_failure_at_any_step_leaves_the_old_state_and_no_litter(
    step: object, old: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "record.json"
    if old is not None:
        target.write_text(old)
    with pytest.raises(OSError, match="No space left"):
        step(monkeypatch, target)  # type: ignore[operator]
    assert names(tmp_path) == ([] if old is None else ["record.json"])
    assert old is None or target.read_text() == old


def test_the_file_and_its_folder_are_synced_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the first sync a power cut can leave an empty file, without the second none at all."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def recorded_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    files.write_text(tmp_path / "x", "content")
    assert steps == ["file", "rename", "folder"]


def test_kill_9_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    """A writer that is killed in mid-stream, twelve times: the file is all of one turn."""
    target = tmp_path / "file.txt"
    generator = random.Random(0)
    for _ in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target)])
        deadline = time.monotonic() + 20
        while not target.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(generator.uniform(0.0, 0.05))
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
        content = target.read_text()
        assert len(content) == 2_000_000
        assert len(set(content)) == 1
        target.unlink()
    assert all(name.startswith(".tmp-") for name in names(tmp_path))


def test_sha256_and_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(b"abc" * 100_000)
    assert files.sha256_of(tmp_path / "f") == hashlib.sha256(b"abc" * 100_000).hexdigest()
    monkeypatch.setenv("DETAILCLIP_BENCH_CACHE", "~/here")
    assert files.cache_folder() == Path.home() / "here"
    monkeypatch.delenv("DETAILCLIP_BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / "detailclip-bench"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert files.cache_folder() == Path.home() / ".cache" / "detailclip-bench"


# ---- folders


def test_a_removed_folder_is_gone_at_once_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stops the removal, no half of the folder stands under its name: it would pass for a whole one."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "one").touch()

    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.files.shutil.rmtree", stop)
        with pytest.raises(KeyboardInterrupt):
            files.remove_folder(folder)
    assert not folder.exists()
    files.sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def test_sweeping_spares_whole_files(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("record.json", ".lock", "below/.tmp-abc.json", ".tmp-x"):
        (tmp_path / name).touch()
    files.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".lock", "below", "record.json"]


def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/.tmp-half").touch()
    (tmp_path / ".tmp-doomed/state").mkdir(parents=True)
    with files.exclusive(tmp_path):
        assert not list(tmp_path.rglob(".tmp-*"))


def test_two_processes_never_share_a_run(tmp_path: Path) -> None:
    with files.exclusive(tmp_path), pytest.raises(RecordError, match="another process"), files.exclusive(tmp_path):
        pass
    with files.exclusive(tmp_path):
        pass


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from benchmarks.files import exclusive\n"
        f"with exclusive(Path({str(tmp_path)!r})):\n    print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(RecordError), files.exclusive(tmp_path):
        pass
    process.kill()
    process.wait()
    with files.exclusive(tmp_path):
        pass
