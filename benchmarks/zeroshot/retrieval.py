"""Image-text retrieval: Table 2's recalls on Flickr30K and COCO, and Flickr8K."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from benchmarks.data import retrieval as data
from benchmarks.data.images import subset
from benchmarks.engine.protocol import load_protocol
from benchmarks.records import DataInfo, Metric
from benchmarks.run import Job, Outcome, Report, Working
from benchmarks.statistics import bootstrap_ratio, share_interval
from benchmarks.zeroshot.pictures import needed, save_pictures
from benchmarks.zeroshot.plan import Drawn, Scores, Vectors, ZeroShotPlan, draw, fingerprint_with, metric, open_for
from benchmarks.zeroshot.protocol import RetrievalFields
from benchmarks.zeroshot.ranks import Places, ranks

RECALLS = (1, 5, 10)


def plan(job: Job, progress: Report | None = None) -> "RetrievalPlan":
    """Check options, checkpoint and data of ``job``, in this order: the quickest to fail first.

    Raises:
        BenchError: one of them cannot be used.
    """
    fields = load_protocol(job.benchmark.config, RetrievalFields, job.quick, job.overrides)
    encoder = open_for(job)
    split = data.load_split(job.data_root, job.benchmark.dataset, progress)
    indices = draw(len(split.images), job.limit, fields.pictures)
    images = subset(split.images, indices)
    captions = tuple(split.captions[index][: fields.captions] for index in indices)
    told = DataInfo(
        name=split.dataset, split=split.split, fingerprint=fingerprint_with(images, repr(captions).encode())
    )
    drawn = Drawn(images, told, split.official, split.complete, split.is_sample)
    task = Retrieval(captions, tuple(images.sample_ids))
    return RetrievalPlan(job, encoder, fields.execution, fields.protocol(split.dataset), drawn, task)


@dataclass(frozen=True)
class RetrievalPlan(ZeroShotPlan):
    """A checked retrieval job, which can save pictures of queries and of what they found."""

    def execute(self, folder: Path, state: Path, working: Working) -> Outcome:
        """See :class:`ZeroShotPlan`; then the pictures that so many queries as were asked for show."""
        outcome = super().execute(folder, state, working)
        if self.job.pictures:
            with working(f"{self.job.benchmark.id}: saving pictures") as report:
                wanted = needed(outcome.samples, self.job.pictures)
                save_pictures(folder / "pictures", self.drawn.images, wanted, report)
        return outcome


@dataclass(frozen=True)
class Retrieval:
    """Finding each picture's caption and each caption's picture (see ``benchmarks.zeroshot.plan.Task``).

    Attributes:
        captions: of each of the N pictures.
        sample_ids: of the pictures.
    """

    captions: tuple[tuple[str, ...], ...]
    sample_ids: tuple[str, ...]

    @property
    def texts(self) -> Sequence[str]:
        """All captions, picture by picture."""
        return list(chain.from_iterable(self.captions))

    def score(self, images: Vectors, texts: Vectors) -> Scores:
        """Recalls at 1, 5 and 10 both ways; a sample is a picture with its captions, and what they and it found.

        A caption goes by ``<sample id>#<its place among the picture's, from 0>``.
        """
        import pandas as pd

        sizes = np.array([len(own) for own in self.captions])
        by_image, by_text = ranks(images, texts, np.repeat(np.arange(len(sizes)), sizes))
        cuts = np.cumsum(sizes)[:-1]
        ids = np.array(self.sample_ids, dtype=object)
        names = np.array(
            [f"{name}#{place}" for name, size in zip(ids, sizes, strict=True) for place in range(size)], dtype=object
        )
        # A picture's captions are lists in its row, so that pandas' explode gives a row a caption.
        samples = pd.DataFrame(
            {
                "sample_id": self.sample_ids,
                "i2t_rank": by_image.rank,
                "t2i_ranks": np.split(by_text.rank, cuts),
                "captions": list(map(list, self.captions)),
                "i2t_top": list(names[by_image.top]),
                "i2t_top_scores": list(by_image.scores),
                "t2i_top": list(map(list, np.split(ids[by_text.top], cuts))),
                "t2i_top_scores": list(map(list, np.split(by_text.scores, cuts))),
            }
        )
        return Scores(recalls(by_image.rank, by_text.rank, sizes), {}, samples)


def recalls(by_image: Places, by_text: Places, sizes: Places) -> dict[str, Metric]:
    """``i2t_r1`` to ``t2i_r10`` with their intervals over pictures.

    Args:
        by_image: (N,) place of each picture's first own caption.
        by_text: (T,) place of each caption's picture, captions of a picture together.
        sizes: (N,) captions of each picture.
    """
    found = {}
    owner = np.repeat(np.arange(len(sizes)), sizes)
    for k in RECALLS:
        hits = int((by_image <= k).sum())
        found[f"i2t_r{k}"] = metric(100 * hits / len(sizes), share_interval(hits, len(sizes)), len(sizes))
        own_hits = np.bincount(owner, weights=by_text <= k, minlength=len(sizes))
        share = 100 * float(own_hits.sum()) / len(by_text)
        found[f"t2i_r{k}"] = metric(share, bootstrap_ratio(own_hits, sizes), len(by_text))
    return found
