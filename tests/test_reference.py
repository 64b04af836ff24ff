"""The shipped results of ``bench demo --full`` can be read, add up, and are shown as any others."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.comparison import Comparison, compare
from benchmarks.comparison.scores import KINDS, read_score
from benchmarks.files import shipped
from benchmarks.records import Record, Store
from benchmarks.records import load as load_frame
from benchmarks.report import write_report
from benchmarks.run import default_fingerprints
from benchmarks.suite import resolve
from benchmarks.tables import build, render

REFERENCE = shipped("results") / "reference"
SIDES = ("CLIP-tiny", "DetailCLIP-tiny")
CHECKPOINTS = ["clip-tiny-seed0", "clip-tiny-seed1", "detailclip-tiny-seed0", "detailclip-tiny-seed1", "tiny-random"]
BENCHMARKS = {
    benchmark.id for benchmark in resolve(["table1", "ade20k-linear-finetune", "table2", "table3"])
}  # what the demo runs


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return Store(REFERENCE).load_all()


@pytest.fixture(scope="module")
def compared() -> Comparison:
    return compare(Store(REFERENCE), SIDES, replicates=200)


def test_five_checkpoints_have_run_all_of_tables_1_to_3(records: list[Record]) -> None:
    ran = {(record.checkpoint.name, record.benchmark) for record in records}
    assert ran == {(checkpoint, benchmark) for checkpoint in CHECKPOINTS for benchmark in BENCHMARKS}
    assert {record.status for record in records} == {"sample"}
    assert len({record.checkpoint.sha256 for record in records}) == 5


def test_the_samples_give_the_recorded_values(records: list[Record]) -> None:
    """Of every metric that can be recomputed; each record has one at least."""
    store = Store(REFERENCE)
    for record in records:
        samples = store.read_samples(record.run_id)
        known = [metric for metric in record.metrics if metric in KINDS]
        assert known, record.run_id
        for metric in known:
            read_score(record, metric, samples)


def test_it_is_small_and_tells_nothing_of_the_machine_it_was_made_on(records: list[Record]) -> None:
    assert sum(path.stat().st_size for path in REFERENCE.rglob("*") if path.is_file()) < 4_000_000
    assert not any(record.environment.dirty for record in records)
    assert {record.command[0] for record in records} == {".venv/bin/bench"}


def test_the_frame_has_a_row_a_metric(records: list[Record]) -> None:
    frame: pd.DataFrame = load_frame(REFERENCE)
    assert len(frame) == sum(len(record.metrics) for record in records)


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "html", "csv"])
def test_the_tables_list_every_run_and_take_none(records: list[Record], form: str) -> None:
    for number in (1, 2, 3):
        table = build(number, records, default_fingerprints())
        assert not any(row.entries for row in table.rows), "generated pictures are not comparable with the paper"
        assert len(table.other) % len(CHECKPOINTS) == 0
        shown = render(table, form)
        assert all(checkpoint in shown.replace("{}", "") for checkpoint in CHECKPOINTS)


def test_what_was_trained_is_told_from_noise(compared: Comparison) -> None:
    (pair,) = compared.pairs
    assert not pair.refused
    assert {line.benchmark for line in pair.lines} == BENCHMARKS
    assert {line.difference.seeds for line in pair.lines} == {(2, 2)}
    assert pair.tally is not None
    assert pair.tally.sets == 13


def test_the_report_shows_all_of_it(records: list[Record], tmp_path: Path) -> None:
    index = write_report(REFERENCE, tmp_path / "site", lambda line: None, SIDES)
    site = index.parent
    assert len(list(site.glob("run-*.html"))) == len(records)
    assert len(list(site.glob("checkpoint-*.html"))) == len(CHECKPOINTS)
    assert (site / "comparison.html").is_file()
    curves = (site / "pretraining.html").read_text(encoding="utf-8")
    assert all(name in curves for name in CHECKPOINTS[:4])


def test_training_records_belong_to_the_checkpoints(records: list[Record]) -> None:
    for record in records:
        told = REFERENCE / record.checkpoint.name / "training.json"
        if record.checkpoint.name != "tiny-random":
            trained = record.checkpoint.training
            assert trained is not None
            assert json.loads(told.read_text(encoding="utf-8"))["seed"] == trained["seed"]
