"""A published name leads to its file, fetched once and checked; and a file's content, never its name, back to it."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import transfer
from benchmarks.checkpoints import (
    Preprocessing,
    export_checkpoint,
    inspect_checkpoint,
    load_image_tower,
    published,
    registry,
    resolve,
)
from benchmarks.checkpoints.published import MIRROR, checkpoints_folder
from benchmarks.checkpoints.registry import Entry
from benchmarks.download import ByteProgress
from benchmarks.errors import CheckpointError
from tests.checkpoints import makers
from tests.checkpoints.layouts import write
from tests.loopback import Server, serving

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """A server without files, an empty cache folder, and no patience."""
    running.files.clear()
    running.requests.clear()
    monkeypatch.setattr(transfer, "_WAITS", (0.0, 0.0))
    monkeypatch.setenv("DETAILCLIP_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(MIRROR, raising=False)
    return running


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put entries into the registry."""

    def add(*entries: Entry) -> None:
        together = (*registry.ENTRIES, *entries)
        for module in (registry, published):
            monkeypatch.setattr(module, "ENTRIES", together)

    return add


def entry(server: Server, **fields: Any) -> Entry:
    usual = {"name": "toy-vits16", "family": "dino", "state": "public", "source": "https://github.com/toy"}
    return Entry(**(usual | {"address": f"{server.url}/toy/published.pth"} | fields))


@contextmanager
def silently(what: str) -> Iterator[ByteProgress]:
    yield lambda done, total: None


def got(given: str | Path) -> Path:
    return resolve(given, lambda line: None, silently)


def refusal(given: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        got(given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names() -> list[str]:
    return sorted(path.name for path in checkpoints_folder().glob("*"))


# ---- from a name to a file


class TestFetching:
    def test_a_name_is_fetched_once_and_its_content_noted(self, server: Server, declare: Any) -> None:
        server.publish("/toy/published.pth", CONTENT)
        declare(entry(server))
        said: list[str] = []
        shown: list[tuple[str, int, int | None]] = []

        @contextmanager
        def seen(what: str) -> Iterator[ByteProgress]:
            yield lambda done, total: shown.append((what, done, total))

        path = resolve("toy-vits16", said.append, seen)
        assert path == checkpoints_folder() / "toy-vits16.pth"
        assert path.read_bytes() == CONTENT
        assert names() == ["toy-vits16.pth", "toy-vits16.pth.json"]
        note = json.loads((checkpoints_folder() / "toy-vits16.pth.json").read_text())
        assert note == {"name": "toy-vits16", "sha256": SHA256, "address": f"{server.url}/toy/published.pth"}
        assert shown[-1] == ("fetching toy-vits16.pth", len(CONTENT), len(CONTENT))
        assert said == [f"toy-vits16: fetching {server.url}/toy/published.pth to {path}"]
        assert got("toy-vits16") == path
        assert len(server.requests) == 1

    def test_an_interrupted_download_is_taken_up(self, server: Server, declare: Any) -> None:
        file = server.publish("/toy/published.pth", CONTENT, drops=[1000, 0, 0, 0])
        declare(entry(server))
        assert "1,000 bytes are kept" in refusal("toy-vits16")
        file.drops.clear()
        assert got("toy-vits16").read_bytes() == CONTENT
        assert server.requests[-1][1] == "bytes=1000-"

    @pytest.mark.parametrize("known", [{"sha256": SHA256}, {"sha256": SHA256[:8]}, {"md5": "0f2b1c"}])
    def test_another_content_is_refused_and_removed(self, server: Server, declare: Any, known: dict[str, str]) -> None:
        server.publish("/toy/published.pth", CONTENT[:-1] + b"?")
        declare(entry(server, **known))
        assert re.search(r"toy-vits16: .*its (sha256|md5) is .* is published", refusal("toy-vits16"))
        assert names() == []

    @pytest.mark.parametrize("digits", [8, 64])
    def test_the_published_digits_are_enough(self, server: Server, declare: Any, digits: int) -> None:
        server.publish("/toy/published.pth", CONTENT)
        declare(entry(server, sha256=SHA256[:digits]))
        assert got("toy-vits16").read_bytes() == CONTENT

    def test_a_file_that_is_gone_leads_to_the_way_by_hand(self, server: Server, declare: Any) -> None:
        declare(entry(server))
        message = refusal("toy-vits16")
        assert "answered 404" in message
        assert f"by hand to {checkpoints_folder() / 'toy-vits16.pth'}" in message

    def test_a_mirror_has_the_files_under_their_names_here(
        self, server: Server, declare: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.publish("/mirror/toy-vits16.pth", CONTENT)
        declare(entry(server, sha256=SHA256))
        monkeypatch.setenv(MIRROR, f"{server.url}/mirror/")
        assert got("toy-vits16").read_bytes() == CONTENT
        assert [path for path, _, _ in server.requests] == ["/mirror/toy-vits16.pth"]

    def test_a_file_that_lies_in_its_place_already_is_checked_and_not_fetched(
        self, server: Server, declare: Any
    ) -> None:
        declare(entry(server, sha256=SHA256))
        place = checkpoints_folder() / "toy-vits16.pth"
        place.parent.mkdir(parents=True)
        place.write_bytes(b"another")
        assert "remove it" in refusal("toy-vits16")
        place.write_bytes(CONTENT)
        assert got("toy-vits16") == place
        assert not server.requests
        assert json.loads((checkpoints_folder() / "toy-vits16.pth.json").read_text())["address"] == ""

    def test_a_note_without_its_file_is_no_file(self, server: Server, declare: Any) -> None:
        server.publish("/toy/published.pth", CONTENT)
        declare(entry(server))
        got("toy-vits16").unlink()
        assert got("toy-vits16").read_bytes() == CONTENT


class TestNotFetched:
    def test_what_exists_is_taken_as_it_is(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for given in ("slip-vitb16-25e", "folder"):
            Path(given).mkdir()
            assert got(given) == Path(given)
        assert not checkpoints_folder().exists()

    def test_by_hand_says_where_it_goes_and_takes_it_from_there(self, server: Server) -> None:
        place = checkpoints_folder() / "detailclip-vitb16-50e.pt"
        message = refusal("detailclip-vitb16-50e")
        assert "OneDrive" in message
        assert f"save it as {place}" in message
        place.parent.mkdir(parents=True)
        place.write_bytes(CONTENT)
        assert got("detailclip-vitb16-50e") == place

    @pytest.mark.parametrize(
        "each", [each for each in registry.ENTRIES if each.state != "public"], ids=lambda e: e.name
    )
    def test_what_cannot_be_fetched_says_why(self, server: Server, each: Entry) -> None:
        message = refusal(each.name)
        assert message.startswith(f"{each.name}: ")
        assert each.how in message

    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            ("slip-vitb16-25", "slip-vitb16-25e"),
            ("dino-vit-b16", "dino-vitb16"),
            ("detailclip-50e", "detailclip-vitb16"),
        ],
    )
    def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(
        self, server: Server, given: str, meant: str
    ) -> None:
        assert re.search(rf"{given}: no such checkpoint; did you mean .*{meant}.*\?$", refusal(given))

    def test_a_path_that_does_not_exist_is_answered_as_one(self, server: Server) -> None:
        assert refusal("/no/such/file") == (
            "/no/such/file: no such checkpoint; check the path, or take a name of `bench list --checkpoints`"
        )


# ---- from a file to what is published of it


def put(server: Server, declare: Any, tmp_path: Path, layout: str, **fields: Any) -> Path:
    """Publish a tiny file of ``layout``, and fetch it."""
    content = write(layout, tmp_path).read_bytes()
    server.publish("/toy/published.pth", content)
    declare(entry(server, **fields))
    return got("toy-vits16")


class TestRecognised:
    @pytest.mark.parametrize(
        ("layout", "family", "title", "resize"),
        [
            ("mae-encoder", "mae", "MAE", 256),
            ("dino-backbone", "dino", "DINO", 256),
            ("ibot-teacher", "ibot", "iBOT", 256),
            ("ibot-teacher", "attmask", "AttMask", 256),
            ("deit", "deit", "DeiT", 248),
        ],
    )
    def test_a_bare_backbone_gets_family_preprocessing_and_row(
        self, server: Server, declare: Any, tmp_path: Path, layout: str, family: str, title: str, resize: int
    ) -> None:
        path = put(server, declare, tmp_path, layout, family=family, row="Toy@3", note="of two epochs")
        info = load_image_tower(path, image_heads=2).info
        assert (info.name, info.family, info.layout, info.title) == ("toy-vits16", family, "timm-vit", title)
        statistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        assert info.preprocessing == Preprocessing(*statistics, resize, "bicubic", 224)
        assert info.row == "Toy@3"
        assert info.notes == (
            f"taken for toy-vits16 because it was fetched from {server.url}/toy/published.pth; no whole sha256 of it "
            "is published",
            "of two epochs",
        )

    def test_a_whole_published_hash_needs_no_note_and_holds_anywhere(
        self, server: Server, declare: Any, tmp_path: Path
    ) -> None:
        path = write("dino-backbone", tmp_path)
        declare(entry(server, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), row="Toy@3"))
        info = inspect_checkpoint(path)
        assert (info.family, info.row, info.notes) == ("dino", "Toy@3", ())

    def test_heads_are_the_familys_too(self, server: Server, declare: Any, tmp_path: Path) -> None:
        """A plain ViT of width 192 must be told its heads; DeiT's ViT-Ti has 3."""
        path = tmp_path / "c.pth"
        torch.save({"model": makers.vit(192, depth=1)}, path)
        assert inspect_checkpoint(path).heads.image is None
        declare(entry(server, family="deit", sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
        assert inspect_checkpoint(path).heads.image == 3

    def test_a_copy_elsewhere_is_the_same_file_under_any_name(
        self, server: Server, declare: Any, tmp_path: Path
    ) -> None:
        path = put(server, declare, tmp_path, "dino-backbone", row="Toy@3")
        copy = tmp_path / "clip_base_25ep.pt"
        copy.write_bytes(path.read_bytes())
        assert inspect_checkpoint(copy).row == "Toy@3"

    def test_a_file_name_alone_says_nothing(self, server: Server, tmp_path: Path) -> None:
        path = write("slip", tmp_path).rename(tmp_path / "slip-vitb16-25e.pt")
        assert inspect_checkpoint(path).row is None

    def test_a_file_that_changed_since_is_refused(self, server: Server, declare: Any, tmp_path: Path) -> None:
        path = put(server, declare, tmp_path, "dino-backbone")
        path.write_bytes(write("ibot-teacher", tmp_path).read_bytes())
        with pytest.raises(CheckpointError, match=r"changed since it was put here as toy-vits16: .* remove it"):
            inspect_checkpoint(path)
        path.unlink()
        assert got("toy-vits16") == path
        assert inspect_checkpoint(path).family == "dino"

    @pytest.mark.parametrize("layout", ["slip", "mae", "ibot"])
    def test_a_file_of_another_layout_is_not_what_it_is_kept_as(
        self, server: Server, declare: Any, tmp_path: Path, layout: str
    ) -> None:
        path = put(server, declare, tmp_path, layout)
        with pytest.raises(CheckpointError, match=r"kept as toy-vits16, but has the layout of .*, not of DINO; remove"):
            inspect_checkpoint(path)

    def test_the_familys_own_layout_is_taken(self, server: Server, declare: Any, tmp_path: Path) -> None:
        path = put(server, declare, tmp_path, "dino")
        info = load_image_tower(path, image_heads=2).info
        assert (info.family, info.layout, info.towers) == ("dino", "dino", ("ema", "online"))

    def test_put_in_its_place_by_hand(self, server: Server, declare: Any, tmp_path: Path) -> None:
        declare(replace(entry(server), state="by hand", address=None, how="ask", row="Toy"))
        place = checkpoints_folder() / "toy-vits16.pt"
        place.parent.mkdir(parents=True)
        place.write_bytes(write("dino-backbone", tmp_path).read_bytes())
        assert inspect_checkpoint(place).row is None  # nobody has said yet what it is
        info = inspect_checkpoint(got("toy-vits16"))
        assert info.row == "Toy"
        assert "put in its place by hand" in info.notes[0]

    def test_a_damaged_note_makes_the_file_one_that_nobody_knows(
        self, server: Server, declare: Any, tmp_path: Path
    ) -> None:
        path = put(server, declare, tmp_path, "dino-backbone")
        for text in ("{", '{"name": 3}', "[]"):
            (checkpoints_folder() / "toy-vits16.pth.json").write_text(text)
            assert inspect_checkpoint(path).family == "timm-vit"

    def test_an_export_carries_family_and_row_on(self, server: Server, declare: Any, tmp_path: Path) -> None:
        path = put(server, declare, tmp_path, "dino-backbone", row="Toy@3")
        info = load_image_tower(export_checkpoint(path, "backbone", tmp_path / "out", image_heads=2)).info
        assert (info.name, info.family, info.row) == ("toy-vits16", "dino", "Toy@3")
        assert info.preprocessing == load_image_tower(path, image_heads=2).info.preprocessing
