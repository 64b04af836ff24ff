"""Every source reads its layout, names what is wrong, and can be copied into a worker."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from pydantic import TypeAdapter, ValidationError

from benchmarks.errors import DataError
from pretrain.data import SOURCES, SourceFields, open_source
from pretrain.data.source import Source
from tests.pretrain.data.makers import COLOURS, TEXTS, jpeg, webdataset_files, write_csv, write_images, write_tar


def opened(root: Path, **fields: Any) -> Source:
    return open_source(TypeAdapter(SourceFields).validate_python(fields), root)


def assert_three_pairs(source: Source) -> None:
    """The three pairs of the makers, in order, in this process and in a pickled copy."""
    copy = pickle.loads(pickle.dumps(source))
    for one in (source, copy):
        assert len(one) == 3
        for index, (colour, texts) in enumerate(zip(COLOURS, TEXTS, strict=True)):
            mean = np.asarray(one.image(index).convert("RGB")).mean(axis=(0, 1))
            assert np.abs(mean - colour).max() < 40
            assert one.texts(index) == texts


def test_every_kind_has_a_source() -> None:
    union = TypeAdapter(SourceFields).json_schema()
    assert set(union["discriminator"]["mapping"]) == set(SOURCES)


@pytest.mark.parametrize("fields", [{"kind": "laion"}, {"kind": "index"}, {"kind": "coco", "split": "x"}, {}])
def test_unknown_kind_missing_or_misspelt_field_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(SourceFields).validate_python(fields)


# index


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_index_reads_every_kind_of_table(tmp_path: Path, suffix: str) -> None:
    names = write_images(tmp_path / "images")
    rows = [
        {"image": n, "id": i, "title": t, "description": d}
        for i, (n, (t, d)) in enumerate(zip(names, TEXTS, strict=True))
    ]
    path = tmp_path / f"pairs.{suffix}"
    if suffix == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == "json":
        path.write_text(json.dumps(rows))
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        delimiter = {"csv": ",", "tsv": "\t"}[suffix]
        lines = [delimiter.join(map(str, row.values())) for row in rows]
        path.write_text("\n".join([delimiter.join(rows[0]), *lines]) + "\n")
    assert_three_pairs(opened(tmp_path, kind="index", table=path.name, folder="images"))


def test_index_fields_act(tmp_path: Path) -> None:
    write_csv(tmp_path)
    base = {"kind": "index", "table": "pairs.csv", "folder": "images"}
    assert opened(tmp_path, **base, captions=["description"]).texts(0) == ("drawn by hand",)
    assert opened(tmp_path, **base, captions=["description", "title"]).texts(0) == ("drawn by hand", "a red square")
    assert not opened(tmp_path, **base).alternatives
    assert opened(tmp_path, **base, texts="alternatives").alternatives
    assert opened(tmp_path, **base, image="title").name(1) == "a green square"


def test_index_keeps_quoted_commas_newlines_and_numbers_as_text(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "t.csv").write_text('image,title\n0.jpg,"two, ""three""\nfour"\n1.jpg,007\n2.jpg,\n')
    source = opened(tmp_path, kind="index", table="t.csv", captions=["title"])
    assert [source.texts(index)[0] for index in range(3)] == ['two, "three"\nfour', "007", ""]


def test_index_missing_values_are_empty_texts(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(
        '[{"image": "0.jpg", "title": null}, {"image": "1.jpg"}, {"image": "", "title": 5}]'
    )
    source = opened(tmp_path, kind="index", table="t.json", captions=["title"])
    assert [source.texts(index) for index in range(3)] == [("",), ("",), ("5",)]
    assert source.name(2) == "row 3"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "picture,title\na.jpg,x\n", "no column 'image'"),
        ("t.csv", "image,text\na.jpg,x\n", "no column 'title'"),
        ("t.csv", "image,title\n", "no rows"),
        ("t.csv", "", "cannot be read"),
        ("t.json", "{}", "list of objects"),
        ("t.json", "{", "cannot be read"),
        ("t.jsonl", "{\n", "cannot be read"),
        ("t.parquet", "no parquet", "cannot be read"),
        ("t.xls", "", "tables are read from"),
    ],
)
def test_index_names_what_is_wrong_with_a_table(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path, kind="index", table=name, captions=["title"])
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_index_of_a_million_rows_keeps_no_objects(tmp_path: Path) -> None:
    count = 1_000_000
    repeated = pa.array(["a.jpg"]).take(pa.array(np.zeros(count, np.int64)))
    parquet.write_table(pa.table({"image": repeated, "title": repeated}), tmp_path / "t.parquet")
    source = opened(tmp_path, kind="index", table="t.parquet", captions=["title"])
    assert len(source) == count
    assert all(isinstance(value, pa.ChunkedArray) for value in (vars(source)["_images"], *vars(source)["_captions"]))
    assert len(pickle.dumps(source)) < 40 * count


# webdataset


@pytest.mark.parametrize("pattern", ["s/{0000..0001}.tar", "s/{0000,0001}.tar", "s/*.tar", "s/000?.tar"])
def test_webdataset_reads_shards_by_pattern(tmp_path: Path, pattern: str) -> None:
    write_tar(tmp_path / "s" / "0000.tar", webdataset_files([0, 1]))
    write_tar(tmp_path / "s" / "0001.tar", webdataset_files([2]))
    source = opened(tmp_path, kind="webdataset", shards=pattern)
    assert [source.texts(index) for index in range(3)] == [(title,) for title, _ in TEXTS]
    assert source.name(2) == "0001.tar:00002"
    source = opened(tmp_path, kind="webdataset", shards=str(tmp_path / pattern), json_keys=["title", "description"])
    assert_three_pairs(source)


def test_webdataset_key_ends_at_the_first_dot_and_keeps_its_folder(tmp_path: Path) -> None:
    files = [
        ("a.b/x.seg.txt", b"no"),
        ("a.b/x.txt", b"yes"),
        ("a.b/x.JPEG", jpeg(0)),
        ("a.b/._x.jpg", b"mac"),
        ("y.png", jpeg(1)),
    ]
    write_tar(tmp_path / "s.tar", files)
    source = opened(tmp_path, kind="webdataset", shards="s.tar")
    assert [source.name(index) for index in range(len(source))] == ["s.tar:a.b/x", "s.tar:y"]
    assert source.texts(0) == ("yes",)
    assert source.texts(1) == ()


def test_webdataset_misspelt_json_key_says_so(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", webdataset_files([0]))
    with pytest.raises(DataError, match=r"s\.tar.*no caption \(entries: title, description\)"):
        opened(tmp_path, kind="webdataset", shards="s.tar", json_keys=["caption"])


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff", b'{"title": null}'])
def test_webdataset_damaged_json_of_a_single_sample_is_no_text(tmp_path: Path, content: bytes) -> None:
    write_tar(tmp_path / "s.tar", [*webdataset_files([0]), ("x.jpg", jpeg(0)), ("x.json", content)])
    source = opened(tmp_path, kind="webdataset", shards="s.tar", json_keys=["title"])
    assert source.texts(0) == ("a red square",)
    assert source.texts(1) == ("",)


@pytest.mark.parametrize(
    ("files", "damage", "message"),
    [
        ([("a.txt", b"x")], 0, "holds no images"),
        (webdataset_files([0, 1]), 11_000, "truncated"),
        ([("a.jpg", b"x")], 100_000, "tar file"),
    ],
)
def test_webdataset_names_a_bad_shard(
    tmp_path: Path, files: list[tuple[str, bytes]], damage: int, message: str
) -> None:
    shard = tmp_path / "s.tar"
    write_tar(shard, files)
    shard.write_bytes(shard.read_bytes()[: max(shard.stat().st_size - damage, 7)])
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path, kind="webdataset", shards="s.tar")
    assert str(shard) in str(caught.value)


def test_webdataset_missing_shard_is_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", webdataset_files([0]))
    with pytest.raises(DataError, match=r"1\.tar"):
        opened(tmp_path, kind="webdataset", shards="{0..1}.tar")


# COCO and Karpathy


def write_coco(root: Path) -> None:
    names = write_images(root / "images")
    images = [{"id": 7 * index, "file_name": name} for index, name in enumerate(names)]
    sentences = [
        {"image_id": 0, "caption": "one"},
        {"image_id": 14, "caption": "three"},
        {"image_id": 0, "caption": "two"},
    ]
    (root / "c.json").write_text(json.dumps({"images": images, "annotations": sentences}))


def test_coco_gathers_sentences_and_leaves_out_images_without(tmp_path: Path) -> None:
    write_coco(tmp_path)
    source = opened(tmp_path, kind="coco", annotations="c.json", folder="images")
    assert [source.name(index) for index in range(len(source))] == ["0.jpg", "2.jpg"]
    assert source.texts(0) == ("one", "two")
    assert source.alternatives
    assert source.image(1).size == (24, 24)


def write_karpathy(root: Path) -> None:
    names = write_images(root / "images" / "val2014")
    images = [
        {
            "filename": name,
            "filepath": "val2014",
            "split": split,
            "sentences": [{"raw": f"{split} one"}, {"raw": "two"}],
        }
        for name, split in zip(names, ("train", "restval", "test"), strict=True)
    ]
    (root / "k.json").write_text(json.dumps({"images": images}))


@pytest.mark.parametrize(("splits", "count"), [(["train"], 1), (["train", "restval"], 2), (["test"], 1)])
def test_karpathy_takes_the_named_splits(tmp_path: Path, splits: list[str], count: int) -> None:
    write_karpathy(tmp_path)
    source = opened(tmp_path, kind="karpathy", annotations="k.json", folder="images", splits=splits)
    assert len(source) == count
    assert source.texts(0) == (f"{splits[0]} one", "two")
    assert source.image(0).size == (24, 24)


def test_karpathy_unknown_split_lists_the_known(tmp_path: Path) -> None:
    write_karpathy(tmp_path)
    with pytest.raises(DataError, match=r"'tset' \(splits: restval, test, train\)"):
        opened(tmp_path, kind="karpathy", annotations="k.json", folder="images", splits=["tset"])


@pytest.mark.parametrize("kind", ["coco", "karpathy"])
@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"images": [{}], "annotations": []}', '{"images": [1]}'])
def test_json_of_another_layout_is_named(tmp_path: Path, kind: str, content: str) -> None:
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(DataError, match=r"c\.json"):
        opened(tmp_path, kind=kind, annotations="c.json", folder=".")


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "index", "table": "none.csv"},
        {"kind": "index", "table": "pairs.csv", "folder": "none"},
        {"kind": "coco"},
        {"kind": "karpathy", "annotations": "none.json", "folder": "images"},
        {"kind": "karpathy", "annotations": "k.json", "folder": "none"},
        {"kind": "webdataset", "shards": "none/*.tar"},
        {"kind": "yfcc15m"},
    ],
)
def test_missing_file_or_folder_is_named_with_the_remedy(tmp_path: Path, fields: dict[str, Any]) -> None:
    write_csv(tmp_path)
    write_karpathy(tmp_path)
    with pytest.raises(DataError, match=rf"{tmp_path}.*no such .*; \w+") as caught:
        opened(tmp_path, **fields)
    assert "\n" not in str(caught.value)


# Broken images


def test_missing_truncated_and_mislabelled_images_are_os_errors(tmp_path: Path) -> None:
    write_csv(tmp_path)
    (tmp_path / "images" / "0.jpg").unlink()
    (tmp_path / "images" / "1.jpg").write_bytes(jpeg(1)[:-60])
    (tmp_path / "images" / "2.jpg").write_text("I am a text file")
    source = opened(tmp_path, kind="index", table="pairs.csv", folder="images")
    for index in range(3):
        with pytest.raises(OSError, match=r"decoded|No such file"):
            source.image(index)


def test_decompression_bomb_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(tmp_path)
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    with pytest.raises(OSError, match="pixels"):
        opened(tmp_path, kind="index", table="pairs.csv", folder="images").image(0)


# Real files


@pytest.mark.real_data
def test_real_flickr8k(real_data: Path) -> None:
    fields = {"kind": "karpathy", "annotations": "flickr8k/dataset_flickr8k.json", "folder": "flickr8k/images"}
    source = opened(real_data, **fields)
    assert len(source) == 600
    assert len(opened(real_data, **fields, splits=["train", "test"])) == 700
    assert {len(source.texts(index)) for index in range(600)} == {5}
    assert min(source.image(5).size) > 100


@pytest.mark.real_data
def test_real_coco_captions(real_data: Path) -> None:
    source = opened(real_data, kind="coco")
    assert 0 < len(source) <= 80
    assert all(len(source.texts(index)) >= 5 for index in range(len(source)))
    assert min(source.image(0).size) > 100
