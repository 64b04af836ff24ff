"""What each of the paper's tables looks like, as data: labels, columns, row names.

The numbers themselves lie in ``results/paper/table<N>.csv``, as printed; what a reader must know of them in
``notes.csv``, and what is behind the effective views of Table 1 in ``effective_views.csv`` beside them.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.files import shipped

VIEWS_LABEL = "effective_view"
"""The label column that holds the paper's effective views."""

LOSS_WEIGHTS: Mapping[str, str] = {"a1": "alpha_cls", "a2": "alpha_patch", "a3": "alpha_reconstruction"}
"""The weights of DetailCLIP's losses: as the paper calls them to their names in a checkpoint's training record."""


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
        by_weights: whether the ``LOSS_WEIGHTS`` tell the rows apart; elsewhere all of them are 1.
    """

    title: str
    labels: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    row_name: str = "{method}@{epochs}"
    aliases: Mapping[str, str] = field(default_factory=dict)
    rank_within: tuple[str, ...] = ()
    by_weights: bool = False

    @property
    def measured(self) -> tuple[Column, ...]:
        """The columns that a benchmark fills."""
        return tuple(column for column in self.columns if not column.mean_of)

    def name_of(self, labels: Mapping[str, str]) -> str:
        """``METHOD[@EPOCHS]`` of a row of the paper."""
        return self.row_name.format(**labels).removesuffix("@")


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
            (VIEWS_LABEL, "views"),
        ),
        columns=(
            Column("ade20k_upernet", "ADE20K UperNet"),
            Column("ade20k_linear", "ADE20K linear"),
            Column("coco_ap_box", "COCO AP box"),
            Column("coco_ap_mask", "COCO AP mask"),
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
    ),
    3: Layout(
        title="Table 3: zero-shot classification on 13 sets",
        labels=(("epochs", "epochs"), ("method", "method")),
        columns=(*_same(*_TABLE3_SETS), Column("Average", "Average", mean_of=_TABLE3_SETS)),
        rank_within=("epochs",),
    ),
    4: Layout(
        title="Table 4: weights of the CLS (a1), patch (a2) and reconstruction (a3) losses, 25 epochs",
        labels=(("a1", "a1"), ("a2", "a2"), ("a3", "a3")),
        columns=(Column("acc", "ImageNet-1K top-1"),),
        row_name="DetailCLIP({a1},{a2},{a3})@25",
        aliases={"DetailCLIP@25": "DetailCLIP(1,1,1)@25"},
        by_weights=True,
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


def reader_notes(table: int) -> list[dict[str, str]]:
    """What a reader of a table must know.

    Keys: table, rows (names of the rows it belongs to, ``;`` between them; empty: the whole table), column (empty:
    the whole row), note.
    """
    return [row for row in _read("notes.csv") if row["table"] == str(table)]


def effective_views() -> list[dict[str, str]]:
    """What is behind the effective views that Table 1 prints.

    Keys: row, epochs, dataset, rounded_images (the number that the paper counts with), images (the true one),
    recipe_views (views an image in the method's public recipe; empty where there is none), remark.
    """
    return _read("effective_views.csv")


def _read(name: str) -> list[dict[str, str]]:
    text = (shipped("results") / "paper" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
