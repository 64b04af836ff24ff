"""The suite as data: every benchmark, the cells of the paper's tables it fills, its data and its runner.

Adding a benchmark is one declaration here. Only the standard library is imported, so that listing the
suite is quick.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from benchmarks.errors import OptionError


@dataclass(frozen=True)
class Cell:
    """A column of one of the paper's tables, and the metric of a record that fills it.

    Attributes:
        table: number of the table, 1 to 4.
        column: name of the column in ``results/paper/table<N>.csv``.
        metric: name of the metric in the record, for example ``mIoU``.
    """

    table: int
    column: str
    metric: str


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: what it measures, on which data, and what runs it.

    Attributes:
        id: the name by which it is asked for.
        title: a line for people.
        tables: the cells of the paper that its records fill; empty when the paper has none.
        dataset: name of its data (`bench data list`).
        split: the split that is scored, in the words of the data set.
        official_size: number of images of the complete split.
        metric: name of the main metric, in percent.
        chance: main metric of a random guess in percent; None where no single value is meaningful.
        needs_text: whether a checkpoint without a text side cannot run it.
        groups: the groups it belongs to, besides ``all``.
        runner: the module that plans and executes it (see ``benchmarks.run``).
        config: path inside ``mm_configs`` without the suffix.
        default: ``module:function`` that tells the shipped protocol, as records of unchanged full runs carry it, from
            the benchmark.
        fields: ``module:class`` of the named fields that the config fills and ``-o`` changes.
        takes: the options of `bench run` that act on it and not on every benchmark.
        together: ``module:function`` that does at once, for several jobs, what each would else do by itself; or None.
        note: what a reader of its numbers must know.
        listed_under: tables that list its runs as "not comparable" although it fills no column of theirs.
    """

    id: str
    title: str
    tables: tuple[Cell, ...]
    dataset: str
    split: str
    official_size: int
    metric: str
    chance: float | None
    needs_text: bool
    groups: tuple[str, ...]
    runner: str
    config: str
    default: str
    fields: str
    takes: frozenset[str] = frozenset()
    together: str | None = None
    note: str = ""
    listed_under: tuple[int, ...] = ()


ALL = "all"
"""The group that holds every benchmark."""


def _ade20k(head: str, title: str) -> Benchmark:
    """An ADE20K segmentation benchmark: mIoU over 150 classes on the 2,000 validation images."""
    return Benchmark(
        id=f"ade20k-{head}",
        title=title,
        tables=(Cell(1, f"ade20k_{head}", "mIoU"),),
        dataset="ade20k",
        split="validation",
        official_size=2000,
        metric="mIoU",
        chance=None,
        needs_text=False,
        groups=("table1",),
        runner="benchmarks.dense.segmentation",
        config=f"segmentation/ade20k_{head.replace('-', '_')}",
        default="benchmarks.dense.protocol:default_segmentation",
        fields="benchmarks.dense.protocol:SegmentationFields",
        takes=frozenset({"--pictures", "--seed", "--launcher"}),
    )


def _coco(config: str, title: str) -> Benchmark:
    """Cascade Mask R-CNN on COCO: average precision of boxes and masks on the 5,000 validation pictures."""
    return Benchmark(
        id="coco-cascade",
        title=title,
        tables=(Cell(1, "coco_ap_box", "AP_box"), Cell(1, "coco_ap_mask", "AP_mask")),
        dataset="coco-instances",
        split="val2017",
        official_size=5000,
        metric="AP_box",
        chance=None,
        needs_text=False,
        groups=("table1",),
        runner="benchmarks.dense.detection",
        config=f"detection/{config}",
        default="benchmarks.dense.detection_protocol:default_detection",
        fields="benchmarks.dense.detection_protocol:DetectionFields",
        takes=frozenset({"--pictures", "--seed", "--launcher"}),
    )


def _retrieval(name: str, title: str, images: int, table2: str | None) -> Benchmark:
    """Image-text retrieval on a Karpathy test split; a random first place hits once in ``images``."""
    cells = (Cell(2, f"{table2}_i2t", "i2t_r1"), Cell(2, f"{table2}_t2i", "t2i_r1")) if table2 else ()
    return Benchmark(
        id=f"{name}-retrieval",
        title=title,
        tables=cells,
        dataset=name,
        split="Karpathy test",
        official_size=images,
        metric="i2t_r1",
        chance=100 / images,
        needs_text=True,
        groups=("table2",) if table2 else ("extended",),
        runner="benchmarks.zeroshot.retrieval",
        config="zeroshot/retrieval",
        default="benchmarks.zeroshot.protocol:default_retrieval",
        fields="benchmarks.zeroshot.protocol:RetrievalFields",
        takes=frozenset({"--pictures", "--launcher"}),
    )


def _zeroshot(
    dataset: str,
    title: str,
    classes: int,
    size: int,
    split: str = "test",
    metric: str = "top1",
    column: str | None = None,
    note: str = "",
) -> Benchmark:
    """Zero-shot classification; a uniform guess is right once in ``classes``. A set without column is no part of
    Table 3.
    """
    return Benchmark(
        id=f"zeroshot/{dataset}",
        title=f"{title}, zero-shot classification, {classes} classes",
        tables=(Cell(3, column, metric),) if column else (),
        dataset=dataset,
        split=split,
        official_size=size,
        metric=metric,
        chance=100 / classes,
        needs_text=True,
        groups=("table3",) if column else ("extended",),
        runner="benchmarks.zeroshot.classification",
        config="zeroshot/classification",
        default="benchmarks.zeroshot.protocol:default_classification",
        fields="benchmarks.zeroshot.protocol:ClassificationFields",
        takes=frozenset({"--prompts", "--launcher"}),
        together="benchmarks.zeroshot.classification:encode_prompts",
        note=note,
    )


def _table3(
    column: str, dataset: str, classes: int, size: int, split: str = "test", metric: str = "top1", note: str = ""
) -> Benchmark:
    """One of the 13 sets of Table 3."""
    return _zeroshot(dataset, column, classes, size, split, metric, column, note)


BENCHMARKS: tuple[Benchmark, ...] = (
    _ade20k("upernet", "ADE20K semantic segmentation, UperNet, fine-tuned"),
    _ade20k("linear", "ADE20K semantic segmentation, linear head on the frozen backbone"),
    replace(
        _ade20k("linear-finetune", "ADE20K, linear head, backbone fine-tuned (fills no cell of the paper)"),
        tables=(),
        groups=("extended",),
        note='the literal "end-to-end" reading of the linear protocol; the level of Table 1 fits the frozen '
        "one, and the two are never mixed in a column",
        listed_under=(1,),
    ),
    _coco("coco_cascade", "COCO object detection and instance segmentation, Cascade Mask R-CNN"),
    replace(
        _coco("coco_cascade_3x", "COCO, Cascade Mask R-CNN, 36 epochs (fills no cell of the paper)"),
        id="coco-cascade-3x",
        tables=(),
        groups=("extended",),
        note="three times the published schedule; the two are never mixed in a column",
        listed_under=(1,),
    ),
    replace(
        _zeroshot("imagenet", "ImageNet-1K", 1000, 50_000, "val"),
        id="imagenet-zeroshot",
        tables=(Cell(2, "in1k_zeroshot", "top1"), Cell(4, "acc", "top1")),
        groups=("table2",),
    ),
    _table3(
        "SUN397", "sun397", 397, 19_850, "testing_01", note="SLIP's code splits the pictures itself: -o split=slip"
    ),
    _table3("Aircraft", "aircraft", 100, 3333, metric="mean_per_class"),
    _table3("DTD", "dtd", 47, 1880),
    _table3("Pets", "pets", 37, 3669, metric="mean_per_class"),
    _table3("Flowers", "flowers", 102, 6149, metric="mean_per_class"),
    _table3("GTSRB", "gtsrb", 43, 12_630),
    _table3("MNIST", "mnist", 10, 10_000),
    _table3("STL-10", "stl10", 10, 8000),
    _table3("KITTI", "kitti", 4, 1496, "slip", note="SLIP's code draws its 20 % without a seed; here it has one"),
    _table3("Country211", "country211", 211, 21_100),
    _table3("PCAM", "pcam", 2, 32_768, "val"),
    _table3("CLEVR", "clevr", 8, 15_000, "val"),
    _table3("SST2", "sst2", 2, 1821),
    _retrieval("flickr30k", "Flickr30K image-text retrieval", 1000, "flickr30k"),
    _retrieval("coco", "COCO image-text retrieval", 5000, "coco"),
    _retrieval("flickr8k", "Flickr8K image-text retrieval", 1000, None),
    _zeroshot("food101", "Food-101", 101, 25_250),
    _zeroshot("cifar10", "CIFAR-10", 10, 10_000),
    _zeroshot("cifar100", "CIFAR-100", 100, 10_000),
    _zeroshot("cars", "Stanford Cars", 196, 8041),
    _zeroshot("caltech101", "Caltech-101", 102, 6084, "slip", metric="mean_per_class"),
    _zeroshot("eurosat", "EuroSAT", 10, 5000, "val"),
    _zeroshot("fer2013", "FER-2013", 7, 7178),
)

_BY_ID = {benchmark.id: benchmark for benchmark in BENCHMARKS}


def groups() -> tuple[str, ...]:
    """The names of all groups, in the order of their first benchmark, ``all`` last."""
    return (*dict.fromkeys(group for benchmark in BENCHMARKS for group in benchmark.groups), ALL)


def in_group(group: str) -> tuple[Benchmark, ...]:
    """The benchmarks of a group in the order of the suite; none for a name that is no group."""
    return tuple(benchmark for benchmark in BENCHMARKS if group == ALL or group in benchmark.groups)


def get(benchmark_id: str) -> Benchmark:
    """The benchmark of that id.

    Raises:
        OptionError: there is none; the message names close matches.
    """
    if benchmark_id not in _BY_ID:
        raise _unknown(benchmark_id, _BY_ID)
    return _BY_ID[benchmark_id]


def resolve(names: Iterable[str]) -> tuple[Benchmark, ...]:
    """Turn ids and groups into benchmarks: in the order asked for, each once.

    Raises:
        OptionError: a name is neither an id nor a group; the message names close matches.
    """
    chosen: dict[str, Benchmark] = {}
    for name in names:
        members = (_BY_ID[name],) if name in _BY_ID else in_group(name)
        if not members:
            raise _unknown(name, (*_BY_ID, *groups()))
        chosen.update((member.id, member) for member in members)
    return tuple(chosen.values())


def asked_by_name(names: Iterable[str]) -> frozenset[str]:
    """The ids among ``names``: an unfillable cell is an error for these, but skipped for a group's."""
    return frozenset(name for name in names if name in _BY_ID)


def filling(table: int) -> dict[str, tuple[Benchmark, str]]:
    """For each column of a table that a benchmark fills: the benchmark and the name of the metric."""
    return {
        cell.column: (benchmark, cell.metric)
        for benchmark in BENCHMARKS
        for cell in benchmark.tables
        if cell.table == table
    }


def _unknown(name: str, known: Iterable[str]) -> OptionError:
    """The error for an unknown name, with at most three names that look like it."""
    names = list(known)
    turned = [it for it in names if _words(it) == _words(name)]
    close = turned or difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "`bench list` shows all of them."
    return OptionError(f"unknown benchmark {name!r}: {hint}")


def _words(name: str) -> list[str]:
    """The words of an id, whatever their order: ``zeroshot/imagenet`` is likely to mean ``imagenet-zeroshot``."""
    return sorted(name.casefold().replace("/", "-").split("-"))
