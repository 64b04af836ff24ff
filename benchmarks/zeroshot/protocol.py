"""The fields of the zero-shot benchmarks. Their values are in mm_configs/zeroshot and nowhere else."""

from typing import Annotated, Any, Literal

from pydantic import Field

from benchmarks.data.classification import CLASSIFICATION
from benchmarks.data.classification.load import class_labels
from benchmarks.data.vocabulary import Vocabulary, shipped
from benchmarks.engine.protocol import Count, Fields, load_protocol
from benchmarks.suite import Benchmark


class EncodingFields(Fields):
    """What decides time and memory, not the result. Neither recorded as protocol nor fingerprinted."""

    batch_size: Count = Field(description="pictures encoded at a time")
    workers: Annotated[int, Field(ge=0)] = Field(description="processes that decode pictures")


class ClassificationFields(Fields):
    """One zero-shot classification benchmark (docs/methodology.md, zero-shot classification)."""

    split: str | None = Field(description="the split to score; None: the one that the data set's declaration has first")
    class_order: Literal["list", "folders"] = Field(
        description="labels as the class list has them, or as SLIP's converters' folders sort (Flowers, Aircraft)"
    )
    pictures: Count | None = Field(description="score so many, evenly drawn from the split; None: all")
    execution: EncodingFields

    def keeps_order(self, dataset: str, vocabulary: Vocabulary) -> bool:
        """Whether labels are places in the vocabulary."""
        labels = class_labels(CLASSIFICATION[dataset], vocabulary.keys, self.class_order)
        return labels == list(range(len(labels)))

    def protocol(self, dataset: str, vocabulary: Vocabulary) -> dict[str, Any]:
        """What decides the result: what is fingerprinted. Where both orders are one, it is ``list``."""
        declared = CLASSIFICATION[dataset]
        return {
            "task": "zero-shot classification",
            "dataset": dataset,
            "split": self.split or declared.default_split,
            "class_order": "list" if self.keeps_order(dataset, vocabulary) else self.class_order,
            "pictures": self.pictures,
            "classes": len(vocabulary.keys),
            "class_names": vocabulary.names_digest,
            "templates": len(vocabulary.templates),
            "template_texts": vocabulary.templates_digest,
            "class_embedding": "mean of unit vectors, normalised",
            "score": "cosine",
        }


class RetrievalFields(Fields):
    """One image-text retrieval benchmark (docs/methodology.md, retrieval)."""

    all_captions: bool = Field(description="every caption of an image; False: its first five")
    pictures: Count | None = Field(description="score so many, evenly drawn from the split; None: all")
    execution: EncodingFields

    @property
    def captions(self) -> int | None:
        """How many captions of an image are used at most; None: all."""
        return None if self.all_captions else 5

    def protocol(self, dataset: str) -> dict[str, Any]:
        """What decides the result: what is fingerprinted."""
        return {
            "task": "image-text retrieval",
            "dataset": dataset,
            "split": "Karpathy test",
            "captions": self.captions or "all",
            "pictures": self.pictures,
            "text": "plain captions",
            "hit": "any caption of the image",
            "ties": "earlier in the split first",
            "score": "cosine",
        }


def default_classification(benchmark: Benchmark) -> dict[str, Any]:
    """The shipped protocol of a classification benchmark."""
    fields = load_protocol(benchmark.config, ClassificationFields)
    return fields.protocol(benchmark.dataset, shipped(benchmark.dataset))


def default_retrieval(benchmark: Benchmark) -> dict[str, Any]:
    """The shipped protocol of a retrieval benchmark."""
    return load_protocol(benchmark.config, RetrievalFields).protocol(benchmark.dataset)
