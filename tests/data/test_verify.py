"""Verification finds every kind of damage, names the file in one line, and never reads a file twice."""

import hashlib
import io
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from benchmarks.data import verify as module
from benchmarks.data.verify import Item, Verified, verify
from benchmarks.errors import DataError


def encoded(form: str, size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


JPEG, PNG = encoded("JPEG"), encoded("PNG")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, two of them in a folder of their own."""
    (tmp_path / "set" / "sub").mkdir(parents=True)
    (tmp_path / "set" / "a.jpg").write_bytes(JPEG)
    (tmp_path / "set" / "sub" / "b.png").write_bytes(PNG)
    (tmp_path / "set" / "sub" / "c.jpg").write_bytes(encoded("JPEG", (7, 9)))
    return tmp_path / "set"


ITEMS = [Item("a.jpg"), Item("sub/b.png"), Item("sub/c.jpg")]


def failure(folder: Path, items: Sequence[Item] = ITEMS) -> str:
    """The message of the error, which must be one line."""
    with pytest.raises(DataError) as caught:
        verify(folder, items, "test")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_content_hash_and_size_are_those_of_the_file(folder: Path) -> None:
    known = verify(folder, ITEMS, "test")
    assert list(known) == ["a.jpg", "sub/b.png", "sub/c.jpg"]
    assert known["a.jpg"].sha256 == hashlib.sha256(JPEG).hexdigest()
    assert (known["sub/c.jpg"].width, known["sub/c.jpg"].height) == (7, 9)
    assert known["sub/b.png"].size == len(PNG)


@pytest.mark.parametrize(("name", "content"), [("a.jpg", JPEG), ("sub/b.png", PNG)])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.98])
def test_truncated_file_is_named(folder: Path, name: str, content: bytes, share: float) -> None:
    (folder / name).write_bytes(content[: int(share * len(content))])
    message = failure(folder)
    assert str(folder / name) in message
    assert "cannot be decoded" in message


def test_truncated_file_is_found_though_a_library_made_pillow_lenient(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    (folder / "a.jpg").write_bytes(JPEG[: len(JPEG) // 2])
    assert str(folder / "a.jpg") in failure(folder)
    # mypy believes that a module's constant keeps the value it was seen to have
    assert bool(ImageFile.LOAD_TRUNCATED_IMAGES), "the setting of the process was not put back"


def test_one_changed_byte_in_the_pixels_of_a_png_is_found(folder: Path) -> None:
    damaged = bytearray(PNG)
    damaged[len(PNG) // 2] ^= 1
    (folder / "sub" / "b.png").write_bytes(damaged)
    assert str(folder / "sub" / "b.png") in failure(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"<html>404</html>", "not a JPEG or PNG"), (encoded("GIF"), "not a JPEG or PNG")],
)
def test_what_is_no_image_is_named(folder: Path, content: bytes, reason: str) -> None:
    (folder / "a.jpg").write_bytes(content)
    message = failure(folder)
    assert str(folder / "a.jpg") in message
    assert reason in message


def test_formats_are_those_that_the_item_names(folder: Path) -> None:
    (folder / "a.jpg").write_bytes(encoded("GIF"))
    assert "a.jpg: is not a JPEG, PNG or BMP image" in failure(folder, [Item("a.jpg", formats=("JPEG", "PNG", "BMP"))])
    assert verify(folder, [Item("a.jpg", formats=("PNG", "GIF"))], "test")["a.jpg"].width == 40


@pytest.mark.parametrize("form", ["GIF", "BMP", "PPM", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_file_of_another_format_is_named(folder: Path, form: str, share: float) -> None:
    content = encoded(form)
    (folder / "a.jpg").write_bytes(content)
    assert verify(folder, [Item("a.jpg", formats=module.PICTURE_FORMATS)], "test")["a.jpg"].height == 30
    (folder / "a.jpg").write_bytes(content[: int(share * len(content))])
    assert "a.jpg: " in failure(folder, [Item("a.jpg", formats=module.PICTURE_FORMATS)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.sampled_from([JPEG, PNG, encoded("GIF"), encoded("PPM"), encoded("BMP"), encoded("WEBP")]),
    data=st.data(),
)
def test_random_damage_never_escapes_as_another_error(folder: Path, content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=6)):
        damaged[position] = data.draw(st.integers(0, 255))
    (folder / "a.jpg").write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            known = verify(folder, [Item("a.jpg", formats=module.PICTURE_FORMATS)], "test")
        except DataError as error:
            assert str(folder / "a.jpg") in str(error)
        else:
            assert known["a.jpg"].sha256 == hashlib.sha256(damaged).hexdigest()


@pytest.mark.parametrize("factor", [1.5, 3.0], ids=["Pillow warns", "Pillow refuses"])
def test_decompression_bomb_is_an_error_and_not_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(40 * 30 / factor))
    message = failure(folder)
    assert str(folder / "a.jpg") in message
    assert "more than" in message


def test_missing_file_and_dangling_link_are_named(folder: Path) -> None:
    assert str(folder / "d.jpg") in failure(folder, [*ITEMS, Item("d.jpg")])
    (folder / "e.jpg").symlink_to(folder / "nowhere.jpg")
    assert str(folder / "e.jpg") in failure(folder, [Item("e.jpg")])


def test_first_bad_file_in_order_is_named_and_the_others_counted(folder: Path) -> None:
    for name in ("sub/b.png", "sub/c.jpg"):
        (folder / name).write_bytes(b"no image")
    message = failure(folder)
    assert message.startswith(f"{folder / 'sub/b.png'}: ")
    assert "1 more bad file" in message
    assert "put the original file in its place" in message


def test_check_decides_and_its_reason_is_given(folder: Path) -> None:
    items = [Item("a.jpg", lambda image: None), Item("sub/c.jpg", lambda image: f"is {image.width} wide")]
    message = failure(folder, items)
    assert f"{folder / 'sub/c.jpg'}: is 7 wide" in message


@pytest.mark.parametrize(("orientation", "size"), [(1, (40, 30)), (3, (40, 30)), (6, (30, 40)), (8, (30, 40))])
def test_size_is_that_of_the_upright_picture(folder: Path, orientation: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    (folder / "a.jpg").write_bytes(encoded("JPEG", exif=exif.tobytes()))
    known = verify(folder, ITEMS, "test")["a.jpg"]
    assert (known.width, known.height) == size


def test_upright_size_is_the_one_that_opencv_decodes_to(folder: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = encoded("JPEG", exif=exif.tobytes())
        with Image.open(io.BytesIO(content)) as image:
            width, height = module.upright_size(image)
        assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (height, width)


def test_damaged_exif_is_no_defect(folder: Path) -> None:
    (folder / "a.jpg").write_bytes(encoded("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"))
    assert verify(folder, ITEMS, "test")["a.jpg"].width == 40


# The memory


def test_second_call_reads_nothing_and_says_the_same(folder: Path, reads: list[str]) -> None:
    first = verify(folder, ITEMS, "test")
    assert sorted(reads) == ["a.jpg", "sub/b.png", "sub/c.jpg"]
    assert verify(folder, ITEMS, "test") == first
    assert len(reads) == 3


def test_only_changed_and_new_files_are_read_again(folder: Path, reads: list[str]) -> None:
    verify(folder, ITEMS[:2], "test")
    status = (folder / "a.jpg").stat()
    os.utime(folder / "a.jpg", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    reads.clear()
    verify(folder, ITEMS, "test")
    assert sorted(reads) == ["a.jpg", "sub/c.jpg"]


def test_file_of_another_size_with_the_old_time_is_read_again(folder: Path, reads: list[str]) -> None:
    before = verify(folder, ITEMS, "test")["a.jpg"]
    (folder / "a.jpg").write_bytes(encoded("JPEG", (8, 8)))
    os.utime(folder / "a.jpg", ns=(before.mtime_ns, before.mtime_ns))
    reads.clear()
    after = verify(folder, ITEMS, "test")["a.jpg"]
    assert reads == ["a.jpg"]
    assert after.sha256 != before.sha256


def test_file_of_the_same_size_and_time_with_other_content_is_read_again(folder: Path, reads: list[str]) -> None:
    """As a copy that keeps times leaves it: the system's own note of the change tells."""
    before = verify(folder, ITEMS, "test")["a.jpg"]
    content = bytearray((folder / "a.jpg").read_bytes())
    content[-3] ^= 1
    (folder / "a.jpg").write_bytes(content)
    os.utime(folder / "a.jpg", ns=(before.mtime_ns, before.mtime_ns))
    reads.clear()
    after = verify(folder, ITEMS, "test")["a.jpg"]
    assert reads == ["a.jpg"]
    assert after.sha256 != before.sha256


def test_good_files_are_remembered_though_another_is_bad(folder: Path, reads: list[str]) -> None:
    (folder / "a.jpg").write_bytes(b"no image")
    failure(folder)
    (folder / "a.jpg").write_bytes(JPEG)
    reads.clear()
    verify(folder, ITEMS, "test")
    assert reads == ["a.jpg"]


def test_bad_file_is_not_remembered_as_good(folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"no image")
    assert failure(folder) == failure(folder)


def test_what_was_read_before_an_interruption_is_kept(folder: Path, reads: list[str]) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(folder, ITEMS, "test", interrupt)
    reads.clear()
    verify(folder, ITEMS, "test")
    assert reads == ["sub/c.jpg"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[1, 2]", b'{"a.jpg": [1, 2]}', b'{"a.jpg": ["x", 1, "s", 2, 3]}'],
)
def test_damaged_cache_is_rebuilt(folder: Path, cache: Path, reads: list[str], content: bytes) -> None:
    first = verify(folder, ITEMS, "test")
    (file,) = (cache / "verified").iterdir()
    file.write_bytes(content)
    reads.clear()
    assert verify(folder, ITEMS, "test") == first
    assert len(reads) == 3
    assert set(json.loads(file.read_text())) == set(first)


def test_folders_and_rules_do_not_share_a_memory(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    verify(folder, ITEMS, "test")
    other = tmp_path / "other"
    folder.rename(other)
    verify(other, ITEMS, "test")
    verify(other, ITEMS, "stricter")
    assert len(reads) == 9


def test_relative_and_absolute_paths_share_one(folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    verify(folder, ITEMS, "test")
    monkeypatch.chdir(folder.parent)
    verify(Path(folder.name), ITEMS, "test")
    assert len(reads) == 3


def test_progress_counts_to_the_end_and_includes_what_was_remembered(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    verify(folder, ITEMS[:1], "test")
    verify(folder, ITEMS, "test", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_cache_folder_that_cannot_be_written_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DETAILCLIP_BENCH_CACHE", str(tmp_path / "file"))
    message = failure(folder)
    assert str(tmp_path / "file") in message
    assert "DETAILCLIP_BENCH_CACHE" in message


@pytest.mark.parametrize(("names", "said"), [("A", "A"), ("AB", "A or B"), ("ABC", "A, B or C")])
def test_alternatives_are_listed(names: str, said: str) -> None:
    assert module.either(names) == said


@pytest.mark.slow
def test_remembered_set_of_22_000_files_costs_well_under_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    def known(folder: Path, item: Item, stamp: tuple[int, int, int]) -> Verified:
        return Verified(*stamp, "0" * 64, 1, 1)

    monkeypatch.setattr(module, "_read", known)
    items = [Item(f"{index}.jpg") for index in range(22_000)]
    for item in items:
        (tmp_path / item.path).touch()
    verify(tmp_path, items, "test")
    started = time.process_time()  # of this process alone: the machine may be busy
    verify(tmp_path, items, "test")
    assert time.process_time() - started < 0.8
