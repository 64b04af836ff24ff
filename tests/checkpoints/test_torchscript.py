"""A TorchScript archive gives up its tensors and nothing else: what it names is not imported, what it asks for is not
called, its code is not looked at, and sizes that it only claims cost nothing.
"""

import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.checkpoints import load_checkpoint
from benchmarks.checkpoints.inert_pickle import STORAGES
from benchmarks.checkpoints.read import read_checkpoint
from benchmarks.checkpoints.torchscript import read_torchscript
from benchmarks.errors import CheckpointError
from tests.checkpoints import archives, openai_module


class Shared(torch.nn.Module):
    """What a module may hold besides weights of its own: the same weight twice, lists, numbers, nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(3, 2)
        self.second = torch.nn.Linear(3, 2)
        self.second.weight = self.first.weight
        self.sizes = [1, 2, 3]
        self.shares = [0.5, 1.0]
        self.table = {"a": 1}
        self.several = [torch.ones(2), torch.zeros(3)]
        self.label = "hello"
        self.view = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4).t()[1:, :2])
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("large", torch.tensor([-(2**40), 7]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(2)
        for tensor in self.several:
            total = total + tensor.sum()
        many = float(len(self.label) + len(self.sizes) + self.table["a"]) + self.shares[0]
        out: torch.Tensor = self.first(x) + self.second(x) + total + many + self.view.sum()
        return out


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a few kilobytes, for damage by the hundred."""
    path = tmp_path_factory.mktemp("jit") / "small.pt"
    torch.jit.save(torch.jit.script(Shared()), path)
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return openai_module.save(openai_module.make(), tmp_path_factory.mktemp("jit") / "clip.pt")


def refused(path: Path) -> str:
    """The one line with which an archive is refused."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def written(path: Path, attributes: dict[str, bytes], data: dict[str, bytes] | None = None) -> Path:
    return archives.write(path / "c.pt", archives.program(attributes), data)


@pytest.mark.parametrize("scripted", [False, True], ids=["traced", "scripted"])
def test_the_tensors_are_those_of_the_state_dict(tmp_path: Path, scripted: bool) -> None:
    model = openai_module.make()
    read = read_torchscript(openai_module.save(model, tmp_path / "c.pt", scripted))
    expected = model.state_dict()
    masks = {key for key in read if key.endswith("attn_mask")}
    assert set(read) - masks == set(expected)
    assert len(masks) == (2 if scripted else 0)
    for key, value in expected.items():
        assert read[key].dtype == value.dtype
        assert torch.equal(read[key], value)


def test_shared_strided_listed_and_other_attributes(tmp_path: Path) -> None:
    """Also guards the list of harmless helpers: torch's own writer uses most of them here."""
    module = Shared()
    torch.jit.save(torch.jit.script(module), tmp_path / "c.pt")
    read = read_torchscript(tmp_path / "c.pt")
    for key, value in module.state_dict().items():
        assert torch.equal(read[key], value), key
    assert set(read) - set(module.state_dict()) == {"several.0", "several.1"}
    assert torch.equal(read["several.1"], torch.zeros(3))
    assert not read["view"].is_contiguous()


def test_a_known_archive_is_taken_by_content_and_never_by_torchs_own_loader(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("load", "script", "trace"):
        monkeypatch.setattr(torch.jit, name, None)
    monkeypatch.setattr(torch, "load", None)
    named = archives.rewrite(archive, tmp_path / "clip.safetensors")
    assert set(read_checkpoint(named).content) == set(read_torchscript(archive))


def test_the_code_of_the_archive_is_not_looked_at(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        code = [name.partition("/")[2] for name in opened.namelist() if "/code/" in name]
    assert code
    broken = archives.rewrite(
        archive, tmp_path / "c.pt", dict.fromkeys(code, b"import os; (((") | {"constants.pkl": b""}
    )
    with pytest.raises(RuntimeError):
        torch.jit.load(broken)
    expected = read_torchscript(archive)
    assert all(torch.equal(value, expected[key]) for key, value in read_torchscript(broken).items())


def test_tensors_of_a_gpu_in_an_older_archive_are_read_on_the_cpu(archive: Path, tmp_path: Path) -> None:
    """OpenAI's were written on a GPU by a torch that did not say the byte order."""
    description = archives.entry(archive, "data.pkl").replace(archives.text("cpu"), archives.text("cuda:0"))
    assert b"cuda:0" in description
    changes = {"data.pkl": description, "byteorder": None, ".format_version": None, ".storage_alignment": None}
    read = read_torchscript(archives.rewrite(archive, tmp_path / "c.pt", changes))
    expected = read_torchscript(archive)
    assert all(torch.equal(read[key], value) and read[key].device.type == "cpu" for key, value in expected.items())


@pytest.mark.parametrize("storage", STORAGES)
def test_every_kind_of_number_is_read(tmp_path: Path, storage: str) -> None:
    values = torch.tensor([0, 1, 1]).to(STORAGES[storage])
    raw = bytes(values.view(torch.uint8).tolist())
    instructions = archives.tensor((3,), (1,), 3, storage=storage.removeprefix("torch."))
    read = read_torchscript(written(tmp_path, {"x": instructions}, {"0": raw}))
    assert read["x"].dtype == STORAGES[storage]
    assert torch.equal(read["x"], values)


class TestTraps:
    @staticmethod
    def fire(target: Path) -> bytes:
        """The arguments of the trap: a command that leaves a trace."""
        return b"(" + archives.text(f"touch {target}") + b"t"

    @pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
    def test_a_pickle_that_calls_the_system_is_refused_and_nothing_runs(
        self, archive: Path, tmp_path: Path, protocol: int
    ) -> None:
        target = tmp_path / "executed"
        trap = pickle.dumps({"state_dict": _Trap(target)}, protocol)
        path = archives.rewrite(archive, tmp_path / "trap.pt", {"data.pkl": trap})
        for way in (read_checkpoint, load_checkpoint):
            with pytest.raises(CheckpointError, match=r"refused: the pickle .*nothing in it was run"):
                way(path)
        assert not target.exists()

    @pytest.mark.parametrize(
        ("module", "attribute"),
        [
            ("os", "system"),
            ("posix", "system"),
            ("builtins", "eval"),
            ("torch", "load"),
            ("torch._utils", "_rebuild_qtensor"),
            ("torch._utils._rebuild_tensor_v2", "__globals__"),
            ("torch.jit._pickle", "build_tensor_from_id"),
            ("__torch", "M"),
            ("__torch__extra", "M"),
            ("torch.__torch__", "M"),
        ],
    )
    def test_names_that_are_not_on_the_list_are_refused_by_name(
        self, tmp_path: Path, module: str, attribute: str
    ) -> None:
        instructions = archives.name(module, attribute) + self.fire(tmp_path / "executed") + b"R"
        assert f"refused: the pickle names {module}.{attribute}" in refused(written(tmp_path, {"x": instructions}))
        assert not (tmp_path / "executed").exists()

    def test_a_real_module_that_is_called_like_the_archives_classes_is_not_imported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = tmp_path / "executed"
        (tmp_path / "__torch__.py").write_text(f"open({str(target)!r}, 'w')\nclass M:\n    pass\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        path = written(tmp_path, {"x": archives.tensor((1,), (1,), 1)}, {"0": bytes(4)})
        assert torch.equal(read_torchscript(path)["x"], torch.zeros(1))
        assert "__torch__" not in sys.modules
        assert not target.exists()

    @pytest.mark.parametrize(
        ("instructions", "what"),
        [
            (archives.name("__torch__.os", "system") + b"(X\x01\x00\x00\x00atR", r"calls __torch__\.os\.system"),
            (archives.name("__torch__", "M") + b"(X\x01\x00\x00\x00at\x81", r"makes an object of __torch__\.M"),
            (archives.name("torch", "FloatStorage") + b")\x81", r"makes an object of torch\.FloatStorage"),
            (archives.name("torch", "FloatStorage") + b")R", r"calls torch\.FloatStorage"),
            (archives.name("collections", "OrderedDict") + b"}b", r"sets the state of collections\.OrderedDict"),
            (archives.name("torch._utils", "_rebuild_tensor_v2") + b"}b", r"sets the state of torch\._utils"),
            (b"]}b", "sets the state of a list"),
            (archives.name("collections", "OrderedDict") + b"(]tR", r"fills a collections\.OrderedDict"),
            (b"(ios\nsystem\n", "holds the instruction INST"),
            (b"(cos\nsystem\no", r"names os\.system"),
            (b"\x82\x01", "holds the instruction EXT1"),
            (archives.text("os") + archives.text("system") + b"\x93", r"names os\.system"),
            (b"\x8e" + bytes([255] * 7) + b"\x00", "truncated or damaged"),
            (archives.text("storage") + b"Q", "no storage of numbers"),
        ],
    )
    def test_other_instructions_are_refused_by_name(self, tmp_path: Path, instructions: bytes, what: str) -> None:
        with pytest.raises(CheckpointError, match=what):
            read_torchscript(written(tmp_path, {"x": instructions}))


class _Trap:
    """Unpickled without restriction, it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)


class TestSizes:
    @pytest.mark.parametrize(
        ("instructions", "named"),
        [
            (archives.tensor((2, 3), (3, 1), 6), "x needs 24 bytes, 0 has 16"),
            (archives.tensor((2, 3), (3, 1), 4), r"x of shape \[2, 3\] does not fit its 4 numbers"),
            (archives.tensor((4,), (1,), 4, offset=1), r"x of shape \[4\] does not fit"),
            (archives.tensor((2,), (4,), 4), r"x of shape \[2\] does not fit"),
            (archives.tensor((1000, 1000), (0, 0), 4), "tensors of 4000000 bytes in a file of"),
            (archives.tensor((2, 3), (0, 0), 4), r"x of shape \[2, 3\] does not fit"),
            (archives.tensor((2**47, 2**47), (1, 1), 2**47), "tensors of"),
            (archives.tensor((2**62,), (1,), 4), "no sizes"),
            (archives.tensor((-1,), (1,), 4), "no sizes"),
            (archives.tensor((4,), (-1,), 4), "no sizes"),
            (archives.tensor((4,), (1, 1), 4), "1 sides and 2 strides"),
            (archives.tensor((1,) * 99, (1,) * 99, 4), "99 sides"),
            (archives.tensor((4,), (1,), -4), "no storage of numbers"),
            (archives.tensor((4,), (1,), 4, key="1"), r"data/1 is missing"),
            (archives.tensor((4,), (1,), 4, key="../data.pkl"), r"is missing"),
            (archives.tensor((4,), (1,), 4, storage="ComplexFloatStorage"), r"names torch\.ComplexFloatStorage"),
        ],
    )
    def test_a_tensor_that_does_not_lie_in_the_file_is_refused(
        self, tmp_path: Path, instructions: bytes, named: str
    ) -> None:
        path = written(tmp_path, {"x": instructions}, {"0": bytes(16)})
        with pytest.raises(CheckpointError, match=named):
            read_torchscript(path)

    def test_a_tensor_without_numbers_is_read(self, tmp_path: Path) -> None:
        path = written(tmp_path, {"x": archives.tensor((0, 3), (3, 1), 0, offset=7)}, {"0": b""})
        assert read_torchscript(path)["x"].shape == (0, 3)

    def test_entries_that_would_expand_are_refused_unopened(self, archive: Path, tmp_path: Path) -> None:
        """Stored entries cannot be larger than the file; torch never writes others."""
        path = archives.rewrite(archive, tmp_path / "c.pt", {}, zipfile.ZIP_DEFLATED)
        assert "data.pkl is compressed" in refused(path)
        bomb = archives.write(
            tmp_path / "bomb.pt",
            archives.program({"x": archives.tensor((1,), (1,), 1)}),
            {"0": bytes(10_000_000)},
            zipfile.ZIP_BZIP2,
        )
        assert bomb.stat().st_size < 10_000
        assert "compressed" in refused(bomb)

    def test_a_huge_description_is_refused_unread(self, tmp_path: Path) -> None:
        path = archives.write(tmp_path / "c.pt", b"\x80\x02" + b"N" * 5_000_000 + b".")
        assert "5000003 bytes to describe" in refused(path)

    def test_many_names_for_one_storage_do_not_multiply_it(self, tmp_path: Path) -> None:
        attributes = {f"x{index}": archives.tensor((1000,), (1,), 1000) for index in range(100)}
        assert "tensors of 400000 bytes in a file of" in refused(written(tmp_path, attributes, {"0": bytes(4000)}))

    def test_the_weights_are_mapped_and_not_loaded(self, tmp_path: Path) -> None:
        """A file of hundreds of megabytes is not held in memory beside the float32 model that is made of it."""
        many = 10_000_000
        path = written(tmp_path, {"x": archives.tensor((many,), (1,), many)}, {"0": bytes(4 * many)})
        before = _own_memory()
        held = read_torchscript(path)
        assert held["x"].shape == (many,)
        assert _own_memory() - before < many  # a quarter of the tensor


def _own_memory() -> int:
    """Bytes that this process holds and that are not pages of a mapped file."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


class TestDamage:
    @given(share=st.floats(0, 1, exclude_max=True))
    @settings(max_examples=30, deadline=None)
    def test_a_truncated_archive_is_refused_wherever_it_was_cut(
        self, small: Path, tmp_path_factory: pytest.TempPathFactory, share: float
    ) -> None:
        content = small.read_bytes()
        path = tmp_path_factory.mktemp("cut") / "c.pt"
        path.write_bytes(content[: int(share * len(content))])
        refused(path)

    @given(places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
    @settings(max_examples=100, deadline=None)
    def test_a_damaged_description_is_read_or_refused_but_never_crashes(
        self, small: Path, tmp_path_factory: pytest.TempPathFactory, places: list[tuple[float, int]]
    ) -> None:
        program = bytearray(archives.entry(small, "data.pkl"))
        for share, value in places:
            program[int(share * len(program))] = value
        path = archives.rewrite(small, tmp_path_factory.mktemp("damaged") / "c.pt", {"data.pkl": bytes(program)})
        _read_or_refused(path)

    @given(program=st.lists(st.sampled_from(range(256)), max_size=40).map(bytes))
    @settings(max_examples=100, deadline=None)
    def test_any_bytes_as_description_are_refused(
        self, tmp_path_factory: pytest.TempPathFactory, program: bytes
    ) -> None:
        refused(archives.write(tmp_path_factory.mktemp("random") / "c.pt", b"\x80\x02" + program))

    @given(back=st.integers(1, 3000), value=st.integers(0, 255))
    @settings(max_examples=60, deadline=None)
    def test_a_damaged_directory_is_read_or_refused(
        self, small: Path, tmp_path_factory: pytest.TempPathFactory, back: int, value: int
    ) -> None:
        content = bytearray(small.read_bytes())
        content[-back] = value
        path = tmp_path_factory.mktemp("directory") / "c.pt"
        path.write_bytes(content)
        _read_or_refused(path)

    @pytest.mark.parametrize(
        ("program", "named"),
        [
            (b"", "breaks off"),
            (b"\x80\x02", "breaks off"),
            (b"\x80\x02N.", "describes no module"),
            (b"\x80\x02}.", "describes no module"),
            (b"\x80\x02(.", "a mark"),
            (b"\x80\x02h\x05.", "breaks off"),
            (b"\x80\x02t.", "breaks off"),
            (b"\x80\x02](K\x01K\x02u.", "dict expected"),
            (b"\x80\x02}(K\x01u.", "breaks off"),
            (b"\x80\x02}()K\x01u.", "str expected"),
            (b"\x80\x02}(K\x01e.", "list expected"),
            (archives.name("torch._utils", "_rebuild_tensor_v2") + b")R.", "without storage"),
            (archives.name("torch.jit._pickle", "build_intlist") + b")R.", "breaks off"),
        ],
    )
    def test_a_contradictory_description_is_called_damaged(self, tmp_path: Path, program: bytes, named: str) -> None:
        message = refused(archives.write(tmp_path / "c.pt", program))
        assert "truncated or damaged" in message
        assert named in message

    def test_modules_nested_in_themselves_are_refused(self, tmp_path: Path) -> None:
        loop = archives.name("__torch__", "M") + b")\x81q\x00}(" + archives.text("again") + b"h\x00ub"
        assert "nested without end" in refused(archives.write(tmp_path / "c.pt", loop + b"."))
        wide = b"(" + b"h\x00" * 500 + b"t"
        bomb = {f"l{index}": wide for index in range(400)}
        start = archives.name("__torch__", "M") + b")\x81q\x00}("
        items = b"".join(archives.text(key) + value for key, value in bomb.items())
        assert "nested without end" in refused(archives.write(tmp_path / "c.pt", start + items + b"ub."))

    def test_two_tensors_of_one_name_are_refused(self, tmp_path: Path) -> None:
        one = archives.tensor((1,), (1,), 1)
        attributes = {"a.b": one, "a": archives.module({"b": one})}
        assert "two tensors of the name a.b" in refused(written(tmp_path, attributes, {"0": bytes(4)}))

    def test_what_a_class_stores_in_its_own_form_does_not_vanish(self, tmp_path: Path) -> None:
        own = archives.name("__torch__", "Packed") + b")\x81(" + archives.tensor((1,), (1,), 1) + b"tb"
        read = read_torchscript(written(tmp_path, {"packed": own}, {"0": bytes(4)}))
        assert list(read) == ["packed.state.0"]

    def test_a_foreign_byte_order_and_several_descriptions_are_refused(self, archive: Path, tmp_path: Path) -> None:
        assert "not little-endian" in refused(archives.rewrite(archive, tmp_path / "c.pt", {"byteorder": b"big"}))
        with zipfile.ZipFile(tmp_path / "two.pt", "w") as opened:
            for folder in "ab":
                opened.writestr(f"{folder}/data.pkl", b"")
                opened.writestr(f"{folder}/constants.pkl", b"")
        assert "2 descriptions" in refused(tmp_path / "two.pt")


def _read_or_refused(path: Path) -> None:
    try:
        read_checkpoint(path)
    except CheckpointError as error:
        assert "\n" not in str(error)
