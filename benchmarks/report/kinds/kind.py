"""What every kind of samples offers to the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.report.blocks import Cell, Figure, Panel, Section
from benchmarks.report.charts import histogram
from benchmarks.report.names import shown
from benchmarks.report.results import Run

if TYPE_CHECKING:
    import pandas as pd

Floats: TypeAlias = npt.NDArray[np.float64]

WORST = 10
"""How many samples a list of the worst has for each run."""


@dataclass(frozen=True)
class Sampled:
    """A run with its samples.

    Attributes:
        run: the run.
        samples: its table, a row for each scored image.
        pictures: sample id to the address of its picture, where there is one.
        sizes: sample id to (width, height) of those pictures that can stand among texts.
    """

    run: Run
    samples: "pd.DataFrame"
    pictures: dict[str, str]
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def sample(self, sample_id: str) -> Cell:
        """The name of a sample, leading to its picture."""
        return Cell(sample_id, shown(sample_id, 60), self.pictures.get(sample_id))


@dataclass(frozen=True)
class Kind:
    """A form of samples.

    Attributes:
        columns: by which it is known.
        score_name: what :attr:`score` is, for a caption.
        score: how good each sample is, (N,); NaN where that cannot be said. The higher the better.
        sections: distributions, confusions and worst cases of some runs of one benchmark.
    """

    columns: frozenset[str]
    score_name: str
    score: Callable[["pd.DataFrame"], Floats]
    sections: Callable[[Sequence[Sampled]], list[Section]]


def distribution(
    title: str,
    lead: str,
    x_title: str,
    values: Sequence[tuple[str, Sequence[Floats]]],
    edges: Floats,
    parts: Sequence[str] = (),
) -> Figure:
    """Histograms of several runs on the same edges; NaN is left out.

    Args:
        title: heading.
        lead: below it.
        x_title: what the values are.
        values: name of the run, its values (of each part).
        edges: of the bins.
        parts: names of the parts, stacked on each other; empty where there is one.
    """
    counts = [(name, [_binned(part, edges) for part in found]) for name, found in values]
    ends = edges.round(10).tolist()
    rows = [
        [name, (parts or [""])[number], ends[at], ends[at + 1], count]
        for name, stacked in counts
        for number, bins in enumerate(stacked)
        for at, count in enumerate(bins)
    ]
    panels = [Panel(name, histogram(stacked, ends, x_title)) for name, stacked in counts]
    return Figure(title, panels, (["run", "part", "from", "to", "count"], rows), lead, parts=parts)


def _binned(values: Floats, edges: Floats) -> list[int]:
    counts: list[int] = np.histogram(values[np.isfinite(values)], edges)[0].tolist()
    return counts


def class_names(each: Sampled, metric: str) -> Callable[[int], str]:
    """The name of a class by its number, as the record of the run has them; the number where it has none."""
    known = [shown(name, 50) for name in each.run.record.per_class.get(metric, {})]
    return lambda number: known[number] if 0 <= number < len(known) else str(number)


def lowest(scores: Floats, count: int = WORST) -> list[int]:
    """Places of the lowest scores, NaN left out; of equal ones the earlier first."""
    order = np.argsort(scores, kind="stable")
    return [int(place) for place in order if np.isfinite(scores[place])][:count]
