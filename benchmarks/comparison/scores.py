"""Per-sample results in the form that resampling needs: the value of a metric for any weighting of the samples.

One declaration for each metric says how it is read from ``samples.parquet`` (docs/results-format.md) and what is known
of its tests.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.dense.average_precision import IOUS, Matches, average_precision, matches_of, mean_over_classes
from benchmarks.errors import RecordError
from benchmarks.records import Record
from benchmarks.resampling import REPLICATES, MeanRatio

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Weights = npt.NDArray[np.integer]

_MOST_CLASSES = 1 << 15
_TOLERANCE = 1e-6  # percent: rounding of sums, nothing else


class Score(Protocol):
    """A metric of one run over N samples."""

    @property
    def truth(self) -> npt.NDArray[Any]:
        """(N,) what is true of each sample, so that runs on other labels are not taken for the same."""

    @property
    def kinds(self) -> Ints:
        """(N,) samples of equal kind contribute equally, so that resamples can be drawn by kind."""

    @property
    def replicates(self) -> int:
        """Resamples that are worth their time."""

    def take(self, rows: Ints) -> "Score":
        """The same of other samples: (K,) places of these."""

    def values(self, weights: Weights | None = None) -> Floats:
        """(R,) percent, for (R, N) numbers of how often each resample holds each sample; None: each once."""


@dataclass(frozen=True, eq=False)
class Ratio(MeanRatio):
    """A mean of ratios of sums over the samples: a share, a mean over classes, mIoU."""

    truth: npt.NDArray[Any]
    kinds: Ints
    replicates: int = REPLICATES

    def take(self, rows: Ints) -> "Ratio":
        """See :class:`Score`."""
        return Ratio(self.hits[rows], self.trials[rows], self.truth[rows], self.kinds[rows], self.replicates)


@dataclass(frozen=True, eq=False)
class Precision:
    """Average precision at one overlap (its place among ``IOUS``), or over all of them."""

    matches: Matches
    overlap: int | None
    truth: npt.NDArray[Any]
    kinds: Ints
    replicates: int = 500

    def take(self, rows: Ints) -> "Precision":
        """See :class:`Score`."""
        found = self.matches
        starts = np.searchsorted(found.picture, np.arange(len(found.objects) + 1))
        lengths = np.diff(starts)[rows]
        firsts = np.cumsum(lengths) - lengths
        columns = np.arange(lengths.sum()) + np.repeat(starts[rows] - firsts, lengths)
        matches = Matches(
            picture=np.repeat(np.arange(len(rows)), lengths),
            category=found.category[columns],
            score=found.score[columns],
            matched=found.matched[columns],
            ignored=found.ignored[columns],
            objects=found.objects[rows],
        )
        return Precision(matches, self.overlap, self.truth[rows], self.kinds[rows], self.replicates)

    def values(self, weights: Weights | None = None) -> Floats:
        """See :class:`Score`."""
        means = 100 * mean_over_classes(average_precision(self.matches, weights))
        chosen: Floats = means.mean(axis=1) if self.overlap is None else means[:, self.overlap]
        return chosen


# ---- how each metric is read


def _sparse(values: npt.NDArray[Any], rows: Ints, columns: Ints, shape: tuple[int, int]) -> Any:
    from scipy.sparse import csr_array

    return csr_array((values.astype(np.float64), (rows, columns)), shape=shape)


def _share(hits: npt.NDArray[Any], trials: npt.NDArray[Any], truth: npt.NDArray[Any]) -> Ratio:
    """A share without classes: (N,) hits of (N,) trials."""
    rows = np.arange(len(hits))
    columns, shape = np.zeros_like(rows), (len(hits), 1)
    kinds = np.asarray(hits, np.int64) * (int(trials.max(initial=0)) + 1) + trials
    return Ratio(_sparse(hits, rows, columns, shape), _sparse(trials, rows, columns, shape), truth, kinds)


def _ids(values: npt.NDArray[Any]) -> Ints:
    """Class ids, checked.

    Raises:
        ValueError: they are no whole numbers, or out of range.
    """
    if values.dtype.kind not in "iu" or (len(values) and not 0 <= values.min() <= values.max() < _MOST_CLASSES):
        raise ValueError(f"class ids must be whole numbers from 0 to {_MOST_CLASSES - 1}")
    return values.astype(np.int64)


def _joined(column: "pd.Series[Any]") -> npt.NDArray[Any]:
    """The elements of a column of lists, one after the other."""
    return np.concatenate([np.asarray(row) for row in column]) if len(column) else np.empty(0, np.int64)


def _lengths(column: "pd.Series[Any]") -> Ints:
    return np.array([len(row) for row in column], np.int64)


def _top(k: int) -> Callable[["pd.DataFrame"], Score]:
    """Share of samples whose true class is among the first k."""

    def read(samples: "pd.DataFrame") -> Score:
        labels = _ids(samples["label"].to_numpy())
        hits = samples["rank"].to_numpy() <= k if k > 1 else samples["prediction"].to_numpy() == labels
        return _share(hits, np.ones(len(hits), np.int64), labels)

    return read


def _mean_per_class(samples: "pd.DataFrame") -> Score:
    labels = _ids(samples["label"].to_numpy())
    hits = samples["prediction"].to_numpy() == labels
    rows, shape = np.arange(len(labels)), (len(labels), int(labels.max(initial=0)) + 1)
    trials = _sparse(np.ones(len(labels)), rows, labels, shape)
    return Ratio(_sparse(hits, rows, labels, shape), trials, labels, 2 * labels + hits)


def _image_to_text(k: int) -> Callable[["pd.DataFrame"], Score]:
    def read(samples: "pd.DataFrame") -> Score:
        hits = samples["i2t_rank"].to_numpy() <= k
        return _share(hits, np.ones(len(hits), np.int64), _lengths(samples["t2i_ranks"]))

    return read


def _text_to_image(k: int) -> Callable[["pd.DataFrame"], Score]:
    def read(samples: "pd.DataFrame") -> Score:
        captions = _lengths(samples["t2i_ranks"])
        owner = np.repeat(np.arange(len(captions)), captions)
        hits = np.bincount(owner, weights=_joined(samples["t2i_ranks"]) <= k, minlength=len(captions))
        return _share(hits.astype(np.int64), captions, captions)

    return read


def _miou(samples: "pd.DataFrame") -> Score:
    lengths = _lengths(samples["classes"])
    columns = ("intersection", "prediction", "label")
    if any((_lengths(samples[name]) != lengths).any() for name in columns):
        raise ValueError("classes, intersection, prediction and label must be lists of one length")
    classes = _ids(_joined(samples["classes"]).astype(np.int64))
    intersection, prediction, label = (_joined(samples[name]).astype(np.int64) for name in columns)
    if (intersection < 0).any() or (intersection > np.minimum(prediction, label)).any():
        raise ValueError("counts must satisfy 0 <= intersection <= prediction, label")
    rows = np.repeat(np.arange(len(samples)), lengths)
    shape = len(samples), int(classes.max(initial=0)) + 1
    hits = _sparse(intersection, rows, classes, shape)
    union = _sparse(prediction + label - intersection, rows, classes, shape)
    held = np.stack([classes, label], axis=1)
    truth = [part[part[:, 1] > 0].tobytes() for part in np.split(held, np.cumsum(lengths)[:-1])]
    return Ratio(hits, union, np.array(truth, object), np.arange(len(samples)))


def _average_precision(kind: str, overlap: int | None) -> Callable[["pd.DataFrame"], Score]:
    def read(samples: "pd.DataFrame") -> Score:
        every = np.concatenate([_joined(samples[name]).astype(np.int64) for name in ("classes", "objects")])
        matches = matches_of(samples, kind, int(_ids(every).max(initial=0)) + 1)
        if not np.isfinite(matches.score).all():
            raise ValueError("scores must be finite")
        truth = np.array([row.tobytes() for row in matches.objects.astype(np.int64)], object)
        return Precision(matches, overlap, truth, np.arange(len(samples)))

    return read


@dataclass(frozen=True)
class Kind:
    """How a metric is compared.

    Attributes:
        read: its score, from a run's samples.
        binary: each sample is right or wrong, so that McNemar's exact test applies.
        trained: a head is trained with a random seed before anything is scored.
        seed_spread: by how much two runs are known to differ that share everything but chance, in points.
    """

    read: Callable[["pd.DataFrame"], Score]
    binary: bool = False
    trained: bool = False
    seed_spread: float = 0.0


KINDS: Mapping[str, Kind] = {
    "top1": Kind(_top(1), binary=True),
    "top5": Kind(_top(5), binary=True),
    "mean_per_class": Kind(_mean_per_class),
    **{f"i2t_r{k}": Kind(_image_to_text(k), binary=True) for k in (1, 5, 10)},
    **{f"t2i_r{k}": Kind(_text_to_image(k)) for k in (1, 5, 10)},
    # 1 to 2 mIoU between runs of one seed: open-mmlab/mmsegmentation#2956, #3795, Visual-Attention-Network/SegNeXt#48.
    "mIoU": Kind(_miou, trained=True, seed_spread=2.0),
    **{
        f"{name}_{kind}": Kind(_average_precision(kind, overlap), trained=True)
        for kind in ("box", "mask")
        for name, overlap in (("AP", None), ("AP50", 0), ("AP75", 5))
    },
}
"""Every metric that can be compared, by its name in the records."""

assert IOUS[0] == 0.5
assert round(float(IOUS[5]), 6) == 0.75


def read_score(record: Record, metric: str, samples: "pd.DataFrame") -> Score:
    """The score of one metric of a run, after a check that the samples give the record's own value.

    Raises:
        RecordError: they do not, or do not hold what the metric is computed from.
    """
    try:
        score = KINDS[metric].read(samples)
        value = float(score.values()[0])
    except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        what = re.sub(r"\s+", " ", str(error))
        raise RecordError(
            f"{record.run_id}: its samples do not hold what {metric} is computed from ({what})"
        ) from error
    recorded = record.metrics[metric].value
    if not abs(value - recorded) <= _TOLERANCE:
        raise RecordError(f"{record.run_id}: its samples give {metric} {value:.6f}, its record says {recorded:.6f}")
    return score


def same_samples(names: Sequence[str], frames: Sequence["pd.DataFrame"]) -> list[Ints]:
    """For each frame the places of the first one's samples in it.

    Args:
        names: of the frames, for the error.
        frames: samples of runs that are to be paired.

    Raises:
        RecordError: one holds other samples than the first; the message says how many.
    """
    import pandas as pd

    first = pd.Index(frames[0]["sample_id"])
    places = []
    for name, frame in zip(names, frames, strict=True):
        own = pd.Index(frame["sample_id"])
        if not (own.is_unique and len(own) == len(first) and own.isin(first).all()):
            only, lacking = int((~own.isin(first)).sum()), int((~first.isin(own)).sum())
            raise RecordError(
                f"{names[0]} and {name} hold different samples: {lacking} only in the first, {only} only in the "
                "second; they cannot be paired"
            )
        places.append(own.get_indexer(first).astype(np.int64))
    return places


def require_same_truth(names: Sequence[str], scores: Sequence[Score]) -> None:
    """Refuse scores whose samples have the same names but other labels, captions or objects.

    Raises:
        RecordError: the message says how many.
    """
    for name, score in zip(names, scores, strict=True):
        differing = int((score.truth != scores[0].truth).sum())
        if differing:
            raise RecordError(f"{names[0]} and {name} were scored against different labels in {differing} samples")
