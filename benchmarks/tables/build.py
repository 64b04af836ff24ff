"""Put the measured values beside the paper's, and whatever is not comparable with them somewhere else."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.errors import OptionError
from benchmarks.records import CheckpointInfo, Record
from benchmarks.tables.cells import absent_from, entries_of, loss_weights, other_weights, written
from benchmarks.tables.layouts import LAYOUTS, LOSS_WEIGHTS, Layout
from benchmarks.tables.model import Note, Row, Table
from benchmarks.tables.paper import notes_on_paper, rows_of_paper
from benchmarks.tables.results import Result, other_run, printable, results_of


def build(table: int, records: Sequence[Record], default_fingerprints: Mapping[str, str]) -> Table:
    """Assemble one of the paper's tables.

    Only records of status ``full`` whose protocol fingerprint is the benchmark's default, and whose tower was read as
    shipped, enter it. They fill the row that ``checkpoint.row`` names, or a row of their own. Records of the table's
    benchmarks that may not enter are listed apart. Table 4 leaves out checkpoints of other methods than its own.

    Args:
        table: 1 to 4.
        records: any records; those of other tables are left out.
        default_fingerprints: benchmark id to fingerprint of its default protocol.

    Raises:
        OptionError: there is no such table.
        RecordError: a record lacks the metric that its benchmark is to give.
    """
    if table not in LAYOUTS:
        raise OptionError(f"there is no table {table}: choose one of {', '.join(map(str, LAYOUTS))}")
    layout = LAYOUTS[table]
    paper = rows_of_paper(layout, table)
    results = [
        result
        for result in results_of(table, records, default_fingerprints)
        if _concerns(layout, paper, result.record.checkpoint)
    ]
    rows, notes = _filled(layout, paper, results)
    other = [other_run(result) for result in results if result.reason]
    return Table(
        number=table,
        layout=layout,
        rows=rows,
        other=tuple(sorted(other, key=lambda run: (run.benchmark, run.checkpoint, run.run_id, run.metric))),
        notes=(*notes_on_paper(layout, table, paper), *map(Note, notes)),
    )


@dataclass
class _Pile:
    """The results of one row, comparable ones and others."""

    comparable: list[Result] = field(default_factory=list)
    others: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        (self.others if result.reason else self.comparable).append(result)


def _filled(layout: Layout, paper: Sequence[Row], results: Sequence[Result]) -> tuple[tuple[Row, ...], list[str]]:
    """The paper's rows with the checkpoints that stand for them, then own rows; notes on what was not as named."""
    standing: dict[int, _Pile] = defaultdict(_Pile)
    own: dict[tuple[str, str], _Pile] = defaultdict(_Pile)
    notes: dict[str, None] = {}
    for result in results:
        checkpoint = result.record.checkpoint
        at, note = _place(layout, paper, checkpoint)
        if at is None:
            own[checkpoint.name, checkpoint.sha256].add(result)
        else:
            standing[at].add(result)
        if note and not result.reason:
            notes[note] = None
    rows = []
    for at, row in enumerate(paper):
        entries = entries_of(layout, standing[at].comparable, standing[at].others, row.paper)
        rows.append(replace(row, entries=entries, absent=absent_from(layout, (), standing[at].others)))
    for _, pile in sorted(own.items()):
        if pile.comparable:
            rows.append(Row("", {}, {}, entries_of(layout, pile.comparable, pile.others, {})))
    return tuple(rows), list(notes)


# ---- which row


def _concerns(layout: Layout, paper: Sequence[Row], checkpoint: CheckpointInfo) -> bool:
    """Whether a checkpoint is a matter of the table: one of loss weights has nothing to say of other methods.

    A checkpoint without a row is of its method if its training record tells the weights.
    """
    if not layout.by_weights:
        return True
    if not checkpoint.row:
        return bool(loss_weights(checkpoint))
    return _method(checkpoint.row) in {_method(row.name) for row in paper}


def _place(layout: Layout, paper: Sequence[Row], checkpoint: CheckpointInfo) -> tuple[int | None, str]:
    """The position of the row that a checkpoint stands for, None for a row of its own; a note if it is not as named.

    Nothing is guessed: a checkpoint that names no row has one of its own. Among rows that differ in the weights of the
    losses, those in the checkpoint's training record decide; its name may be that of the method alone. In the other
    tables a checkpoint that is known to be trained with other weights than the paper's method stands for none.
    """
    if not checkpoint.row:
        return None, ""
    found = _named_rows(layout, paper, checkpoint.row)
    who = f"Checkpoint {printable(checkpoint.name)}: its row {printable(checkpoint.row)}"
    if len(found) != 1:
        names = " or ".join(paper[at].name for at in found)
        problem = f"could be {names}" if found else "is none of this table"
        return None, f"{who} {problem}; it stands in a row of its own."
    trained = loss_weights(checkpoint)
    known = [_weights(row) for row in paper] if layout.by_weights else []
    if not trained or (trained == known[found[0]] if known else not other_weights(checkpoint)):
        return found[0], ""
    if trained in known:
        at = known.index(trained)
        told = f"by its training record ({written(trained)}) it is {paper[at].name}"
        return at, f"{who} would be {paper[found[0]].name}; {told}."
    return None, f"{who} does not have its weights ({written(trained)}); it stands in a row of its own."


def _weights(row: Row) -> dict[str, float]:
    """The loss weights of a row of the paper."""
    return {label: float(row.labels[label]) for label in LOSS_WEIGHTS}


def _method(name: str) -> str:
    """The method in ``METHOD[(WEIGHTS)][@EPOCHS]``, without regard to case."""
    return _key(name)[0].partition("(")[0].strip()


def _named_rows(layout: Layout, paper: Sequence[Row], name: str) -> list[int]:
    """Positions of the rows that a name means: without epochs it means every row of the method."""
    aliases = {_key(alias): target for alias, target in layout.aliases.items()}
    method, epochs = _key(aliases.get(_key(name), name))
    keys = [_key(row.name) for row in paper]
    return [at for at, key in enumerate(keys) if key[0] == method and epochs in ("", key[1])]


def _key(name: str) -> tuple[str, str]:
    """``METHOD[@EPOCHS]`` as (method without regard to case, epochs or nothing)."""
    method, _, epochs = name.partition("@")
    return method.strip().casefold(), epochs.strip()
