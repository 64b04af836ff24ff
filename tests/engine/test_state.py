"""Resume states: what goes in comes out, and nothing else is accepted."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from benchmarks.engine.state import load_state, save_state
from benchmarks.errors import RecordError
from tests.engine.test_resume import assert_same

tensors = st.sampled_from([torch.float32, torch.int64, torch.bfloat16]).flatmap(
    lambda kind: st.lists(st.integers(0, 3), max_size=3).map(
        lambda shape: torch.arange(int(torch.tensor(shape).prod())).reshape(shape).to(kind)
    )
)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
keys = st.text() | st.integers()
trees: st.SearchStrategy[Any] = st.recursive(
    plain | tensors,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(state=st.dictionaries(st.text(), trees, max_size=3))
def test_round_trip(tmp_path: Path, state: dict[str, Any]) -> None:
    save_state(tmp_path / "s.safetensors", state)
    assert_same(load_state(tmp_path / "s.safetensors"), state)


def test_shared_memory_is_stored_apart(tmp_path: Path) -> None:
    """Tied tensors and views, which safetensors itself refuses."""
    base = torch.arange(6.0)
    save_state(tmp_path / "s.safetensors", {"base": base, "again": base, "view": base[2:4]})
    assert_same(load_state(tmp_path / "s.safetensors"), {"base": base, "again": base, "view": base[2:4]})


def test_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Path"):
        save_state(tmp_path / "s.safetensors", {"object": tmp_path})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\x80\x04\x95pickle"])
def test_other_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.safetensors"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=str(path)):
        load_state(path)


def test_other_safetensors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(RecordError, match="not a resume state"):
        load_state(path)


@pytest.mark.parametrize(
    "tree",
    [
        '{"$mapping": [["a"',
        json.dumps({"$mapping": [["weights", {"$tensor": "t7"}]]}),
        json.dumps({"$mapping": [["weights", {"other": 1}]]}),
        json.dumps({"$mapping": [["too", "many", "parts"]]}),
        json.dumps({"$mapping": 3}),
        json.dumps(["no", "names"]),
    ],
)
def test_damaged_trees_are_one_line(tmp_path: Path, tree: str) -> None:
    path = tmp_path / "s.safetensors"
    save_file({"t0": torch.zeros(1)}, path, metadata={"state": tree})
    with pytest.raises(RecordError, match=f"{path}.*delete it to start anew") as caught:
        load_state(path)
    assert "\n" not in str(caught.value)
