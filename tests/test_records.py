"""Records say only what is consistent, survive being written and read, and name what is wrong."""

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import jsonschema
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmarks import records
from benchmarks.errors import RecordError
from benchmarks.files import shipped
from benchmarks.records import Record, Store, fingerprint, load, make_run_id, status_of
from tests.example_record import make_record, make_samples, small_record

OLD_RECORDS = Path(__file__).parent / "fixtures" / "records"
HOSTILE = [
    "../../etc/passwd",
    "a/b\\c",
    "<script>alert(1)</script>",
    "…",
    "",
    "x" * 5000,
    "CON",
    "-rf",
    ".hidden",
    "a\0b\n",
]

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
protocols = st.dictionaries(st.text(), plain, max_size=5)


# ---- fingerprint


def test_the_fingerprint_of_a_known_protocol_never_changes() -> None:
    """Stored records carry it: another canonical form would make every old run look like another protocol."""
    assert fingerprint({"b": [1, 2.5, None, True], "a": {"ü": "x"}}) == "5ae6711a7b0bec94"


@settings(deadline=None)
@given(protocols, st.randoms(use_true_random=False))
def test_the_fingerprint_does_not_depend_on_the_order_of_keys(fields: dict[str, Any], random: Any) -> None:
    names = list(fields)
    random.shuffle(names)
    assert fingerprint({name: fields[name] for name in names}) == fingerprint(fields)


@settings(deadline=None)
@given(protocols, st.text(), plain, plain)
def test_the_fingerprint_sees_every_value(fields: dict[str, Any], name: str, one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (fingerprint({**fields, name: one}) == fingerprint({**fields, name: other})) == same


@settings(deadline=None)
@given(protocols)
def test_the_fingerprint_survives_json(fields: dict[str, Any]) -> None:
    assert fingerprint(json.loads(json.dumps(fields))) == fingerprint(fields)


def test_tuples_count_as_lists_and_nonsense_is_refused() -> None:
    assert fingerprint({"scale": (2048, 512), "by": {10: 1, 2: 2}}) == fingerprint(
        {"scale": [2048, 512], "by": {"10": 1, "2": 2}}
    )
    for value in (math.nan, math.inf, object(), {1, 2}):
        with pytest.raises(ValueError, match=r"JSON"):
            fingerprint({"x": value})


# ---- run ids


def run_id(**changes: Any) -> str:
    fields: dict[str, Any] = {
        "benchmark": "zeroshot/mnist",
        "checkpoint_name": "slip",
        "checkpoint_sha256": "a" * 64,
        "tower": "ema",
        "protocol_fingerprint": "p" * 16,
        "data_fingerprint": "d" * 16,
        "seed": 0,
        "expected": 100,
        "status": "full",
    }
    return make_run_id(**(fields | changes))


def test_a_run_id_can_be_read_and_is_the_same_each_time() -> None:
    assert run_id() == run_id()
    assert re.fullmatch(r"zeroshot-mnist--slip--ema--seed0--full--[0-9a-f]{12}", run_id())
    assert "--slip--seed7--quick--" in run_id(tower=None, seed=7, status="quick")


@pytest.mark.parametrize(
    "change",
    [
        {"benchmark": "zeroshot-mnist"},
        {"checkpoint_name": "slip "},
        {"checkpoint_sha256": "b" * 64},
        {"expected": 7},
        {"tower": "online"},
        {"tower": None},
        {"protocol_fingerprint": "q" * 16},
        {"data_fingerprint": "e" * 16},
        {"seed": 1},
        {"status": "quick"},
        {"model_protocol": {"image_heads": 2}},
    ],
    ids=str,
)
def test_a_run_that_differs_in_anything_has_another_id(change: dict[str, Any]) -> None:
    """Equal ids would make `--existing skip` return the result of another run."""
    assert run_id(**change) != run_id()


@settings(deadline=None)
@given(st.text() | st.sampled_from(HOSTILE), st.text(), st.integers(0, 2**63))
def test_a_run_id_is_a_safe_folder_name_whatever_the_names(name: str, benchmark: str, seed: int) -> None:
    made = run_id(checkpoint_name=name, benchmark=benchmark, seed=seed)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", made)
    assert ".." not in Path(made).parts
    assert len(made) <= 160
    assert Record.model_validate(small_record(run_id=made).model_dump()).run_id == made


@settings(deadline=None)
@given(st.text(), st.text())
def test_names_that_look_alike_as_folders_stay_apart(one: str, other: str) -> None:
    assert (run_id(checkpoint_name=one) == run_id(checkpoint_name=other)) == (one == other)


# ---- status


@pytest.mark.parametrize(
    ("sample", "quick", "limited", "complete", "status"),
    [
        (True, True, True, True, "sample"),
        (False, True, True, True, "quick"),
        (False, False, True, True, "limited"),
        (False, False, False, False, "partial"),
        (False, False, False, True, "full"),
    ],
)
def test_the_first_reason_gives_the_status(
    sample: bool, quick: bool, limited: bool, complete: bool, status: str
) -> None:
    assert status_of(sample=sample, quick=quick, limited=limited, complete=complete) == status


# ---- validation


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": {"scored": 1999}}, "nothing may be skipped"),
        ({"counts": {"expected": 20, "scored": 20}}, "contradicts counts"),
        ({"metrics": {"mIoU": {"value": math.nan, "low": None, "high": None, "n": 1}}}, "finite"),
        ({"metrics": {"mIoU": {"value": math.inf, "low": None, "high": None, "n": 1}}}, "finite"),
        ({"metrics": {"mIoU": {"value": 0.4, "low": 0.5, "high": 0.3, "n": 1}}}, "swapped"),
        ({"metrics": {"mIoU": {"value": 0.4, "low": 0.5, "high": None, "n": 1}}}, "two ends"),
        (
            {"metrics": {"mIoU": {"value": 101, "low": None, "high": None, "n": 1}}},
            "less than or equal to 100",
        ),
        ({"metrics": {}}, "at least 1"),
        ({"per_class": {"IoU": {"wall": math.nan}}}, "finite"),
        ({"protocol_fingerprint": "0" * 16}, "not the fingerprint"),
        ({"protocol": {"lr": {1}}, "protocol_fingerprint": "x"}, "plain JSON"),
        ({"model_protocol": {"eps": math.nan}}, "JSON"),
        ({"run_id": "../outside"}, "pattern"),
        ({"run_id": "a/b"}, "pattern"),
        ({"started": "2026-11-22T08:00:00"}, "timezone"),
        ({"checkpoint": {"sha256": "ab"}}, "pattern"),
        ({"checkpoint": {"row": "SLIP@many"}}, "pattern"),
        ({"surprise": 1}, "Extra inputs"),
        ({"checkpoint": {"surprise": 1}}, "Extra inputs"),
        ({"status": "done"}, "Input should be"),
        ({"wall_seconds": math.inf}, "finite"),
    ],
    ids=str,
)
def test_a_record_that_cannot_be_true_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make_record(**change)


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make_record().seed = 1


def test_a_zero_is_a_number_and_a_missing_class_is_none() -> None:
    """Detection without any hit is 0, not an absent key; a class that never occurs has no IoU."""
    record = make_record(metrics={"AP_box": {"value": 0, "low": None, "high": None, "n": 5000}})
    assert record.metrics["AP_box"].value == 0.0
    assert record.per_class["IoU"]["flag"] is None


def test_a_path_that_is_no_text_is_kept_readable(tmp_path: Path) -> None:
    """File names are bytes; one of another encoding must not make the run's last step fail."""
    record = small_record(checkpoint={"path": b"/w/\xff.pt".decode("utf-8", "surrogateescape")})
    Store(tmp_path).write(record, make_samples(3))
    assert Store(tmp_path).read(record.run_id).checkpoint.path == "/w/\\udcff.pt"


# ---- store


@settings(max_examples=25, deadline=None)
@given(
    protocol=protocols,
    value=st.floats(0, 100),
    per_class=st.dictionaries(st.text(), st.none() | st.floats(0, 100), max_size=4),
    name=st.text(),
    seed=st.integers(0, 2**31),
)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    protocol: dict[str, Any],
    value: float,
    per_class: dict[str, float | None],
    name: str,
    seed: int,
) -> None:
    store = Store(tmp_path_factory.mktemp("out"))
    record = small_record(
        run_id=run_id(checkpoint_name=name, seed=seed),
        metrics={"mIoU": {"value": value, "low": None, "high": None, "n": 3}},
        per_class={"IoU": per_class},
        checkpoint={"name": name},
        seed=seed,
    )
    record = Record.model_validate(
        record.model_dump() | {"protocol": protocol, "protocol_fingerprint": fingerprint(protocol)}
    )
    assert not store.has(record.run_id)
    store.write(record, make_samples(3))
    assert store.has(record.run_id)
    assert store.read(record.run_id) == record
    assert store.load_all() == [record]
    assert fingerprint(store.read(record.run_id).protocol) == record.protocol_fingerprint


def test_sparse_counts_keep_their_types(tmp_path: Path) -> None:
    classes: list[Any] = [np.array([0, 149], np.int16), np.array([], np.int16)]
    intersection: list[Any] = [np.array([2**40, 0], np.int64), np.array([], np.int64)]
    samples = make_samples(2).assign(classes=classes, intersection=intersection)
    record = small_record(counts={"expected": 2, "scored": 2})
    Store(tmp_path).write(record, samples)
    back = Store(tmp_path).read_samples(record.run_id)
    assert back["sample_id"].tolist() == ["image_00000", "image_00001"]
    assert [row.dtype for row in back["classes"]] == [np.dtype(np.int16)] * 2
    assert back["intersection"][0].tolist() == [2**40, 0]
    assert len(back["classes"][1]) == 0


def test_samples_that_do_not_belong_to_the_record_are_refused(tmp_path: Path) -> None:
    store, record = Store(tmp_path), small_record()
    with pytest.raises(ValueError, match="2 samples for 3"):
        store.write(record, make_samples(2))
    with pytest.raises(ValueError, match="not unique"):
        store.write(record, pd.DataFrame({"sample_id": ["a", "a", "b"]}))
    assert store.load_all() == []


def test_the_record_is_written_last_and_never_stands_beside_other_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure between the two files must look like a run that is not complete, also when overwriting."""
    store, record = Store(tmp_path), small_record()
    store.write(record, make_samples(3))

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(pd.DataFrame, "to_parquet", full_disk)
        with pytest.raises(OSError, match="No space"):
            store.write(record, make_samples(3))
    assert store.has(record.run_id)  # nothing was replaced yet
    with monkeypatch.context() as patched:
        patched.setattr(records, "write_text", full_disk)
        with pytest.raises(OSError, match="No space"):
            store.write(record, make_samples(3))
    assert not store.has(record.run_id)
    assert store.load_all() == []
    store.write(record, make_samples(3))
    assert sorted(path.name for path in store.folder(record.run_id).iterdir()) == [
        "record.json",
        "samples.parquet",
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_checkpoint_name_stays_inside_the_runs_folder(name: str, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    record = small_record(run_id=run_id(checkpoint_name=name), checkpoint={"name": name})
    Store(out).write(record, make_samples(3))
    assert [path.parent.parent for path in tmp_path.rglob("record.json")] == [out / "runs"]
    assert Store(out).read(record.run_id).checkpoint.name == name


@pytest.mark.parametrize("name", ["../x", "/etc", "a/b", "", ".", "..", "-x", "a" * 300])
def test_a_hostile_run_id_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is no run id"):
        Store(tmp_path).read(name)


def test_an_empty_or_unfinished_folder_holds_no_runs(tmp_path: Path) -> None:
    assert Store(tmp_path / "nothing").load_all() == []
    (tmp_path / "runs" / "started").mkdir(parents=True)
    (tmp_path / "runs" / "started" / "samples.parquet").write_bytes(b"")
    assert Store(tmp_path).load_all() == []
    with pytest.raises(RecordError, match=r"no complete run 'started'.*bench run"):
        Store(tmp_path).read("started")


def written(out: Path) -> Path:
    record = small_record()
    Store(out).write(record, make_samples(3))
    return out / "runs" / record.run_id / "record.json"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "is damaged"),
        (lambda text: "", "is damaged"),
        (lambda text: "\udcff" + text, "is damaged"),
        (lambda text: "[1]", "is no record"),
        (lambda text: text.replace('"schema_version"', '"version"'), "has no schema_version"),
        (lambda text: text.replace('"seed": 0', '"seed": "zero"'), r"schema \(seed: "),
        (
            lambda text: text.replace('"scored": 3', '"scored": 2'),
            r"schema \(counts: .*nothing may be skipped",
        ),
        (lambda text: text.replace("46.31", "NaN"), r"schema \(metrics.mIoU.value: "),
        (
            lambda text: text.replace('"schema_version": 1', '"schema_version": 2'),
            "version 2.*update detailclip-bench",
        ),
        (lambda text: text.replace('--0123456789ab"', '--ffffffffffff"'), "rename its folder"),
    ],
)
def test_a_damaged_record_is_one_line_that_names_the_file_and_the_remedy(
    damage: Any, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path)
    path.write_bytes(damage(path.read_text()).encode("utf-8", "surrogateescape"))
    with pytest.raises(RecordError, match=message) as caught:
        Store(tmp_path).load_all()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"PAR1 no parquet")])
def test_missing_or_damaged_samples_are_named(damage: Any, tmp_path: Path) -> None:
    path = written(tmp_path).with_name("samples.parquet")
    damage(path)
    with pytest.raises(RecordError, match=r"samples\.parquet is missing or damaged"):
        Store(tmp_path).read_samples(path.parent.name)


@pytest.mark.parametrize("path", sorted(OLD_RECORDS.glob("*.json")), ids=lambda path: path.stem)
def test_records_of_earlier_releases_are_still_read(path: Path, tmp_path: Path) -> None:
    """These files are never edited: whoever changes the record adds a version and a file."""
    folder = tmp_path / "runs" / json.loads(path.read_text())["run_id"]
    folder.mkdir(parents=True)
    shutil.copy(path, folder / "record.json")
    (record,) = Store(tmp_path).load_all()
    assert record.run_id == folder.name
    jsonschema.validate(json.loads(path.read_text()), records.schema())


def test_there_is_a_fixture_of_every_schema_version() -> None:
    stored = {json.loads(path.read_text())["schema_version"] for path in OLD_RECORDS.glob("*.json")}
    assert stored == set(range(1, records.SCHEMA_VERSION + 1))


# ---- schema, tidy table, environment


def test_the_shipped_schema_is_the_current_one_and_a_record_follows_it() -> None:
    """To renew it, call ``benchmarks.records.write_schema(Path("results/record.schema.json"))``."""
    on_disk = json.loads((shipped("results") / "record.schema.json").read_text(encoding="utf-8"))
    assert on_disk == records.schema()
    jsonschema.Draft202012Validator.check_schema(on_disk)
    document = json.loads(make_record().model_dump_json())
    jsonschema.validate(document, on_disk)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "surprise": 1}, on_disk)
    for name in document:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: value for key, value in document.items() if key != name}, on_disk)


def test_write_schema_writes_what_is_shipped(tmp_path: Path) -> None:
    records.write_schema(tmp_path / "schema.json")
    assert (tmp_path / "schema.json").read_text() == (shipped("results") / "record.schema.json").read_text()


def test_load_gives_a_row_for_each_metric_with_its_origin(tmp_path: Path) -> None:
    metrics = {
        "AP_mask": {"value": 10.5, "low": None, "high": None, "n": 3},
        "AP_box": {"value": 0.0, "low": 0.0, "high": 1.0, "n": 3},
    }
    for seed in (1, 0):
        record = small_record(run_id=run_id(seed=seed), seed=seed, metrics=metrics)
        Store(tmp_path).write(record, make_samples(3))
    frame = load(tmp_path)
    assert sorted(zip(frame["metric"], frame["seed"], frame["value"], strict=True)) == [
        ("AP_box", 0, 0.0),
        ("AP_box", 1, 0.0),
        ("AP_mask", 0, 10.5),
        ("AP_mask", 1, 10.5),
    ]
    first = frame.iloc[0]
    assert (first["checkpoint"], first["row"], first["tower"]) == ("slip_base_25ep", "SLIP@25", "online")
    assert (first["official"], first["expected"], first["status"]) == (2000, 3, "partial")
    assert first["protocol_fingerprint"] == small_record().protocol_fingerprint
    assert not frame.drop(columns=["low", "high"]).isna().any().any()
    assert list(load(tmp_path / "nothing").columns) == list(frame.columns)


def test_the_environment_is_complete_and_plain() -> None:
    found = records.environment("cuda (test)", threads=3)
    assert (found.device, found.threads) == ("cuda (test)", 3)
    assert {"torch", "pydantic", "numpy"} <= set(found.packages)
    assert records.environment().threads >= 1
    make_record(environment=found.model_dump())


def test_git_state_of_a_checkout_and_of_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkout, no git, a broken checkout: unknown, never a failure; a change makes it dirty."""
    assert records._git_state(tmp_path) == (None, None)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    (tmp_path / "file").write_text("one")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], check=True)
    commit, dirty = records._git_state(tmp_path)
    assert commit is not None
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert dirty is False
    (tmp_path / "file").write_text("two")
    assert records._git_state(tmp_path) == (commit, True)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", "")
        assert records._git_state(tmp_path) == (None, None)
    (tmp_path / ".git" / "HEAD").write_text("nonsense")
    assert records._git_state(tmp_path) == (None, None)


def test_a_package_below_another_projects_checkout_does_not_borrow_its_commit(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "site-packages").mkdir()
    assert records._git_state(tmp_path / "site-packages") == (None, None)


def test_reading_the_module_does_not_load_pandas() -> None:
    """`bench --help` imports it."""
    heavy = "{'torch', 'pandas', 'pyarrow', 'numpy'}"
    code = f"import sys, benchmarks.records; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- the document


def document() -> str:
    return (Path(__file__).parents[1] / "docs" / "results-format.md").read_text(encoding="utf-8")


def test_the_document_names_every_field_of_the_record() -> None:
    described = set(re.findall(r"`(\w+)`", document()))
    parts = (records.Record, records.CheckpointInfo, records.Counts, records.DataInfo, records.Environment)
    assert {name for part in (*parts, records.Metric) for name in part.model_fields if name not in described} <= {
        *("value", "low", "high", "n")  # written together in one piece of code
    }
    assert set(get_args(records.Status)) <= described


def test_the_examples_of_the_document_run_and_give_the_miou(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Image 0: class 3 has 6 of 8 pixels. Image 1: class 3 has 0 of 2, class 5 has 1 of 1. Image 2: none."""

    def lists(dtype: type, *rows: list[int]) -> list[Any]:
        return [np.array(row, dtype) for row in rows]

    samples = make_samples(3).assign(
        classes=lists(np.int16, [3], [3, 5], []),
        intersection=lists(np.int64, [6], [0, 1], []),
        prediction=lists(np.int64, [7], [2, 1], []),
        label=lists(np.int64, [7], [0, 1], []),
    )
    Store(tmp_path / "results").write(small_record(), samples)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"print": lambda *_: None}
    for block in re.findall(r"```python\n(.*?)```", document(), flags=re.DOTALL):
        exec(block, names)
    assert names["iou"].to_dict() == {3: 60.0, 5: 100.0}
