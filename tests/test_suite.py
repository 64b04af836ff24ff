"""The list of benchmarks is complete, consistent with the paper's tables, and light to read."""

import csv
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import suite
from benchmarks.data.classification import CLASSIFICATION
from benchmarks.data.retrieval import RETRIEVAL
from benchmarks.data.vocabulary import shipped as shipped_vocabulary
from benchmarks.errors import OptionError
from benchmarks.files import shipped

TABLE3 = (
    *("sun397", "aircraft", "dtd", "pets", "flowers", "gtsrb", "mnist"),
    *("stl10", "kitti", "country211", "pcam", "clevr", "sst2"),
)
EXTENDED = ("food101", "cifar10", "cifar100", "cars", "caltech101", "eurosat", "fer2013")
NOT_MEASURED = {
    1: {"group", "method", "dataset", "epochs", "effective_view"},
    2: {"method", "epochs"},
    3: {"method", "epochs", "Average"},
    4: {"a1", "a2", "a3"},
}


def test_the_ids_are_the_agreed_ones_and_unique() -> None:
    """Scripts and records call benchmarks by these names: renaming one breaks both."""
    expected = {
        "ade20k-upernet",
        "ade20k-linear",
        "ade20k-linear-finetune",
        "coco-cascade",
        "coco-cascade-3x",
        "imagenet-zeroshot",
    }
    expected |= {f"zeroshot/{name}" for name in (*TABLE3, *EXTENDED)}
    expected |= {"flickr30k-retrieval", "coco-retrieval", "flickr8k-retrieval"}
    ids = [benchmark.id for benchmark in suite.BENCHMARKS]
    assert set(ids) == expected
    assert len(ids) == len(set(ids))


def test_the_groups_are_the_agreed_ones_and_no_id_is_also_a_group() -> None:
    assert set(suite.groups()) == {"table1", "table2", "table3", "extended", "all"}
    assert not set(suite.groups()) & {benchmark.id for benchmark in suite.BENCHMARKS}
    assert [benchmark.id for benchmark in suite.in_group("table3")] == [f"zeroshot/{name}" for name in TABLE3]
    assert suite.in_group("all") == suite.BENCHMARKS


@pytest.mark.parametrize("table", [1, 2, 3, 4])
def test_every_measured_column_of_the_paper_has_exactly_one_benchmark(table: int) -> None:
    """A column without a benchmark could never be filled, and two benchmarks in one would mix protocols."""
    with (shipped("results") / "paper" / f"table{table}.csv").open(encoding="utf-8") as stream:
        columns = set(csv.DictReader(stream).fieldnames or ())
    cells = [cell.column for benchmark in suite.BENCHMARKS for cell in benchmark.tables if cell.table == table]
    assert sorted(cells) == sorted(columns - NOT_MEASURED[table])
    assert set(suite.filling(table)) == set(cells)


def test_the_fine_tuned_linear_reading_fills_no_cell() -> None:
    """Mixing it into the frozen linear column would compare two different protocols."""
    finetuned = suite.get("ade20k-linear-finetune")
    assert finetuned.tables == ()
    assert finetuned.listed_under == (1,)
    assert "frozen" in finetuned.note
    assert suite.filling(1)["ade20k_linear"][0].id == "ade20k-linear"


def test_what_every_benchmark_names_is_there() -> None:
    for benchmark in suite.BENCHMARKS:
        assert (shipped("mm_configs") / f"{benchmark.config}.py").is_file()
        for place in (f"{benchmark.runner}:plan", benchmark.default, benchmark.fields):
            module, _, name = place.partition(":")
            assert hasattr(importlib.import_module(module), name)


def test_the_longer_schedule_fills_no_cell() -> None:
    """The paper's columns are of 12 epochs."""
    longer = suite.get("coco-cascade-3x")
    assert longer.tables == ()
    assert longer.listed_under == (1,)
    assert suite.filling(1)["coco_ap_box"][0].id == "coco-cascade"


def test_sizes_splits_and_classes_are_those_of_the_data_sets_declarations() -> None:
    """The suite is listed without reading the declarations, so it repeats a few of their facts."""
    for benchmark in suite.BENCHMARKS:
        if benchmark.runner == "benchmarks.zeroshot.classification":
            declared = CLASSIFICATION[benchmark.dataset]
            assert benchmark.split == declared.default_split
            assert benchmark.official_size == declared.splits[benchmark.split]
            assert benchmark.chance == pytest.approx(100 / len(shipped_vocabulary(benchmark.dataset).keys))
        elif benchmark.runner == "benchmarks.zeroshot.retrieval":
            assert benchmark.official_size == RETRIEVAL[benchmark.dataset].official
            assert benchmark.chance == 100 / benchmark.official_size


def test_every_main_metric_is_one_the_record_may_hold_and_every_chance_is_a_percentage() -> None:
    for benchmark in suite.BENCHMARKS:
        assert benchmark.metric in {"mIoU", "AP_box", "top1", "mean_per_class", "i2t_r1"}
        assert all(cell.metric for cell in benchmark.tables)
        assert benchmark.chance is None or 0 < benchmark.chance <= 50
        assert benchmark.official_size > 0
        assert benchmark.needs_text == (benchmark.chance is not None)


def test_mean_per_class_is_used_by_the_sets_that_need_it() -> None:
    """Three sets of Table 3, and Caltech-101, are scored by the mean over classes, all others by plain accuracy."""
    chosen = {benchmark.dataset for benchmark in suite.BENCHMARKS if benchmark.metric == "mean_per_class"}
    assert chosen == {"aircraft", "pets", "flowers", "caltech101"}


def test_resolve_keeps_the_order_and_drops_repetitions() -> None:
    names = ["coco-cascade", "table1", "ade20k-linear", "flickr8k-retrieval"]
    ids = [benchmark.id for benchmark in suite.resolve(names)]
    assert ids == ["coco-cascade", "ade20k-upernet", "ade20k-linear", "flickr8k-retrieval"]
    assert suite.asked_by_name(names) == {"coco-cascade", "ade20k-linear", "flickr8k-retrieval"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ade20k-upernt", "did you mean ade20k-upernet"),
        ("zeroshot/mnst", "zeroshot/mnist"),
        ("tabel1", "table1"),
        ("zeroshot/imagenet", r"did you mean imagenet-zeroshot\?"),
    ],
)
def test_an_unknown_name_is_one_line_with_close_matches(name: str, hint: str) -> None:
    with pytest.raises(OptionError, match=hint) as caught:
        suite.resolve(["table1", name])
    assert "\n" not in str(caught.value)


def test_a_name_like_nothing_points_to_the_list() -> None:
    with pytest.raises(OptionError, match="bench list"):
        suite.get("qqqqqqq")
    with pytest.raises(OptionError, match="unknown benchmark"):
        suite.get("table1")  # a group is not one benchmark


def test_the_suite_imports_nothing_heavy() -> None:
    """`bench list` must answer at once."""
    heavy = "{'torch', 'numpy', 'pandas', 'pydantic', 'mmengine', 'scipy', 'rich'}"
    code = f"import sys, benchmarks.suite; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_results_folder_of_the_users_own_hides_nothing(tmp_path: Path) -> None:
    """The default --out is ./results: a folder of that name must not be taken for the shipped one."""
    (tmp_path / "results").mkdir()
    (tmp_path / "mm_configs").mkdir()
    code = (
        "from benchmarks.tables.layouts import paper_rows; "
        "from benchmarks.engine.protocol import read_config; "
        "assert paper_rows(1); assert read_config('segmentation/ade20k_upernet')['lr'] == 8e-5"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
