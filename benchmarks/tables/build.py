"""Put the measured values beside the paper's, and whatever is not comparable with them somewhere else."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from statistics import fmean, stdev

from benchmarks.errors import OptionError, RecordError
from benchmarks.records import CheckpointInfo, Metric, Record, fingerprint
from benchmarks.suite import BENCHMARKS, filling
from benchmarks.tables.layouts import LAYOUTS, Layout, paper_rows, readme_disagreements
from benchmarks.tables.model import Entry, Measured, OtherRun, PaperValue, Row, Table

LONGEST_NAME = 60

_SETTING = {"model_protocol", "data", "norm_layer", "precision"}
"""What runs of one checkpoint must share, besides the protocol, to be seeds of the same thing."""


@dataclass(frozen=True)
class _Result:
    """A metric of a record, and the column it would fill; empty for a benchmark that is only listed."""

    column: str
    metric: str
    record: Record

    @property
    def value(self) -> Metric:
        found = self.record.metrics.get(self.metric)
        if found is None:
            raise RecordError(
                f"run {self.record.run_id} has no metric {self.metric}, a result of {self.record.benchmark}: "
                "run it again with --existing overwrite"
            )
        return found


def build(table: int, records: Sequence[Record], default_fingerprints: Mapping[str, str]) -> Table:
    """Assemble one of the paper's tables.

    Only records of status ``full`` whose protocol fingerprint is the benchmark's default enter it. They fill
    the row that ``checkpoint.row`` names, or a row of their own. Records of the table's benchmarks that may
    not enter are listed apart.

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
    comparable, other = [], []
    for result in _results(table, records):
        reason = _reason(result, default_fingerprints)
        if reason:
            other.append(_other(result, reason))
        else:
            comparable.append(result)
    paper = _paper(layout, table)
    rows, row_notes = _placed(layout, paper, comparable)
    return Table(
        number=table,
        layout=layout,
        rows=rows,
        missing=dict.fromkeys(filling(table), "not run"),
        other=tuple(sorted(other, key=lambda run: (run.benchmark, run.checkpoint, run.run_id, run.metric))),
        footnotes=(
            *layout.footnotes,
            *_readme_notes(layout, table),
            *_average_notes(layout, paper),
            *row_notes,
        ),
    )


# ---- which results belong to the table


def _results(table: int, records: Iterable[Record]) -> list[_Result]:
    """Every result for a column of the table, and the main metrics of benchmarks that are listed under it."""
    wanted: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for column, (benchmark, metric) in filling(table).items():
        wanted[benchmark.id].append((column, metric))
    for benchmark in BENCHMARKS:
        if table in benchmark.listed_under:
            wanted[benchmark.id].append(("", benchmark.metric))
    return [
        _Result(column, metric, record)
        for record in sorted(records, key=lambda record: record.run_id)
        for column, metric in wanted.get(record.benchmark, [])
    ]


def _reason(result: _Result, default_fingerprints: Mapping[str, str]) -> str:
    """Why a result is not comparable with the paper; empty when it is."""
    record = result.record
    reasons = {
        "fills no column": not result.column,
        record.status: record.status != "full",
        "other protocol": record.protocol_fingerprint != default_fingerprints.get(record.benchmark),
    }
    return ", ".join(reason for reason, applies in reasons.items() if applies)


def _other(result: _Result, reason: str) -> OtherRun:
    record = result.record
    return OtherRun(
        benchmark=record.benchmark,
        checkpoint=printable(record.checkpoint.name),
        tower=_tower(record),
        row=printable(record.checkpoint.row) if record.checkpoint.row else None,
        status=record.status,
        reason=reason,
        metric=result.metric,
        measured=result.value,
        counts=record.counts,
        seed=record.seed,
        run_id=record.run_id,
    )


def printable(name: str) -> str:
    """A name without control and direction characters, at most ``LONGEST_NAME`` characters long."""
    visible = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    return visible if len(visible) <= LONGEST_NAME else visible[: LONGEST_NAME - 1] + "…"


def _tower(record: Record) -> str | None:
    tower = record.model_protocol.get("tower")
    return printable(str(tower)) if tower is not None else None


# ---- the paper's rows


def _paper(layout: Layout, table: int) -> list[Row]:
    """The paper's rows without entries, every value with its rank inside its column (and group)."""
    printed = paper_rows(table)
    ranks: dict[tuple[str, ...], dict[float, int]] = {}
    groups = defaultdict(set)
    for cells in printed:
        for column in layout.columns:
            if cells[column.name]:
                groups[_rank_group(layout, cells, column.name)].add(float(cells[column.name]))
    for group, values in groups.items():
        ranks[group] = {value: rank for rank, value in enumerate(sorted(values, reverse=True), start=1)}
    return [_paper_row(layout, cells, ranks) for cells in printed]


def _rank_group(layout: Layout, cells: Mapping[str, str], column: str) -> tuple[str, ...]:
    return (column, *(cells[label] for label in layout.rank_within))


def _paper_row(layout: Layout, cells: Mapping[str, str], ranks: Mapping[tuple[str, ...], Mapping[float, int]]) -> Row:
    values = {}
    for column in layout.columns:
        printed = cells[column.name]
        if printed:
            rank = ranks[_rank_group(layout, cells, column.name)][float(printed)]
            mean = fmean(float(cells[name]) for name in column.mean_of) if column.mean_of else None
            values[column.name] = PaperValue(printed, float(printed), rank, mean)
    return Row(labels={name: cells[name] for name, _ in layout.labels}, paper=values, entries=())


def _readme_notes(layout: Layout, table: int) -> list[str]:
    """One note for each cell that the release's README prints differently."""
    titles = dict(layout.labels) | {column.name: column.title for column in layout.columns}
    return [
        f"{row['method']}, {row['epochs']} epochs, {titles[row['column']]}: the paper prints {row['paper']}, "
        f"the README of its code release {row['readme']}; shown is the {row['kept']}'s."
        for row in readme_disagreements(table)
    ]


def _average_notes(layout: Layout, paper: Iterable[Row]) -> list[str]:
    """One note for each printed average that its own printed cells do not give."""
    notes = []
    for row in paper:
        for column in layout.columns:
            cell = row.paper.get(column.name)
            if cell and cell.recomputed is not None and f"{cell.recomputed:.1f}" != f"{cell.value:.1f}":
                notes.append(
                    f"{_row_name(layout, row)}: the paper prints {column.title} {cell.printed}, "
                    f"its cells give {cell.recomputed:.2f}."
                )
    return notes


# ---- rows and checkpoints


def _row_name(layout: Layout, row: Row) -> str:
    return layout.row_name.format(**row.labels).removesuffix("@")


def _key(name: str) -> tuple[str, str]:
    """``METHOD[@EPOCHS]`` as (method without regard to case, epochs or nothing)."""
    method, _, epochs = name.partition("@")
    return method.strip().casefold(), epochs.strip()


def _named_rows(layout: Layout, paper: Sequence[Row], name: str) -> list[int]:
    """Positions of the rows that a name means: without epochs it means every row of the method."""
    aliases = {_key(alias): target for alias, target in layout.aliases.items()}
    method, epochs = _key(aliases.get(_key(name), name))
    keys = [_key(_row_name(layout, row)) for row in paper]
    return [at for at, key in enumerate(keys) if key[0] == method and epochs in ("", key[1])]


def _placed(layout: Layout, paper: Sequence[Row], results: Sequence[_Result]) -> tuple[tuple[Row, ...], list[str]]:
    """The paper's rows with the checkpoints that stand for them, then own rows; notes on rows not found."""
    standing: dict[int, list[_Result]] = defaultdict(list)
    own: dict[tuple[str, str], list[_Result]] = defaultdict(list)
    notes: dict[str, None] = {}
    for result in results:
        checkpoint = result.record.checkpoint
        found = _named_rows(layout, paper, checkpoint.row) if checkpoint.row else []
        if len(found) == 1:
            standing[found[0]].append(result)
            continue
        own[checkpoint.name, checkpoint.sha256].append(result)
        if checkpoint.row:
            notes[_misplaced(layout, checkpoint, [paper[at] for at in found])] = None
    rows = [Row(row.labels, row.paper, _entries(layout, standing[at], row.paper)) for at, row in enumerate(paper)]
    rows += [Row({}, {}, _entries(layout, own[key], {})) for key in sorted(own)]
    return tuple(rows), list(notes)


def _misplaced(layout: Layout, checkpoint: CheckpointInfo, candidates: Sequence[Row]) -> str:
    names = " or ".join(_row_name(layout, row) for row in candidates)
    problem = f"could be {names}" if candidates else "is none of this table"
    return (
        f"{printable(checkpoint.name)}: its row {printable(checkpoint.row or '')} {problem}; "
        "it stands in a row of its own."
    )


def _entries(layout: Layout, results: Iterable[_Result], paper: Mapping[str, PaperValue]) -> tuple[Entry, ...]:
    """An entry for each checkpoint and tower; more where runs differ in anything else than the seed."""
    checkpoints: dict[tuple[str, str, str], dict[str, dict[str, list[_Result]]]] = {}
    for result in results:
        record = result.record
        who = (record.checkpoint.name, record.checkpoint.sha256, _tower(record) or "")
        setting = fingerprint(record.model_dump(include=_SETTING, mode="json"))
        columns = checkpoints.setdefault(who, defaultdict(lambda: defaultdict(list)))
        columns[result.column][setting].append(result)
    entries = []
    for _, columns in sorted(checkpoints.items()):
        settings = {column: [runs for _, runs in sorted(found.items())] for column, found in columns.items()}
        for at in range(max(map(len, settings.values()))):
            cells = {column: found[at] for column, found in settings.items() if at < len(found)}
            entries.append(_entry(layout, cells, paper))
    return tuple(entries)


def _entry(layout: Layout, runs: Mapping[str, Sequence[_Result]], paper: Mapping[str, PaperValue]) -> Entry:
    record = next(iter(runs.values()))[0].record
    training = record.checkpoint.training or {}
    cells = {column: _measured(found, paper.get(column)) for column, found in runs.items()}
    for column in layout.columns:
        if column.mean_of and all(name in cells for name in column.mean_of):
            cells[column.name] = _mean([cells[name] for name in column.mean_of], paper.get(column.name))
    factors = [training.get(name) for name in ("views", "epochs", "images")]
    numbers = [factor for factor in factors if isinstance(factor, int | float)]
    return Entry(
        checkpoint=printable(record.checkpoint.name),
        sha256=record.checkpoint.sha256,
        tower=_tower(record),
        labels={name: printable(str(training[name])) for name, _ in layout.labels if name in training},
        views=prod(numbers) if len(numbers) == len(factors) else None,
        cells=cells,
    )


def _measured(results: Sequence[_Result], paper: PaperValue | None) -> Measured:
    """One run as it is, several seeds as mean and standard deviation."""
    values = [result.value.value for result in results]
    mean = fmean(values)
    single = results[0].value if len(results) == 1 else None
    return Measured(
        value=mean,
        low=single.low if single else None,
        high=single.high if single else None,
        spread=None if single else stdev(values),
        seeds=len(results),
        difference=mean - paper.value if paper else None,
        run_ids=tuple(result.record.run_id for result in results),
    )


def _mean(cells: Sequence[Measured], paper: PaperValue | None) -> Measured:
    """The average over columns: no interval, and as many seeds as the column with the fewest."""
    mean = fmean(cell.value for cell in cells)
    return Measured(
        value=mean,
        low=None,
        high=None,
        spread=None,
        seeds=min(cell.seeds for cell in cells),
        difference=mean - paper.value if paper else None,
        run_ids=tuple(run_id for cell in cells for run_id in cell.run_ids),
    )
