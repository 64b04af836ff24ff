"""A whole comparison: what is compared with what, what is real, what is counted, what is said."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.comparison import Comparison, Line, compare
from benchmarks.comparison.build import headline_metrics, verdict_of
from benchmarks.comparison.inference import Difference
from benchmarks.errors import OptionError, RecordError
from benchmarks.records import Store
from benchmarks.suite import BENCHMARKS, get, in_group
from tests.comparison import runs


def by_benchmark(found: Comparison, pair: int = 0) -> dict[tuple[str, str], Line]:
    return {(line.benchmark, line.metric): line for line in found.pairs[pair].lines}


def accuracies(out: Path, name: str, share: float, seed: int, sets: list[str], **changes: Any) -> None:
    for number, benchmark in enumerate(sets):
        runs.put(out, benchmark, runs.random_classified(300, 5, share, 100 * seed + number), name, **changes)


TABLE3 = [benchmark.id for benchmark in in_group("table3")]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A weak and a strong checkpoint on all sets of Table 3 and on every other kind of benchmark."""
    accuracies(tmp_path, "weak", 0.4, 1, TABLE3)
    accuracies(tmp_path, "strong", 0.7, 2, TABLE3)
    for name, quality in (("weak", 0.4), ("strong", 0.8)):
        seed = int(10 * quality)
        generator = np.random.default_rng(seed)
        ranks = 1 + (generator.random((80, 6)) > quality)
        runs.put(tmp_path, "coco-retrieval", runs.retrieved(ranks[:, 0], ranks[:, 1:].tolist()), name)
        runs.put(tmp_path, "ade20k-upernet", runs.random_segmented(60, 6, quality, seed), name)
        runs.put(tmp_path, "coco-cascade", runs.detected(60, quality, seed), name)
    return tmp_path


def test_every_kind_of_benchmark_is_compared(out: Path) -> None:
    found = compare(Store(out), ["weak", "strong"], replicates=300)
    lines = by_benchmark(found)
    assert len(lines) == 13 + 2 + 1 + 2 == found.tests
    assert [line.benchmark for line in found.pairs[0].lines] == sorted(
        (line.benchmark for line in found.pairs[0].lines), key=[it.id for it in BENCHMARKS].index
    ), "in the order of the suite"
    tests = {key: line.difference.test for key, line in lines.items()}
    assert tests["zeroshot/dtd", "top1"] == tests["coco-retrieval", "i2t_r1"] == "McNemar"
    assert tests["zeroshot/pets", "mean_per_class"] == tests["coco-retrieval", "t2i_r1"] == "bootstrap"
    assert lines["zeroshot/dtd", "top1"].verdict == "better"
    assert lines["ade20k-upernet", "mIoU"].verdict == "better, one seed"
    assert lines["coco-cascade", "AP_box"].verdict == "better, one seed"
    for line in lines.values():
        interval = line.difference.interval
        assert interval is not None
        assert 0 < interval.low < line.difference.value < interval.high
        assert line.status == "full"
    assert lines["coco-cascade", "AP_mask"].run_ids[0][0].startswith("coco-cascade--weak--")


def test_values_are_those_of_the_records(out: Path) -> None:
    records = {(one.benchmark, one.checkpoint.name): one for one in Store(out).load_all()}
    for line in compare(Store(out), ["weak", "strong"], replicates=50).pairs[0].lines:
        for name, value in (("weak", line.difference.baseline), ("strong", line.difference.other)):
            assert value == pytest.approx(records[line.benchmark, name].metrics[line.metric].value)


def test_wins_and_losses_over_table_3(out: Path) -> None:
    runs.put(out, "zeroshot/sst2", runs.random_classified(300, 5, 0.4, 101 + 12), "strong")
    tally = compare(Store(out), ["strong", "weak"], in_group("table3"), replicates=100).pairs[0].tally
    assert tally is not None
    assert (tally.win, tally.loss, tally.tie, tally.sets, tally.missing) == (0, 12, 1, 13, ())
    assert tally.higher + tally.equal + tally.lower == 13
    few = compare(Store(out), ["weak", "strong"], [get("zeroshot/dtd"), get("coco-retrieval")], replicates=100)
    assert few.pairs[0].tally is not None
    assert (few.pairs[0].tally.win, len(few.pairs[0].tally.missing)) == (1, 12)
    assert compare(Store(out), ["weak", "strong"], [get("coco-retrieval")], replicates=100).pairs[0].tally is None


def test_correction_is_over_all_lines_of_all_pairs(tmp_path: Path) -> None:
    for name, share, seed in (("base", 0.4, 1), ("alike", 0.4, 2), ("better", 0.48, 3)):
        accuracies(tmp_path, name, share, seed, TABLE3[:5])
    found = compare(Store(tmp_path), ["base", "alike", "better"], replicates=100)
    assert [pair.other for pair in found.pairs] == ["alike", "better"]
    assert found.tests == 10
    assert found.baseline == "base"
    smallest = min((line for pair in found.pairs for line in pair.lines), key=lambda line: line.difference.p)
    assert smallest.p_holm == pytest.approx(10 * smallest.difference.p)


def test_what_is_not_comparable_is_refused_and_the_rest_compared(out: Path) -> None:
    runs.put(out, "zeroshot/food101", runs.hits([1] * 9), "weak", protocol={"prompts": 80})
    runs.put(out, "zeroshot/food101", runs.hits([1] * 9), "strong", protocol={"prompts": 1})
    runs.put(out, "zeroshot/cars", runs.hits([1] * 9), "strong")
    pair = compare(Store(out), ["weak", "strong"], replicates=50).pairs[0]
    assert pair.refused == ("zeroshot/food101: not comparable: protocol.prompts: 80 against 1",)
    assert dict(pair.missing) == {"zeroshot/cars": "strong"}
    assert len(pair.lines) == 18


def test_alone_it_is_an_error(tmp_path: Path) -> None:
    for name, prompts in (("a", 1), ("b", 2)):
        runs.put(tmp_path, "zeroshot/dtd", runs.hits([1] * 9), name, protocol={"prompts": prompts})
    with pytest.raises(RecordError, match=r"zeroshot/dtd: not comparable: protocol\.prompts: 1 against 2"):
        compare(Store(tmp_path), ["a", "b"])
    with pytest.raises(OptionError, match="nothing to compare"):
        compare(Store(tmp_path), ["a", "b"], in_group("table1"))


def test_other_samples_under_one_fingerprint_are_refused(tmp_path: Path) -> None:
    runs.put(tmp_path, "zeroshot/dtd", runs.hits([1] * 9), "a")
    runs.put(tmp_path, "zeroshot/dtd", runs.hits([1] * 9).assign(sample_id=list("abcdefghi")), "b")
    with pytest.raises(RecordError, match="hold different samples: 9 only in the first, 9 only in the second"):
        compare(Store(tmp_path), ["a", "b"])


def test_own_settings_that_differ_are_shown_with_their_benchmarks(tmp_path: Path) -> None:
    for name, tower in (("a", "ema"), ("b", "online")):
        accuracies(tmp_path, name, 0.5, 1, TABLE3[:2], model_protocol={"tower": tower})
    own = compare(Store(tmp_path), ["a", "b"], replicates=50).pairs[0].own
    assert dict(own) == {"tower": ('"ema"', '"online"', tuple(TABLE3[:2]))}


def test_seeds_are_counted_and_a_single_one_is_said_to_be_one(tmp_path: Path) -> None:
    for name, quality in (("a", 0.5), ("b", 0.8)):
        for seed in range(3):
            runs.put(tmp_path, "ade20k-linear", runs.random_segmented(40, 5, quality, seed + 9), name, seed=seed)
        runs.put(tmp_path, "ade20k-upernet", runs.random_segmented(40, 5, quality, 9), name)
    found = compare(Store(tmp_path), ["a", "b"], replicates=100)
    lines = by_benchmark(found)
    several = lines["ade20k-linear", "mIoU"]
    assert several.difference.seeds == (3, 3)
    assert several.verdict == "better"
    assert len(several.run_ids[0]) == 3
    assert lines["ade20k-upernet", "mIoU"].verdict == "better, one seed"
    notes = " ".join(found.footnotes)
    assert "one seed: the spread between seeds of fine-tuned ADE20K runs is 1–2 mIoU" in notes
    assert "images and seeds together" in notes
    alone = compare(Store(tmp_path), ["a", "b"], [get("ade20k-linear")], replicates=100)
    assert "one seed" not in " ".join(alone.footnotes)


def difference(value: float, seeds: tuple[int, int] = (1, 1)) -> Difference:
    return Difference(40, 40 + value, None, 0.0, "bootstrap", seeds, 100)


@pytest.mark.parametrize(
    ("metric", "value", "seeds", "p", "verdict"),
    [
        ("top1", 5, (1, 1), 0.01, "better"),
        ("top1", -0.1, (1, 1), 0.049, "worse"),
        ("top1", 5, (1, 1), 0.05, "noise"),
        ("mIoU", 1.9, (1, 1), 0.001, "within seed spread"),
        ("mIoU", -2.0, (1, 1), 0.001, "within seed spread"),
        ("mIoU", 2.1, (1, 1), 0.001, "better, one seed"),
        ("mIoU", -2.1, (1, 1), 0.2, "noise"),
        ("mIoU", 1.0, (2, 2), 0.001, "better"),
        ("mIoU", -1.0, (1, 3), 0.001, "worse"),
        ("AP_box", 0.5, (1, 1), 0.001, "better, one seed"),
    ],
)
def test_verdicts(metric: str, value: float, seeds: tuple[int, int], p: float, verdict: str) -> None:
    assert verdict_of(metric, difference(value, seeds), p) == verdict


def test_every_benchmark_has_metrics_that_can_be_compared() -> None:
    from benchmarks.comparison.scores import KINDS

    for benchmark in BENCHMARKS:
        metrics = headline_metrics(benchmark)
        assert metrics
        assert set(metrics) <= set(KINDS), benchmark.id
    assert headline_metrics(get("flickr8k-retrieval")) == ("i2t_r1", "t2i_r1")
    assert headline_metrics(get("coco-cascade")) == ("AP_box", "AP_mask")
    assert headline_metrics(get("zeroshot/caltech101")) == ("mean_per_class",)


def test_a_record_without_its_metric_and_samples_that_are_gone_are_named(tmp_path: Path) -> None:
    for name in "ab":
        runs.put(tmp_path, "zeroshot/dtd", runs.hits([1] * 9), name)
    record = Store(tmp_path).load_all()[0]
    Store(tmp_path).folder(record.run_id).joinpath("samples.parquet").unlink()
    with pytest.raises(RecordError, match=r"samples\.parquet is missing or damaged"):
        compare(Store(tmp_path), ["a", "b"])
    less = record.model_copy(update={"metrics": {"other": record.metrics["top1"]}})
    Store(tmp_path).write(less, runs.hits([1] * 9))
    with pytest.raises(RecordError, match="has no metric top1: run it again"):
        compare(Store(tmp_path), ["a", "b"])


def test_progress_goes_to_the_end(out: Path) -> None:
    seen: list[tuple[int, int]] = []
    chosen = [get("zeroshot/dtd"), get("zeroshot/sst2")]
    compare(Store(out), ["weak", "strong"], chosen, 50, lambda done, total: seen.append((done, total)))
    assert seen == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.slow
def test_full_sizes_take_bounded_time() -> None:
    """50,000 ImageNet answers, 2,000 images of 150 classes: seconds each (5,000 pictures of COCO: see below)."""
    import time

    from benchmarks.comparison.inference import difference as paired
    from benchmarks.comparison.scores import KINDS

    def timed(metric: str, frames: list[pd.DataFrame]) -> float:
        scores = [KINDS[metric].read(frame) for frame in frames]
        began = time.process_time()
        paired([[scores[0]]], [[scores[1]]], binary=KINDS[metric].binary)
        return time.process_time() - began

    assert timed("top1", [runs.random_classified(50_000, 1000, 0.4, seed) for seed in (1, 2)]) < 10
    assert timed("mIoU", [runs.random_segmented(2000, 150, 0.5, seed) for seed in (1, 2)]) < 120
    assert timed("AP_box", [runs.detected(5000, 0.5, seed, classes=80) for seed in (1, 2)]) < 120
