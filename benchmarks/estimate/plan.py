"""From a job to its estimate. The data need not be there; of the checkpoint, only its architecture counts."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import Inspection, inspect_checkpoint
from benchmarks.data.vocabulary import shipped, with_prompts
from benchmarks.dense.detection_protocol import DetectionFields
from benchmarks.dense.protocol import SegmentationFields
from benchmarks.engine.division import divide, divisors
from benchmarks.engine.protocol import load_protocol
from benchmarks.errors import CheckpointError, OptionError
from benchmarks.estimate.dense import Counts, count_detection, count_segmentation, largest_size, mean_size
from benchmarks.estimate.disk import data_places, embedding_places, training_places
from benchmarks.estimate.hardware import GPUS, SIZES, UTILISATION, Kind
from benchmarks.estimate.result import FRAGMENTS, GIB, Estimate, Loading, Memory, Work
from benchmarks.estimate.zeroshot import (
    CAPTION_TOKENS,
    CAPTIONS,
    Encoding,
    count_encoding,
    count_prompts,
    prompt_tokens,
)
from benchmarks.run import Job, Say
from benchmarks.zeroshot.protocol import ClassificationFields, RetrievalFields

Counter = Callable[[Any], Counts]
"""Counts a dense benchmark with the fields given."""

COCO_TRAINED_ON = 117_266
"""Pictures of COCO's train2017 on which anything is annotated and no side is tiny: an epoch."""

_LOADED_SEGMENTATION, _LOADED_DETECTION, _LOADED_CROPS = 50, 25, 100
"""Pictures a second that one core of a shared x86-64 server decoded and prepared: ADE20K's training crops, COCO's
training pictures, and COCO's pictures as 224-pixel crops."""

_ADE_FILES, _COCO_FILES = 20_000_000, 200_000_000

_COUNTED = (
    "operations are those of matrix products, convolutions and attention of the real model, a multiply-add being two; "
    "all others (norms, activations, resizing, region pooling, suppression, losses) are in the utilisation"
)


def estimate(job: Job, processes: int = 1) -> Estimate:
    """What ``job`` will take, before it is run and before its data are there.

    Args:
        job: its data root is not looked at.
        processes: GPUs that share the work, one process each.

    Raises:
        CheckpointError: the checkpoint cannot be used, heads must be told, or it lacks a text side that is needed.
        OptionError: an override does not fit, or the batch does not divide by the processes.
    """
    assert job.benchmark.runner is not None
    found = _found(job)
    if found.heads.image is None:
        raise CheckpointError(f"{found.path}: the image tower's heads cannot be read from weights; say --image-heads N")
    return ESTIMATORS[job.benchmark.runner](job, found, processes)


def estimate_all(jobs: Sequence[Job], by_name: frozenset[str], processes: int, say: Say) -> list[Estimate]:
    """The estimates of several jobs; those that only a group asks for and that need a missing text side are left out.

    Args:
        jobs: as for `estimate`.
        by_name: ids of the benchmarks that were asked for by name.
        processes: as for `estimate`.
        say: is told what is left out.

    Raises:
        CheckpointError: as `estimate`.
        OptionError: as `estimate`, or nothing is left.
    """
    kept = []
    for job in jobs:
        if job.benchmark.needs_text and job.benchmark.id not in by_name and not _found(job).has_text:
            say(f"{job.benchmark.id}: needs a text side, which {job.checkpoint} lacks, skipped")
        else:
            kept.append(estimate(job, processes))
    if not kept:
        raise OptionError("nothing of it can run with this checkpoint; the lines above say why")
    return kept


def _found(job: Job) -> Inspection:
    return _inspected(job.checkpoint, job.tower, job.image_heads, job.text_heads, job.quick_gelu)


@lru_cache(maxsize=4)
def _inspected(
    path: Path, tower: str | None, image_heads: int | None, text_heads: int | None, quick_gelu: bool | None
) -> Inspection:
    """Of several benchmarks with one checkpoint, the file is read once."""
    return inspect_checkpoint(path, tower, image_heads, text_heads, quick_gelu)


# ---- training and scoring


def _segmentation(job: Job, found: Inspection, processes: int) -> Estimate:
    fields = _fields(job, SegmentationFields)
    batch = divide(fields.batch_size, processes, fields.execution.accumulate).part
    counter = partial(count_segmentation, architecture=found.architecture, batch=batch)
    sizes = f"training crops of {_size(fields.crop_size)}; pictures to score have sides of 4:3 (the median of ADE20K's)"
    return _dense(
        job, found, processes, fields, counter,
        kind="segmentation", pictures=fields.iterations * fields.batch_size, rate=_LOADED_SEGMENTATION,
        files=_ADE_FILES, assumed=(sizes,),
    )  # fmt: skip


def _detection(job: Job, found: Inspection, processes: int) -> Estimate:
    fields = _fields(job, DetectionFields)
    batch = divide(fields.batch_size, processes, fields.execution.accumulate).part
    counter = partial(count_detection, architecture=found.architecture, batch=batch)
    iterations = fields.iterations or fields.epochs * ceil(COCO_TRAINED_ON / fields.batch_size)
    sizes = (
        f"operations of training are counted at {_size(mean_size(fields, batch))}, the mean padded area of batches of "
        f"{batch} drawn from 640x480 pictures, memory at {_size(largest_size(fields))}, the largest"
    )
    regions = (
        f"every picture is taken to have all {fields.roi_samples} regions of each stage, "
        f"{int(fields.roi_samples * fields.roi_positive_share)} of them with masks, and to end in "
        f"{fields.max_per_image} detections out of {fields.rpn_after_nms_test} proposals: the most there can be"
    )
    return _dense(
        job, found, processes, fields, counter,
        kind="detection", pictures=iterations * fields.batch_size, rate=_LOADED_DETECTION,
        files=_COCO_FILES, assumed=(sizes, regions),
    )  # fmt: skip


def _dense(
    job: Job,
    found: Inspection,
    processes: int,
    fields: Any,
    counter: Counter,
    *,
    kind: Kind,
    pictures: int,
    rate: float,
    files: int,
    assumed: tuple[str, ...],
) -> Estimate:
    """The estimate of a training with its scoring."""
    counts = counter(fields)
    training = Work("training", kind, fields.precision, pictures, counts.training)
    scoring = Work("scoring", "scoring", "fp32", _limited(job), counts.scoring)
    batch = divide(fields.batch_size, processes, fields.execution.accumulate).part
    memory = _training_memory(counts, batch, processes)
    return Estimate(
        benchmark=job.benchmark.id,
        checkpoint=found.name,
        processes=processes,
        works=(training, scoring),
        memory=memory,
        places=(
            *data_places(job.benchmark),
            *training_places(counts.weights, counts.trained, counts.tower, job.pictures, files),
        ),
        loading=Loading(rate, fields.execution.workers, training),
        advice=_advice(memory, counts, fields, processes, counter),
        assumptions=(_COUNTED, *assumed, *_said_of_time(training, scoring), _said_of_memory()),
    )


def _training_memory(counts: Counts, batch: int, processes: int) -> Memory:
    """Per GPU; what a step holds beside the weights' copies grows with the batch."""
    buckets = 2 if processes > 1 else 1
    return Memory(
        batch=batch,
        weights=4 * counts.weights,
        gradients=4 * buckets * counts.trained,
        moments=8 * counts.trained,
        copies=counts.copies,
        kept=(counts.step.kept - counts.copies) * batch // counts.batch,
        passing=(counts.step.peak - counts.step.kept) * batch // counts.batch,
    )


def _advice(memory: Memory, counts: Counts, fields: Any, processes: int, counter: Counter) -> tuple[str, ...]:
    """What to do for each size of GPU that is too small."""
    small = {name: size for name, size in SIZES.items() if memory.total > size}
    if not small:
        return ()
    recomputing = None if fields.execution.checkpoint_blocks else counter(_recomputing(fields))
    lines = []
    for name, size in small.items():
        fits = memory.largest_batch(size)
        ways = [
            *(_recompute(counts, recomputing, memory.batch, processes, size) if recomputing else []),
            *_more_processes(counts, fields.batch_size, processes, size),
            *_accumulate(memory.batch, fields.execution.accumulate, fits),
        ]
        lines.append(f"{name} GB are too few: {'; or '.join(ways) or 'not even one picture fits'}")
    return tuple(lines)


def _recomputing(fields: Any) -> Any:
    """The same protocol with ``execution.checkpoint_blocks=True``."""
    return fields.model_copy(update={"execution": fields.execution.model_copy(update={"checkpoint_blocks": True})})


def _recompute(counts: Counts, recomputing: Counts, batch: int, processes: int, size: int) -> list[str]:
    """Recomputing blocks, where it helps enough."""
    needed = _training_memory(recomputing, batch, processes).total
    more = recomputing.training / counts.training - 1
    if needed > size:
        return []
    return [f"-o execution.checkpoint_blocks=True ({needed / GIB:.1f} GiB, {more:.0%} more operations)"]


def _more_processes(counts: Counts, total_batch: int, processes: int, size: int) -> list[str]:
    """The smallest number of processes that divides the batch finely enough."""
    for number in range(processes + 1, total_batch + 1):
        if total_batch % number == 0:
            needed = _training_memory(counts, total_batch // number, number).total
            if needed <= size:
                return [f"{number} GPUs instead of {processes} ({needed / GIB:.1f} GiB each)"]
    return []


def _accumulate(batch: int, parts: int, fits: int) -> list[str]:
    """The fewest equal parts of a process's batch that fit."""
    sizes = [batch // number for number in divisors(batch) if batch // number <= fits]
    if not sizes:
        return []
    told = f"-o execution.accumulate={parts * batch // sizes[0]} ({sizes[0]} pictures at a time"
    return [f"{told}; with batch norm that is another protocol, docs/scaling.md)"]


# ---- encoding


def _classification(job: Job, found: Inspection, processes: int) -> Estimate:
    fields = _fields(job, ClassificationFields)
    vocabulary = shipped(job.benchmark.dataset)
    if job.prompts:
        vocabulary = with_prompts(vocabulary, job.prompts)
    said = "beginnings that the prompts of a template share are computed once; further sharing is not taken off"
    return _encoding(job, found, processes, fields, count_prompts(vocabulary), prompt_tokens(vocabulary), said)


def _retrieval(job: Job, found: Inspection, processes: int) -> Estimate:
    fields = _fields(job, RetrievalFields)
    texts = CAPTIONS * _limited(job, fields.pictures)
    said = (
        f"{CAPTIONS} captions a picture, of {CAPTION_TOKENS} tokens with start and end; shared beginnings not taken off"
    )
    return _encoding(job, found, processes, fields, texts, texts * CAPTION_TOKENS, said)


def _encoding(job: Job, found: Inspection, processes: int, fields: Any, texts: int, tokens: int, said: str) -> Estimate:
    """The estimate of encoding pictures and texts."""
    if not found.has_text or found.joint is None:
        raise CheckpointError(f"{found.path} ({found.title}): has no text side, which {job.benchmark.id} needs")
    if found.heads.text is None:
        raise CheckpointError(f"{found.path}: the text tower's heads cannot be read from weights; say --text-heads N")
    batch, pictures = fields.execution.batch_size, _limited(job, fields.pictures)
    counts = count_encoding(found, batch)
    queries = job.pictures if "--pictures" in job.benchmark.takes else 0
    images = Work("pictures", "encoding", "fp32", pictures, counts.image)
    words = Work("texts", "encoding", "fp32", tokens, counts.token, of="tokens")
    kept = (
        f"the data set is the published one of {job.benchmark.official_size:,} pictures, and none of it is in the cache"
    )
    return Estimate(
        benchmark=job.benchmark.id,
        checkpoint=found.name,
        processes=processes,
        works=(images, words),
        memory=_encoding_memory(counts, batch),
        places=(*data_places(job.benchmark), *embedding_places(pictures, texts, found.joint, queries)),
        loading=Loading(_LOADED_CROPS, fields.execution.workers, images),
        advice=(),
        assumptions=(_COUNTED, kept, said, *_said_of_time(images), _said_of_memory()),
    )


def _encoding_memory(counts: Encoding, batch: int) -> Memory:
    return Memory(batch, weights=4 * counts.weights, gradients=0, moments=0, copies=0, kept=0, passing=counts.peak)


ESTIMATORS: Mapping[str, Callable[[Job, Inspection, int], Estimate]] = {
    "benchmarks.dense.segmentation": _segmentation,
    "benchmarks.dense.detection": _detection,
    "benchmarks.zeroshot.classification": _classification,
    "benchmarks.zeroshot.retrieval": _retrieval,
}
"""By the module that runs a benchmark."""


# ---- all


def _fields(job: Job, schema: Any) -> Any:
    return load_protocol(job.benchmark.config, schema, job.quick, job.overrides)


def _limited(job: Job, pictures: int | None = None) -> int:
    """Pictures that are scored: all that are published, or as many as were asked for."""
    return min(job.benchmark.official_size, *(number for number in (job.limit, pictures) if number is not None), 10**9)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _said_of_time(*works: Work) -> tuple[str, ...]:
    """How hours come about, in words."""
    peaks = "; ".join(gpu.source for gpu in GPUS)
    used = "; ".join(
        f"{use.usual:.0%} ({use.low:.0%} to {use.high:.0%}) in {use.why}"
        for use in (UTILISATION[kind] for kind in dict.fromkeys(work.kind for work in works))
    )
    return (f"hours are a model, not a measurement: operations over peak times utilisation; peaks: {peaks}",
            f"utilisation of {used}")  # fmt: skip


def _said_of_memory() -> str:
    return (
        "memory is counted operation by operation with fused attention; added are 1 GiB for CUDA's context and "
        f"workspaces, and {FRAGMENTS:.0%} of what a step holds for fragmentation"
    )
