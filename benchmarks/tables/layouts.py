"""What each of the paper's tables looks like, as data: labels, columns, row names, footnotes.

The numbers themselves lie in ``results/paper/table<N>.csv``, as printed.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.files import shipped


@dataclass(frozen=True)
class Column:
    """A column of values in percent.

    Attributes:
        name: as in the CSV; ``benchmarks.suite`` says which benchmark fills it.
        title: heading for people.
        mean_of: names of the columns whose mean it is; empty for a measured column.
    """

    name: str
    title: str
    mean_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """One table.

    Attributes:
        title: heading for people.
        labels: (name in the CSV, heading) of the columns that describe a row.
        columns: the columns of values.
        row_name: how ``METHOD[@EPOCHS]`` is made of a row's labels.
        aliases: other names of rows, written as the names they stand for.
        rank_within: labels within whose groups best and second best are found; empty for the whole column.
        footnotes: what a reader must know.
    """

    title: str
    labels: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    row_name: str = "{method}@{epochs}"
    aliases: Mapping[str, str] = field(default_factory=dict)
    rank_within: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = ()


def _same(*names: str) -> tuple[Column, ...]:
    """Columns whose heading is their name."""
    return tuple(Column(name, name) for name in names)


_TABLE3_SETS = (
    *("SUN397", "Aircraft", "DTD", "Pets", "Flowers", "GTSRB", "MNIST"),
    *("STL-10", "KITTI", "Country211", "PCAM", "CLEVR", "SST2"),
)

LAYOUTS: Mapping[int, Layout] = {
    1: Layout(
        title="Table 1: ADE20K segmentation (mIoU), COCO detection and instance segmentation (AP)",
        labels=(
            *(("group", "group"), ("method", "method"), ("dataset", "dataset"), ("epochs", "epochs")),
            ("effective_view", "views"),
        ),
        columns=(
            Column("ade20k_upernet", "ADE20K UperNet"),
            Column("ade20k_linear", "ADE20K linear"),
            Column("coco_ap_box", "COCO AP box"),
            Column("coco_ap_mask", "COCO AP mask"),
        ),
        footnotes=(
            "The paper's rows mix settings: self-supervised ones saw 300 to 800 epochs of ImageNet-1K, CLIP "
            "is the model trained on 400M pairs, the others saw 25 or 50 epochs of YFCC-15M. Best and second "
            "best are taken over the whole column all the same.",
            "The paper does not say which tower (EMA or online) was used for segmentation and detection; the "
            "tower of each measured row stands beside its checkpoint.",
            'ADE20K linear is measured with a frozen backbone. The paper says "end-to-end", but the level of '
            "its values is that of the frozen protocol; fine-tuned runs are listed apart.",
            "Views: the paper's product of views per image, epochs and images (rounded to 1.2M or 15M) as "
            "printed; in measured rows it comes from the checkpoint's own training record, where it has one.",
            "iBOT's own paper reports 50.0 / 38.3 / 51.2 / 44.2 for ViT-B/16, where this table prints 47.3 / "
            "34.7 / 48.4 / 42.1; AttMask publishes weights for ViT-S/16 only.",
        ),
    ),
    2: Layout(
        title="Table 2: zero-shot retrieval (R@1) and ImageNet-1K classification (top-1)",
        labels=(("method", "method"), ("epochs", "epochs")),
        columns=(
            Column("flickr30k_i2t", "Flickr30K I2T"),
            Column("flickr30k_t2i", "Flickr30K T2I"),
            Column("coco_i2t", "COCO I2T"),
            Column("coco_t2i", "COCO T2I"),
            Column("in1k_zeroshot", "ImageNet-1K"),
        ),
        rank_within=("epochs",),
        footnotes=(
            "The paper does not say at which rank recall is taken; its level is that of R@1.",
            "CLIP is a model trained on YFCC-15M here, and the one trained on 400M pairs in Table 1.",
        ),
    ),
    3: Layout(
        title="Table 3: zero-shot classification on 13 sets",
        labels=(("epochs", "epochs"), ("method", "method")),
        columns=(*_same(*_TABLE3_SETS), Column("Average", "Average", mean_of=_TABLE3_SETS)),
        rank_within=("epochs",),
        footnotes=(
            "Average: as printed, and in parentheses the mean of the printed cells.",
            "Aircraft, Pets and Flowers are means of the class accuracies, the others plain accuracies.",
            "CLIP is a model trained on YFCC-15M here, and the one trained on 400M pairs in Table 1.",
        ),
    ),
    4: Layout(
        title="Table 4: weights of the CLS (a1), patch (a2) and reconstruction (a3) losses, 25 epochs",
        labels=(("a1", "a1"), ("a2", "a2"), ("a3", "a3")),
        columns=(Column("acc", "ImageNet-1K top-1"),),
        row_name="DetailCLIP({a1},{a2},{a3})@25",
        aliases={"DetailCLIP@25": "DetailCLIP(1,1,1)@25"},
        footnotes=("A checkpoint stands for a row by the name DetailCLIP(a1,a2,a3)@25.",),
    ),
}


def paper_rows(table: int) -> list[dict[str, str]]:
    """The rows of a table of the paper: every cell as printed, empty where the paper has a dash."""
    return _read(f"table{table}.csv")


def readme_disagreements(table: int) -> list[dict[str, str]]:
    """The cells of a table in which the README of the paper's code release prints another value.

    Keys: table, method, dataset, epochs, column, paper, readme, kept.
    """
    return [row for row in _read("release_readme.csv") if row["table"] == str(table)]


def _read(name: str) -> list[dict[str, str]]:
    text = (shipped("results") / "paper" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
