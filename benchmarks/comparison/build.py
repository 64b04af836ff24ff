"""Compare checkpoints, benchmark by benchmark, on the same samples."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.comparison.candidates import Candidate, find_candidates
from benchmarks.comparison.inference import Difference, Runs, difference, holm
from benchmarks.comparison.matching import Matched, Seeds, match, own_differences
from benchmarks.comparison.model import LEVEL, Comparison, Line, Pair, Tally, Verdict
from benchmarks.comparison.scores import KINDS, Score, read_score, require_same_truth, same_samples
from benchmarks.errors import OptionError, RecordError
from benchmarks.records import Store
from benchmarks.suite import BENCHMARKS, Benchmark, filling

Report = Callable[[int, int], None]


def compare(
    store: Store,
    names: Sequence[str],
    benchmarks: Sequence[Benchmark] = BENCHMARKS,
    replicates: int | None = None,
    report: Report = lambda done, total: None,
) -> Comparison:
    """Compare the checkpoints that ``names`` stand for, each with the first.

    Args:
        store: where the records and samples are.
        names: two or more: names, rows, paths or beginnings of a sha256, a tower after a colon where there are several.
        benchmarks: what to compare, as far as both sides have it.
        replicates: resamples; None: as many as each metric is worth.
        report: is told of the progress.

    Raises:
        OptionError: a name stands for nothing or for several things.
        RecordError: a record is damaged; or nothing at all can be compared.
    """
    records = sorted(store.load_all(), key=lambda record: record.run_id)
    baseline, *others = find_candidates(names, records)
    drafts = [_Draft(baseline, other) for other in others]
    work = [(draft, benchmark) for draft in drafts for benchmark in benchmarks]
    for done, (draft, benchmark) in enumerate(work):
        report(done, len(work))
        draft.add(store, benchmark, replicates)
    report(len(work), len(work))
    corrected = iter(holm([line.difference.p for draft in drafts for line in draft.lines]))
    pairs = tuple(draft.finished(corrected) for draft in drafts)
    lines = [line for pair in pairs for line in pair.lines]
    if not lines:
        raise _nothing(pairs)
    return Comparison(baseline.label, pairs, len(lines), _footnotes(lines, [baseline, *others]))


def headline_metrics(benchmark: Benchmark) -> tuple[str, ...]:
    """The metrics of a benchmark that fill tables, or would if the paper had a column for it."""
    alike = (it for it in BENCHMARKS if (it.runner, it.metric) == (benchmark.runner, benchmark.metric))
    return tuple(dict.fromkeys(cell.metric for it in alike for cell in it.tables)) or (benchmark.metric,)


class _Draft:
    """A pair in the making."""

    def __init__(self, baseline: Candidate, other: Candidate) -> None:
        self.sides = (baseline, other)
        self.lines: list[Line] = []
        self.refused: list[str] = []
        self.missing: dict[str, str] = {}
        self.notes: list[str] = []
        self.own: dict[str, dict[tuple[str, str], list[str]]] = defaultdict(lambda: defaultdict(list))

    def add(self, store: Store, benchmark: Benchmark, replicates: int | None) -> None:
        """Compare a benchmark, or note why not."""
        having = [any(it.benchmark == benchmark.id for it in side.records) for side in self.sides]
        if sum(having) == 1:
            self.missing[benchmark.id] = self.sides[having.index(True)].label
        if not all(having):
            return
        try:
            matched = match(benchmark.id, *self.sides)
            self.lines += _lines(store, benchmark, matched, replicates)
        except RecordError as error:
            self.refused.append(str(error))
            return
        self.notes += matched.notes
        for name, values in own_differences(matched.baseline[0][0], matched.other[0][0]).items():
            self.own[name][values].append(benchmark.id)

    def finished(self, corrected: Iterable[float]) -> Pair:
        """The pair, with the corrected p-values of its lines."""
        lines = tuple(_judged(line, p) for line, p in zip(self.lines, corrected, strict=False))
        own = {
            name if len(found) == 1 else f"{name} ({number})": (*values, tuple(benchmarks))
            for name, found in self.own.items()
            for number, (values, benchmarks) in enumerate(found.items(), start=1)
        }
        return Pair(
            other=self.sides[1].label,
            lines=lines,
            tally=_tally(lines),
            own=own,
            refused=tuple(self.refused),
            missing=self.missing,
            notes=tuple(self.notes),
        )


# ---- one benchmark


@dataclass(frozen=True)
class _Sides:
    """The scores of both sides in the order of the same samples."""

    baseline: Runs
    other: Runs


def _lines(store: Store, benchmark: Benchmark, matched: Matched, replicates: int | None) -> list[Line]:
    """A line for each headline metric.

    Raises:
        RecordError: the runs cannot be paired.
    """
    records = [record for side in (matched.baseline, matched.other) for seed in side for record in seed]
    frames = [store.read_samples(record.run_id) for record in records]
    names = [record.run_id for record in records]
    places = same_samples(names, frames)
    lines = []
    for metric in headline_metrics(benchmark):
        for record in records:
            if metric not in record.metrics:
                raise RecordError(f"{benchmark.id}: run {record.run_id} has no metric {metric}: run it again")
        scores = [read_score(record, metric, frame) for record, frame in zip(records, frames, strict=True)]
        aligned = [score.take(place) for score, place in zip(scores, places, strict=True)]
        require_same_truth(names, aligned)
        sides = _sides(matched, aligned)
        found = difference(sides.baseline, sides.other, binary=KINDS[metric].binary, replicates=replicates)
        run_ids = _run_ids(matched.baseline), _run_ids(matched.other)
        lines.append(Line(benchmark.id, metric, found, found.p, "noise", records[0].status, run_ids))
    return lines


def _sides(matched: Matched, scores: Sequence[Score]) -> _Sides:
    """Scores in the order of the records, back in the form of the seeds."""
    left = iter(scores)
    baseline, other = (
        tuple(tuple(next(left) for _ in seed) for seed in side) for side in (matched.baseline, matched.other)
    )
    return _Sides(baseline, other)


def _run_ids(seeds: Seeds) -> tuple[str, ...]:
    return tuple(record.run_id for seed in seeds for record in seed)


# ---- what is real


def _judged(line: Line, p_holm: float) -> Line:
    return replace(line, p_holm=p_holm, verdict=verdict_of(line.metric, line.difference, p_holm))


def verdict_of(metric: str, found: Difference, p_holm: float) -> Verdict:
    """Whether a difference is real: significant after correction, and not of a size that one seed alone can make."""
    if p_holm >= LEVEL:
        return "noise"
    kind, better = KINDS[metric], found.value > 0
    if not kind.trained or found.seeds != (1, 1):
        return "better" if better else "worse"
    if abs(found.value) <= kind.seed_spread:
        return "within seed spread"
    return "better, one seed" if better else "worse, one seed"


def _tally(lines: Sequence[Line]) -> Tally | None:
    """Wins, ties and losses over Table 3."""
    wanted = {(benchmark.id, metric) for benchmark, metric in filling(3).values()}
    sets = [line for line in lines if (line.benchmark, line.metric) in wanted]
    if not sets:
        return None
    there = {line.benchmark for line in sets}
    win, loss = (sum(line.verdict == verdict for line in sets) for verdict in ("better", "worse"))
    signs = [(line.difference.value > 0) - (line.difference.value < 0) for line in sets]
    missing = tuple(sorted(benchmark for benchmark, _ in wanted if benchmark not in there))
    higher, equal, lower = (signs.count(sign) for sign in (1, 0, -1))
    return Tally(win, len(sets) - win - loss, loss, higher, equal, lower, missing)


def _nothing(pairs: Sequence[Pair]) -> RecordError | OptionError:
    """Why there is nothing to show: one line."""
    refused = [reason for pair in pairs for reason in pair.refused]
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        return RecordError(refused[0] + more)
    return OptionError("nothing to compare: no benchmark asked for has been run with the baseline and another of them")


def _footnotes(lines: Sequence[Line], sides: Sequence[Candidate]) -> tuple[str, ...]:
    """How to read the lines that there are."""
    tests: Mapping[str, str] = {
        "McNemar": "McNemar's exact test for accuracies and image-to-text recall",
        "bootstrap": "a paired bootstrap over images for the others",
        "bootstrap and seeds": "images and seeds together where a side has several seeds",
    }
    used = [how for test, how in tests.items() if any(line.difference.test == test for line in lines)]
    if len(used) == 1:
        used = [used[0].removesuffix(" for the others")]
    notes = [
        "difference: less the baseline, in points, with the 95 % interval of both scored on the same images.",
        f"p: {'; '.join(used)}; then Holm's correction over {len(lines)} lines. Below {LEVEL:g} it is a real "
        "difference, else noise.",
    ]
    single = [line for line in lines if KINDS[line.metric].trained and line.difference.seeds == (1, 1)]
    if any(KINDS[line.metric].seed_spread for line in single):
        notes.append(
            "one seed: the spread between seeds of fine-tuned ADE20K runs is 1–2 mIoU (for the frozen linear head none "
            "is published) and is not in this interval; up to 2 mIoU a difference is called within seed spread. "
            "More seeds: bench run ... --seed N."
        )
    if any(not KINDS[line.metric].seed_spread for line in single):
        notes.append("one seed: the spread between seeds of COCO runs is not in this interval.")
    if any(1 in line.difference.seeds and line.difference.seeds != (1, 1) for line in lines):
        notes.append("seeds 1: one side has one seed; it is taken to spread as the other side's.")
    if any(len(side.files) == 1 for side in sides):
        notes.append(
            "A side with one checkpoint stands for that one: how far another pretraining of the same method would be "
            "from it is in no interval."
        )
    return tuple(notes)
