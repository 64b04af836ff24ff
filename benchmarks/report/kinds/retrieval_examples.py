"""Retrieval: the same queries to every model, with the first answers of each, and the queries that went worst.

Runs of releases before 0.4 recorded places alone: there is nothing of theirs to show here.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.errors import RecordError
from benchmarks.records import SAMPLES_NAME
from benchmarks.report.blocks import Answer, Answers, Block, Cell, Grid, Picture, Query, Value
from benchmarks.report.kinds.kind import WORST, Sampled
from benchmarks.report.names import shown
from benchmarks.zeroshot.pictures import spread

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = frozenset({"captions", "i2t_top", "i2t_top_scores", "t2i_top", "t2i_top_scores"})
WITHOUT_PICTURES = 4
"""How many queries are shown of runs that saved no pictures."""

_TEXT = 200
_HEADINGS = ["run", "picture", "caption", "place of the right one", "place", "answer", "its caption", "cosine", "right"]


class Found(NamedTuple):
    """An answer: its name, what it says, its cosine, whether it is right."""

    name: str
    text: str
    score: float
    right: bool


@dataclass(frozen=True, eq=False)
class Examples:
    """A run whose samples tell what was found.

    Attributes:
        each: the run.
        rows: sample id to the place of its row.
        texts: caption by its name, ``<sample id>#<place among the picture's>``.
    """

    each: Sampled
    rows: dict[str, int]
    texts: dict[str, str]

    @classmethod
    def of(cls, each: Sampled) -> "Examples":
        """The run, once its columns fit together.

        Raises:
            RecordError: they do not.
        """
        samples = each.samples
        if not _fit(samples):
            raise RecordError(f"{each.run.folder / SAMPLES_NAME}: its lists of answers do not fit together")
        ids = samples["sample_id"].astype(str)
        texts = {
            f"{sample_id}#{number}": str(text)
            for sample_id, captions in zip(ids, samples["captions"], strict=True)
            for number, text in enumerate(captions)
        }
        return cls(each, {sample_id: at for at, sample_id in enumerate(ids)}, texts)

    def caption(self, sample_id: str) -> str:
        """The first caption of a picture; nothing if it is none of the run's."""
        return self.texts.get(f"{sample_id}#0", "")

    def picture(self, sample_id: str) -> Picture | None:
        """A picture, if it is there; what it shows is said by its first caption."""
        src, size = self.each.pictures.get(sample_id), self.each.sizes.get(sample_id)
        alt = f"Picture {shown(sample_id, 60)}: {shown(self.caption(sample_id), _TEXT)}"
        return Picture(src, size, alt, "") if src and size else None

    def to_text(self, sample_id: str) -> tuple[int, list[Found]]:
        """At which place a picture found its own caption, and its first answers."""
        row = self.each.samples.iloc[self.rows[sample_id]]
        own = {f"{sample_id}#{number}" for number in range(len(row["captions"]))}
        found = zip(map(str, row["i2t_top"]), row["i2t_top_scores"], strict=True)
        return int(row["i2t_rank"]), [
            Found(name, self.texts.get(name, name), float(score), name in own) for name, score in found
        ]

    def to_picture(self, sample_id: str, number: int = 0) -> tuple[int, list[Found]]:
        """The same of a picture's caption: the answers are pictures, their texts their first captions."""
        row = self.each.samples.iloc[self.rows[sample_id]]
        found = zip(map(str, row["t2i_top"][number]), row["t2i_top_scores"][number], strict=True)
        return int(row["t2i_ranks"][number]), [
            Found(name, self.caption(name), float(score), name == sample_id) for name, score in found
        ]


def _fit(samples: "pd.DataFrame") -> bool:
    """Whether names are unique, each query has answers, and each of these a score."""
    if not samples["sample_id"].is_unique:
        return False
    wanted = ("t2i_ranks", "captions", "i2t_top", "i2t_top_scores", "t2i_top", "t2i_top_scores")
    for ranks, captions, top, scores, tops, all_scores in zip(*(samples[name] for name in wanted), strict=True):
        if not (_are_lists(ranks, captions, tops, all_scores) and _are_answers(top, scores)):
            return False
        if not all(itertools.starmap(_are_answers, zip(tops, all_scores, strict=True))):
            return False
    return True


def _are_lists(*values: Any) -> bool:
    """Whether these are lists of one length, which is not 0."""
    lists = all(isinstance(value, np.ndarray | list) for value in values)
    return lists and len({len(value) for value in values}) == 1 and len(values[0]) > 0


def _are_answers(names: Any, scores: Any) -> bool:
    return _are_lists(names, scores) and np.asarray(scores).dtype.kind == "f"


def queries(examples: Examples) -> list[str]:
    """The sample ids of the queries to show: those with all their pictures, or the first few if there are none."""
    ids = list(examples.rows)
    chosen = [ids[place] for place in spread(len(ids))]
    whole = 0
    for sample_id in chosen:
        wanted = [sample_id, *(name for name, *_ in examples.to_picture(sample_id)[1])]
        if not all(name in examples.each.sizes for name in wanted):
            break
        whole += 1
    return chosen[: whole or WITHOUT_PICTURES]


def told_by(runs: Sequence[Sampled]) -> list[Examples]:
    """Those of the runs whose samples tell what was found.

    Raises:
        RecordError: the columns of one do not fit together.
    """
    return [Examples.of(each) for each in runs if set(each.samples.columns) >= COLUMNS]


def side_by_side(runs: Sequence[Examples]) -> list[Block]:
    """Queries both ways, to all runs on the same data; runs on other data get blocks of their own."""
    groups: dict[str, list[Examples]] = defaultdict(list)
    for examples in runs:
        groups[examples.each.run.record.data.fingerprint].append(examples)
    blocks: list[Block] = []
    for fingerprint, group in groups.items():
        asked = max(map(queries, group), key=len)
        asked = [sample_id for sample_id in asked if all(sample_id in examples.rows for examples in group)]
        suffix = f", data {shown(fingerprint, 16)}" if len(groups) > 1 else ""
        blocks += [_for_captions(group, asked, suffix), _for_pictures(group, asked, suffix)]
    return blocks


def _for_captions(group: Sequence[Examples], asked: Sequence[str], suffix: str) -> Answers:
    """The pictures that were found for the first caption of each of some pictures."""
    shown_queries: list[Query] = []
    rows: list[list[Value]] = []
    for sample_id in asked:
        found = []
        for examples in group:
            rank, answers = examples.to_picture(sample_id)
            rows += _rows(examples, sample_id, rank, answers)
            told = [
                Answer(_named(name, text), score, right, examples.picture(name)) for name, text, score, right in answers
            ]
            found.append((examples.each.run.name, rank, told))
        caption = f"“{shown(group[0].caption(sample_id), _TEXT)}”"
        shown_queries.append(Query(caption, f"first caption of {shown(sample_id, 60)}", None, found))
    lead = "The first caption of each of some pictures, and the pictures that come first for it, with their cosines."
    return Answers(f"Caption to pictures{suffix}", shown_queries, (_HEADINGS, rows), lead)


def _for_pictures(group: Sequence[Examples], asked: Sequence[str], suffix: str) -> Answers:
    """The captions that were found for each of some pictures."""
    shown_queries: list[Query] = []
    rows: list[list[Value]] = []
    for sample_id in asked:
        found = []
        for examples in group:
            rank, answers = examples.to_text(sample_id)
            rows += _rows(examples, sample_id, rank, answers)
            told = [Answer(f"“{shown(text, _TEXT)}”", score, right) for _, text, score, right in answers]
            found.append((examples.each.run.name, rank, told))
        note = f"first of its captions: “{shown(group[0].caption(sample_id), _TEXT)}”"
        shown_queries.append(Query(shown(sample_id, 60), note, group[0].picture(sample_id), found))
    lead = "The captions that come first for each of these pictures, with their cosines; any of its own is right."
    return Answers(f"Picture to captions{suffix}", shown_queries, (_HEADINGS, rows), lead)


def _named(sample_id: str, caption: str) -> str:
    return f"{shown(sample_id, 60)}: {shown(caption, _TEXT)}" if caption else shown(sample_id, 60)


def _rows(examples: Examples, sample_id: str, rank: int, answers: Sequence[Found]) -> Iterator[list[Value]]:
    """The lines of the CSV file."""
    asked: list[Value] = [examples.each.run.name, sample_id, examples.caption(sample_id), rank]
    for place, (name, text, score, right) in enumerate(answers, start=1):
        yield [*asked, place, name, text, score, "yes" if right else "no"]


# ---- what went worst


def worst(runs: Sequence[Examples]) -> list[Block]:
    """The captions and the pictures whose right answers were found last, and what was found first instead."""
    return [_worst_captions(runs), _worst_pictures(runs)] if runs else []


def _worst_captions(runs: Sequence[Examples]) -> Grid:
    rows = []
    for examples in runs:
        each = examples.each
        ids, sizes = list(examples.rows), each.samples["t2i_ranks"].map(len).to_numpy()
        owner, first = np.repeat(np.arange(len(sizes)), sizes), np.cumsum(sizes) - sizes
        ranks = np.concatenate([[], *each.samples["t2i_ranks"]]).astype(np.int64)
        for place in _last(ranks):
            sample_id, number = ids[owner[place]], int(place - first[owner[place]])
            rank, answers = examples.to_picture(sample_id, number)
            caption, first_one = _text(examples.texts[f"{sample_id}#{number}"]), answers[0]
            cells = [Cell(each.run.name), each.sample(sample_id), Cell(rank)]
            instead = replace(each.sample(first_one.name), note=shown(first_one.text, _TEXT))
            rows.append([caption, *cells, instead, _score(first_one.score)])
    headings = [("caption", False), ("run", False), ("its picture", False), ("found at", True)]
    return Grid("Captions whose picture was found last", [*headings, ("found first", False), ("cosine", True)], rows)


def _worst_pictures(runs: Sequence[Examples]) -> Grid:
    rows = []
    for examples in runs:
        ids, each = list(examples.rows), examples.each
        for place in _last(each.samples["i2t_rank"].to_numpy(np.int64)):
            sample_id = ids[place]
            rank, answers = examples.to_text(sample_id)
            cells = [Cell(each.run.name), _text(examples.caption(sample_id)), Cell(rank)]
            rows.append([each.sample(sample_id), *cells, _text(answers[0].text), _score(answers[0].score)])
    headings = [("picture", False), ("run", False), ("first of its captions", False), ("first own one at", True)]
    return Grid("Pictures whose captions were found last", [*headings, ("found first", False), ("cosine", True)], rows)


def _last(ranks: "np.ndarray") -> "np.ndarray":
    """Places of the highest ranks, of those that are not 1."""
    order = np.argsort(-ranks, kind="stable")[:WORST]
    return order[ranks[order] > 1]


def _text(text: str) -> Cell:
    return Cell(text, shown(text, _TEXT))


def _score(score: float) -> Cell:
    return Cell(score, f"{score:.3f}")
