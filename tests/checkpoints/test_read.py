"""Reading is safe and by content: whatever is no whole, harmless checkpoint is refused in one line, and
nothing runs.
"""

import argparse
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from benchmarks.checkpoints import (
    export_checkpoint,
    inspect_checkpoint,
    load_checkpoint,
    load_image_tower,
)
from benchmarks.checkpoints.read import ALLOWED_GLOBALS, read_checkpoint
from benchmarks.errors import CheckpointError
from tests.checkpoints import makers

STATE = {
    "state_dict": {"module.a": torch.arange(6.0).reshape(2, 3)},
    "args": argparse.Namespace(lr=1),
    "epoch": 3,
}

# Every public way by which a file comes in.
WAYS: dict[str, Callable[[Path], object]] = {
    "load_checkpoint": lambda path: load_checkpoint(path, image_heads=2, text_heads=1),
    "load_image_tower": lambda path: load_image_tower(path, image_heads=2),
    "inspect_checkpoint": inspect_checkpoint,
    "export backbone": lambda path: export_checkpoint(path, "backbone", path.parent / "out", image_heads=2),
    "export open_clip": lambda path: export_checkpoint(path, "open_clip", path.parent / "out", None, 2, 1),
}


class Trap:
    """Unpickled without restriction, it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)


def refused(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("way", WAYS)
def test_a_booby_trapped_pickle_is_refused_by_every_way_in_and_nothing_runs(
    tmp_path: Path, way: str, zipped: bool
) -> None:
    target, path = tmp_path / "executed", tmp_path / "trap.pt"
    state = makers.module(makers.slip_clip())
    torch.save({"state_dict": state, "args": Trap(target)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"refused: the pickle names .*system.*nothing in it was run"):
        WAYS[way](path)
    assert not target.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_booby_trapped_plain_pickle_is_refused(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "executed"
    refused(write(tmp_path / "trap.pkl", pickle.dumps({"state_dict": Trap(target)}, protocol)))
    assert not target.exists()


def test_importing_the_room_is_cheap() -> None:
    code = "import benchmarks.checkpoints, sys; assert not {'timm', 'open_clip', 'torchvision'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_trap_would_have_worked(tmp_path: Path) -> None:
    """Guards the tests above: the very same pickle does run when nothing restricts it."""
    target = tmp_path / "executed"
    pickle.loads(pickle.dumps(Trap(target)))
    assert target.exists()


def test_only_the_argparse_namespace_is_allowed_beyond_torchs_own_list() -> None:
    assert list(ALLOWED_GLOBALS) == [argparse.Namespace]


class Harmless:
    """Somebody else's class, which somebody else allowed."""


def test_what_others_allowed_is_not_allowed_here_and_stays_allowed_there(tmp_path: Path) -> None:
    torch.save(STATE | {"other": Harmless()}, tmp_path / "c.pt")
    with torch.serialization.safe_globals([Harmless]):
        before = set(torch.serialization.get_safe_globals())
        assert "Harmless" in refused(tmp_path / "c.pt")
        assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ["c.pt", "c.safetensors", "c.jpg", "c"])
def test_files_of_torch_save_are_known_by_content_not_by_name(tmp_path: Path, name: str, zipped: bool) -> None:
    torch.save(STATE, tmp_path / name, _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(tmp_path / name)
    assert torch.equal(read.content["state_dict"]["module.a"], torch.arange(6.0).reshape(2, 3))
    assert read.content["args"].lr == 1
    assert read.metadata == {}
    assert len(read.sha256) == 64


def test_safetensors_are_known_by_content_and_give_their_metadata(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model.bin", metadata={"hello": "there"})
    read = read_checkpoint(tmp_path / "model.bin")
    assert torch.equal(read.content["a"], torch.ones(2))
    assert read.metadata == {"hello": "there"}


def test_a_safetensors_file_may_begin_with_the_first_byte_of_a_pickle(tmp_path: Path) -> None:
    """It begins with the length of its header, whose lowest byte is 0x80 for one header in 32 (they are padded)."""
    for filling in range(0, 256, 8):
        save_file({"a": torch.ones(2)}, tmp_path / "c.safetensors", metadata={"fill": "x" * filling})
        if (tmp_path / "c.safetensors").read_bytes()[0] == 0x80:
            break
    assert (tmp_path / "c.safetensors").read_bytes()[0] == 0x80
    assert torch.equal(read_checkpoint(tmp_path / "c.safetensors").content["a"], torch.ones(2))


def _whole(kind: str) -> Callable[[Path], None]:
    return {
        "zip": lambda path: torch.save(STATE, path),
        "legacy": lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False),
        "safetensors": lambda path: save_file({"a": torch.ones(50)}, path),
    }[kind]


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=40, deadline=None)
def test_a_truncated_file_is_refused_wherever_it_was_cut(
    tmp_path_factory: pytest.TempPathFactory, kind: str, share: float
) -> None:
    path = tmp_path_factory.mktemp("cut") / "c"
    _whole(kind)(path)
    content = path.read_bytes()
    refused(write(path, content[: int(share * len(content))]))


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@given(places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_is_read_or_refused_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, kind: str, places: list[tuple[float, int]]
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "c"
    _whole(kind)(path)
    content = bytearray(path.read_bytes())
    for share, value in places:
        content[int(share * len(content))] = value
    write(path, bytes(content))
    try:
        read_checkpoint(path)
    except CheckpointError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text", b"epoch 1 loss 0.3\n" * 20),
        ("page", b"<!DOCTYPE html><html>Sign in</html>"),
        ("picture", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100)),
        ("json", b'{"a": 1, "b": [1, 2, 3], "c": "................"}'),
        ("short", b"PK"),
    ],
)
def test_other_files_are_no_checkpoints(tmp_path: Path, name: str, content: bytes) -> None:
    assert "not a checkpoint" in refused(write(tmp_path / name, content))


def test_an_npz_is_no_checkpoint(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", a=np.zeros(3))
    assert "not a checkpoint" in refused(tmp_path / "weights.npz")


def test_a_folder_of_the_hub_is_read_by_its_open_clip_weights(tmp_path: Path) -> None:
    """Beside them may lie the same model in the form of another library, under the name of our backbones."""
    save_file({"ours": torch.ones(1)}, tmp_path / "model.safetensors")
    assert set(read_checkpoint(tmp_path).content) == {"ours"}
    torch.save({"theirs": torch.ones(1)}, tmp_path / "open_clip_pytorch_model.bin")
    assert set(read_checkpoint(tmp_path).content) == {"theirs"}
    save_file({"safe": torch.ones(1)}, tmp_path / "open_clip_model.safetensors")
    read = read_checkpoint(tmp_path)
    assert (set(read.content), read.path.name) == ({"safe"}, "open_clip_model.safetensors")


def test_an_empty_file_a_missing_file_and_a_strange_folder_are_named_as_such(tmp_path: Path) -> None:
    assert "empty" in refused(write(tmp_path / "c.pt", b""))
    assert "no such checkpoint" in refused(tmp_path / "gone.pt")
    (tmp_path / "folder").mkdir()
    assert "is a folder without" in refused(tmp_path / "folder")


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(2), 5])
def test_content_that_is_no_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "c.pt")
    assert "not a dict of tensors" in refused(tmp_path / "c.pt")


def test_a_file_without_tensors_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "args": argparse.Namespace()}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"no tensors found.*epoch, args"):
        inspect_checkpoint(tmp_path / "c.pt")
