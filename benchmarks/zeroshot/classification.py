"""Zero-shot classification: a picture belongs to the class whose prompts lie nearest to it (Tables 2, 3 and 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.data.classification import load_split
from benchmarks.data.images import subset
from benchmarks.data.vocabulary import Vocabulary, vocabulary_of, with_prompts
from benchmarks.engine.protocol import load_protocol
from benchmarks.records import DataInfo
from benchmarks.run import Job, Report, Working
from benchmarks.statistics import bootstrap_mean_per_class, mean_per_class, share_interval
from benchmarks.zeroshot.encoder import Encoder
from benchmarks.zeroshot.plan import Drawn, Scores, Vectors, ZeroShotPlan, draw, fingerprint_with, metric, open_for
from benchmarks.zeroshot.protocol import ClassificationFields
from benchmarks.zeroshot.ranks import Distinct
from benchmarks.zeroshot.text import all_prompts, class_weights

Labels = npt.NDArray[np.int64]

_BLOCK = 4096
"""Pictures scored at a time: 16 MB of scores for 1000 classes."""


def plan(job: Job, progress: Report | None = None) -> ZeroShotPlan:
    """Check options, checkpoint and data of ``job``, in this order: the quickest to fail first.

    Raises:
        BenchError: one of them cannot be used.
    """
    fields = _fields(job)
    dataset, vocabulary = job.benchmark.dataset, _vocabulary(job)
    encoder = open_for(job)
    split = load_split(job.data_root, dataset, vocabulary, fields.split, fields.class_order, progress)
    indices = draw(len(split.images), job.limit, fields.pictures)
    images, labels = subset(split.images, indices), split.labels[list(indices)]
    told = DataInfo(name=dataset, split=split.split, fingerprint=fingerprint_with(images, labels.tobytes()))
    drawn = Drawn(images, told, split.official, split.complete, split.is_sample)
    task = Classification(vocabulary, labels, tuple(images.sample_ids), keyed=fields.keeps_order(dataset, vocabulary))
    return ZeroShotPlan(job, encoder, fields.execution, fields.protocol(dataset, vocabulary), drawn, task)


def encode_prompts(jobs: Sequence[Job], working: Working) -> None:
    """Encode the prompts of several data sets together: each text once, in batches of about one length.

    Raises:
        BenchError: a checkpoint cannot be used, or the user's prompts do not fit a data set.
    """
    for job in jobs:
        _fields(job)  # a wrong override is cheap to find, and texts are not
    texts: dict[Encoder, list[str]] = {}
    for job in jobs:
        texts.setdefault(open_for(job), []).extend(all_prompts(_vocabulary(job))[0])
    what = f"prompts of {len(jobs)} data sets"
    for encoder, prompts in texts.items():
        with working(what) as report:
            encoder.remember(prompts, report, what)


def _fields(job: Job) -> ClassificationFields:
    return load_protocol(job.benchmark.config, ClassificationFields, job.quick, job.overrides)


def _vocabulary(job: Job) -> Vocabulary:
    own = vocabulary_of(job.data_root, job.benchmark.dataset)
    return with_prompts(own, job.prompts) if job.prompts else own


@dataclass(frozen=True, eq=False)
class Classification:
    """Finding each picture's class among C (see ``benchmarks.zeroshot.plan.Task``).

    Attributes:
        vocabulary: names and templates.
        labels: (N,) the true class of each picture.
        sample_ids: of the pictures.
        keyed: labels are places in the vocabulary, so that its keys name the pictures' own classes.
    """

    vocabulary: Vocabulary
    labels: Labels
    sample_ids: tuple[str, ...]
    keyed: bool = True

    @property
    def texts(self) -> Sequence[str]:
        """All prompts, class by class."""
        return all_prompts(self.vocabulary)[0]

    def score(self, images: Vectors, texts: Vectors) -> Scores:
        """``top1``, ``mean_per_class`` and, with more than five classes, ``top5``."""
        import pandas as pd

        classes = len(self.vocabulary.keys)
        weights = class_weights(torch.from_numpy(texts), all_prompts(self.vocabulary)[1])
        found = predict(images, weights.numpy(), self.labels)
        correct = found.predicted == self.labels
        right = np.bincount(self.labels[correct], minlength=classes)
        present = np.bincount(self.labels, minlength=classes)
        total = len(self.labels)
        shares = {"top1": int(correct.sum())} | ({"top5": int((found.rank <= 5).sum())} if classes > 5 else {})
        metrics = {
            name: metric(100 * hits / total, share_interval(hits, total), total) for name, hits in shares.items()
        }
        metrics["mean_per_class"] = metric(
            mean_per_class(right, present), bootstrap_mean_per_class(right, present), total
        )
        samples = pd.DataFrame(
            {
                "sample_id": self.sample_ids,
                "label": self.labels.astype(np.int32),
                "prediction": found.predicted.astype(np.int32),
                "correct": correct,
                "rank": found.rank.astype(np.int32),
                "margin": found.margin,
            }
        )
        return Scores(metrics, {"accuracy": self._by_name(right, present)}, samples)

    def _by_name(self, right: Labels, present: Labels) -> dict[str, float | None]:
        """Percent of each class's pictures; None for a class without any. Names repeat (ImageNet), keys do not."""
        labels = [
            names[0] if names[0] == key or not self.keyed else f"{key} {names[0]}"
            for key, names in zip(self.vocabulary.keys, self.vocabulary.names, strict=True)
        ]
        return {
            label: 100 * float(hits) / float(count) if count else None
            for label, hits, count in zip(labels, right, present, strict=True)
        }


@dataclass(frozen=True, eq=False)
class Predictions:
    """What was made of N pictures.

    Attributes:
        predicted: (N,) the nearest class; of equally near ones the first.
        rank: (N,) the place of the true class, from 1; of equally near ones the first counts as nearer.
        margin: (N,) cosine of the predicted class less that of the next.
    """

    predicted: Labels
    rank: Labels
    margin: npt.NDArray[np.float32]


def predict(images: Vectors, weights: Vectors, labels: Labels) -> Predictions:
    """Compare every picture with every class.

    Args:
        images: (N, D) unit vectors.
        weights: (C, D) unit vectors of the classes, C of 2 or more.
        labels: (N,) true classes.
    """
    classes = Distinct(weights)  # ImageNet has two names twice
    predicted, rank, margin = [], [], []
    for start in range(0, len(images), _BLOCK):
        scores = classes.similarities(torch.from_numpy(np.array(images[start : start + _BLOCK])))
        truth = labels[start : start + _BLOCK, None]
        own = np.take_along_axis(scores, truth, axis=1)
        earlier = np.arange(scores.shape[1]) < truth
        best_two = np.partition(scores, -2, axis=1)[:, -2:]
        predicted.append(scores.argmax(axis=1))
        rank.append(1 + np.count_nonzero((scores > own) | ((scores == own) & earlier), axis=1))
        margin.append(best_two[:, 1] - best_two[:, 0])
    return Predictions(np.concatenate(predicted), np.concatenate(rank), np.concatenate(margin))
