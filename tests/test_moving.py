"""Results that leave are complete; runs that arrive are whole, true and harmless, or do not arrive."""

import json
import math
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import moving
from benchmarks.errors import OptionError, RecordError
from benchmarks.moving import export_table, import_runs
from benchmarks.records import Record, Store, load
from tests.comparison.runs import fitting, hits, put, random_segmented, retrieved, with_own_id

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def imported(out: Path, source: Path) -> dict[str, str]:
    """What became of each run; of a refused one the error."""
    return {name: str(outcome) for name, outcome in import_runs(out, source)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The results folder of another machine: three runs, one with pictures, one unfinished."""
    out = tmp_path / "theirs"
    record = put(out, "zeroshot/dtd", hits([1, 0, 1, 1]), "a")
    put(out, "ade20k-linear", random_segmented(5, 3, 0.5, 1), "a")
    put(out, "flickr30k-retrieval", retrieved([1, 2], [[1], [3]]), "b")
    folder = Store(out).folder(record.run_id)
    for name, content in {"pictures/one.png": PNG, "training/log.json": b"{}", "detections.json.gz": b"x"}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    unfinished = out / "runs" / "begun"
    unfinished.mkdir()
    (unfinished / "samples.parquet").write_bytes(b"")
    return out


def zipped(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder.with_suffix("")) + "-zip", "zip", folder))


def only_run(out: Path) -> Path:
    (path,) = out.glob("runs/*/record.json")
    return path.parent


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a single run."""
    put(tmp_path / "one", "zeroshot/dtd", hits([1, 0, 1, 1]), "a")
    return only_run(tmp_path / "one")


# ---- what arrives


@pytest.mark.parametrize("as_zip", [False, True])
def test_every_complete_run_arrives_once(source: Path, tmp_path: Path, as_zip: bool) -> None:
    out = tmp_path / "ours"
    given = zipped(source) if as_zip else source
    records = Store(source).load_all()
    assert imported(out, given) == {record.run_id: "imported" for record in records}
    assert Store(out).load_all() == records
    for record in records:
        pd.testing.assert_frame_equal(Store(out).read_samples(record.run_id), Store(source).read_samples(record.run_id))
    assert imported(out, given) == {record.run_id: "already there" for record in records}


def test_a_single_run_and_a_runs_folder_are_sources_too(source: Path, run: Path, tmp_path: Path) -> None:
    assert list(imported(tmp_path / "x", run).values()) == ["imported"]
    assert list(imported(tmp_path / "y", source / "runs").values()) == ["imported"] * 3


def test_known_files_come_along_and_nothing_else(source: Path, tmp_path: Path) -> None:
    imported(tmp_path / "ours", source)
    files = {path.relative_to(tmp_path / "ours" / "runs") for path in (tmp_path / "ours").rglob("*") if path.is_file()}
    names = {str(Path(*path.parts[1:])) for path in files}
    assert names == {"record.json", "samples.parquet", "detections.json.gz", "pictures/one.png", ".lock"}
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o111 for path in (tmp_path / "ours").rglob("*.p*") if path.is_file()}
    assert modes == {0}, "nothing becomes executable"


def test_no_stage_is_left_behind(source: Path, tmp_path: Path) -> None:
    imported(tmp_path / "ours", source)
    assert not list((tmp_path / "ours").rglob(".tmp-*"))


def test_a_kill_before_the_record_leaves_no_run(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(moving, "write_record", killed)
        with pytest.raises(KeyboardInterrupt):
            imported(tmp_path / "ours", run)
    assert Store(tmp_path / "ours").load_all() == []
    assert not list((tmp_path / "ours").rglob(".tmp-*"))
    assert list(imported(tmp_path / "ours", run).values()) == ["imported"]


# ---- duplicates


def test_the_same_id_with_other_content_is_refused(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours"
    other = put(out, "zeroshot/dtd", hits([0, 0, 1, 1]), "a")
    assert other.run_id == run.name
    (problem,) = imported(out, run).values()
    assert f"run {run.name} is there already with other content" in problem
    assert Store(out).load_all() == [other]


def test_other_samples_under_the_same_record_are_other_content(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours"
    imported(out, run)
    frame = hits([1, 1, 0, 1])
    frame.to_parquet(run / "samples.parquet", index=False)
    (problem,) = imported(out, run).values()
    assert "with other content" in problem


def test_a_run_that_stands_for_another_row_here_is_the_same_run(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours"
    imported(out, run)
    Store(out).relabel(run.name, "CLIP@25")
    assert list(imported(out, run).values()) == ["already there"]
    assert Store(out).read(run.name).checkpoint.row == "CLIP@25"


def test_an_unfinished_run_of_that_id_is_left_alone(run: Path, tmp_path: Path) -> None:
    state = tmp_path / "ours" / "runs" / run.name / "state"
    state.mkdir(parents=True)
    (problem,) = imported(tmp_path / "ours", run).values()
    assert "an unfinished run of that id" in problem
    assert state.exists()


# ---- what is refused


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Damage done to the record's fields."""

    def damage(folder: Path) -> None:
        fields = json.loads((folder / "record.json").read_text())
        change(fields)
        (folder / "record.json").write_text(json.dumps(fields))

    return damage


def samples(frame: pd.DataFrame) -> Callable[[Path], None]:
    return lambda folder: frame.to_parquet(folder / "samples.parquet", index=False)


def text(content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "record.json").write_text(content)


def false_picture(folder: Path) -> None:
    (folder / "pictures").mkdir()
    (folder / "pictures" / "a.png").write_text("<svg onload=…>")


def link(name: str) -> Callable[[Path], None]:
    """The file is moved aside and linked to."""

    def damage(folder: Path) -> None:
        shutil.move(folder / name, folder / "real")
        (folder / name).symlink_to(folder / "real")

    return damage


def pipe(folder: Path) -> None:
    (folder / "samples.parquet").unlink()
    os.mkfifo(folder / "samples.parquet")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no JSON": (text("{"), "is damaged"),
    "nested without end": (text("[" * 200_000), "is damaged"),
    "deep protocol": (
        edited(lambda fields: fields.update(protocol=json.loads('{"a":' * 400 + "1" + "}" * 400))),
        "",
    ),
    "a list": (text("[]"), "is no record"),
    "a newer schema": (edited(lambda fields: fields.update(schema_version=99)), "schema version 99"),
    "unknown field": (edited(lambda fields: fields.update(surprise=1)), "does not follow the schema"),
    "NaN": (edited(lambda fields: fields["metrics"]["top1"].update(value=math.nan)), "does not follow the schema"),
    "infinite": (edited(lambda fields: fields.update(wall_seconds=math.inf)), "does not follow the schema"),
    "wrong type": (edited(lambda fields: fields.update(seed="zero")), r"schema (seed: "),
    "path for an id": (edited(lambda fields: fields.update(run_id="../../x")), "does not follow the schema"),
    "another id": (edited(lambda fields: fields.update(run_id="zeroshot-dtd--mine")), "it was edited"),
    "another seed": (edited(lambda fields: fields.update(seed=7)), "it was edited"),
    "another checkpoint": (edited(lambda fields: fields["checkpoint"].update(name="sota")), "it was edited"),
    "other heads": (edited(lambda fields: fields["model_protocol"].update(image_heads=3)), "it was edited"),
    "another value": (edited(lambda fields: fields["metrics"]["top1"].update(value=99.0)), "its record says 99.0"),
    "no samples": (lambda folder: (folder / "samples.parquet").unlink(), "has no samples.parquet"),
    "no parquet": (lambda folder: (folder / "samples.parquet").write_bytes(b"PAR1 x PAR1"), "no readable parquet"),
    "cut parquet": (
        lambda folder: (folder / "samples.parquet").write_bytes((folder / "samples.parquet").read_bytes()[:200]),
        "no readable parquet",
    ),
    "too few samples": (samples(hits([1, 0, 1])), "3 samples for 4 scored images"),
    "repeated names": (samples(hits([1, 0, 1, 1]).assign(sample_id="x")), "text and unique"),
    "numbers for names": (samples(hits([1, 0, 1, 1]).assign(sample_id=range(4))), "text and unique"),
    "no names": (samples(hits([1, 0, 1, 1]).drop(columns="sample_id")), "text and unique"),
    "samples of another kind": (samples(random_segmented(4, 2, 0.5, 1)), "do not hold what"),
    "a picture that is none": (false_picture, "a.png is no PNG picture"),
    "a link for a record": (link("record.json"), "links are not followed"),
    "a link for samples": (link("samples.parquet"), "links are not followed"),
    "a pipe": (pipe, "no regular file"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_and_hostile_runs_are_refused_in_one_line(name: str, run: Path, tmp_path: Path) -> None:
    damage, message = DAMAGES[name]
    damage(run)
    (problem,) = imported(tmp_path / "ours", run).values()
    assert message in problem
    assert problem not in ("imported", "already there")
    assert "\n" not in problem
    assert Store(tmp_path / "ours").load_all() == []
    assert not list((tmp_path / "ours").rglob(".tmp-*"))


def test_one_bad_run_does_not_keep_the_others_out(source: Path, tmp_path: Path) -> None:
    bad = Store(source).load_all()[0].run_id
    edited(lambda fields: fields.update(seed="x"))(source / "runs" / bad)
    found = imported(tmp_path / "ours", source)
    assert sorted(found.values())[1:] == ["imported"] * 2
    assert len(Store(tmp_path / "ours").load_all()) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../../evil/record.json", "leads out of the archive"),
        ("/etc/cron.d/record.json", "leads out of the archive"),
        ("a\\..\\record.json", "leads out of the archive"),
    ],
)
def test_an_archive_that_leads_outside_is_refused_whole(run: Path, tmp_path: Path, name: str, message: str) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for path in run.iterdir():
            writer.write(path, f"runs/x/{path.name}")
        writer.writestr(zipfile.ZipInfo(name), "{}")
    with pytest.raises(RecordError, match=message):
        imported(tmp_path / "deep" / "ours", archive)
    assert not list(tmp_path.rglob("evil/record.json"))
    assert Store(tmp_path / "deep" / "ours").load_all() == []


def test_links_in_an_archive_are_refused(run: Path, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("runs/x/record.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as writer:
        writer.writestr(link, "/etc/passwd")
        writer.write(run / "samples.parquet", "runs/x/samples.parquet")
    with pytest.raises(RecordError, match="symbolic link or device"):
        imported(tmp_path / "ours", tmp_path / "links.zip")


def test_a_picture_with_an_endless_name_is_refused_alone(source: Path, tmp_path: Path) -> None:
    """No file system takes it; the other runs of the archive arrive."""
    archive = zipped(source)
    with zipfile.ZipFile(archive, "a") as writer:
        run_id = next(name for name in writer.namelist() if name.endswith("record.json")).split("/")[-2]
        writer.writestr(f"runs/{run_id}/pictures/{'a' * 300}.png", PNG)
    outcomes = list(imported(tmp_path / "ours", archive).values())
    assert sum("longer than 255 bytes" in outcome for outcome in outcomes) == 1
    assert outcomes.count("imported") == 2


def test_two_members_of_one_name_are_refused(run: Path, tmp_path: Path) -> None:
    """What is checked must be what is stored."""
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as writer:
        writer.write(run / "record.json", "record.json")
        with pytest.warns(UserWarning, match="Duplicate name"):
            writer.write(run / "record.json", "record.json")
    with pytest.raises(RecordError, match=r"holds 'record\.json' twice"):
        imported(tmp_path / "ours", tmp_path / "twice.zip")


@pytest.mark.parametrize("as_zip", [False, True])
def test_more_bytes_than_a_run_can_hold_are_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_zip: bool
) -> None:
    """A megabyte of zeros is a kilobyte in an archive: the limit is on what comes out."""
    monkeypatch.setattr(moving, "_LIMITS", {"record.json": 64 << 20, "samples.parquet": 1 << 20})
    (run / "samples.parquet").write_bytes(b"\0" * (3 << 20))
    given = zipped(run) if as_zip else run
    (problem,) = imported(tmp_path / "ours", given).values()
    assert "samples.parquet is larger than 1 MiB" in problem


def test_parquet_that_promises_too_much_is_not_read(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run-length codes make millions of values out of a few bytes."""
    monkeypatch.setattr(moving, "_MOST_VALUES", 1_000_000)
    frame = hits([1, 0, 1, 1])
    frame.assign(bomb=pd.Series([[0] * 500_000] * 4)).to_parquet(run / "samples.parquet", index=False)
    assert (run / "samples.parquet").stat().st_size < 100_000
    (problem,) = imported(tmp_path / "ours", run).values()
    assert "promises 2,000,024 values" in problem


def test_a_damaged_member_of_an_archive_is_named(run: Path, tmp_path: Path) -> None:
    archive = zipped(run)
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as reader:
        start = reader.getinfo("samples.parquet").header_offset
    content[start + 200] ^= 0xFF
    archive.write_bytes(content)
    (problem,) = imported(tmp_path / "ours", archive).values()
    assert "samples.parquet is damaged" in problem or "is no readable parquet" in problem


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "unfinished"])
def test_a_source_without_runs_is_named(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    expected = {"missing": "no such folder", "text": "no readable ZIP", "empty": "holds no complete run"}
    if kind == "text":
        source.write_text("no archive")
    elif kind != "missing":
        (source / "runs" / "x").mkdir(parents=True)
    if kind == "unfinished":
        (source / "runs" / "x" / "samples.parquet").write_bytes(b"")
    with pytest.raises(RecordError, match=expected.get(kind, r"no complete run \(1 unfinished\)")):
        imported(tmp_path / "ours", source)


@pytest.mark.parametrize("name", ["../../etc", "<script>alert(1)</script>", "x" * 3000, "\u202ename", "=1+1", "\ud800"])
def test_hostile_names_arrive_as_names(name: str, tmp_path: Path) -> None:
    frame = hits([1, 0, 1])
    record = with_own_id(fitting("zeroshot/dtd", frame, checkpoint={"name": name, "sha256": "5" * 64}))
    Store(tmp_path / "theirs").write(record, frame)
    assert list(imported(tmp_path / "deep" / "ours", tmp_path / "theirs").values()) == ["imported"]
    assert {path.parent.parent for path in tmp_path.rglob("record.json")} == {
        tmp_path / "theirs" / "runs",
        tmp_path / "deep" / "ours" / "runs",
    }


def test_a_lone_surrogate_in_a_field_does_not_break_the_store(run: Path, tmp_path: Path) -> None:
    """JSON can spell text that UTF-8 cannot hold."""
    edited(lambda fields: fields["environment"].update(platform="\ud800"))(run)
    (problem,) = imported(tmp_path / "ours", run).values()
    assert "does not follow the schema" in problem or "is damaged" in problem


# ---- export


def test_export_is_the_tidy_table(source: Path, tmp_path: Path) -> None:
    expected = load(source)
    assert export_table(source, tmp_path / "all.parquet") == len(expected)
    back = pd.read_parquet(tmp_path / "all.parquet")
    assert list(back.columns) == list(expected.columns)
    assert back["value"].tolist() == expected["value"].tolist()
    export_table(source, tmp_path / "all.csv")
    table = pd.read_csv(tmp_path / "all.csv")
    assert list(table.columns) == list(expected.columns)
    assert table["value"].tolist() == pytest.approx(expected["value"].tolist())
    assert table["run_id"].tolist() == expected["run_id"].tolist()
    assert pd.to_datetime(table["started"]).tolist() == expected["started"].tolist()


def test_a_spreadsheet_finds_no_formula_in_it(tmp_path: Path) -> None:
    put(tmp_path / "out", "zeroshot/dtd", hits([1]), "=HYPERLINK(1)")
    export_table(tmp_path / "out", tmp_path / "all.csv")
    assert pd.read_csv(tmp_path / "all.csv")["checkpoint"].unique().tolist() == ["'=HYPERLINK(1)"]


def test_export_says_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="holds no complete run"):
        export_table(tmp_path, tmp_path / "all.csv")
    with pytest.raises(OptionError, match=r"ends in \.csv or \.parquet"):
        export_table(tmp_path, tmp_path / "all.xlsx")
    assert not list(tmp_path.iterdir())


def test_a_record_is_that_of_its_content(run: Path) -> None:
    """The rule that import holds records to is the one that runs follow."""
    record = Record.model_validate_json((run / "record.json").read_text())
    assert with_own_id(record) == record
