"""How long zero-shot evaluation takes, beside CLIP_benchmark and beside the bare encoder: ``make bench-zeroshot``.

All in one run and in turn, so that a change of the machine's speed hits everything; ratios are taken pair by pair. The
model is open_clip's ViT-B-16 with random weights, which cost the same as trained ones.
"""

import argparse
import contextlib
import io
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.data.images import Images, verified_files
from benchmarks.data.vocabulary import Vocabulary, shipped
from benchmarks.zeroshot.embeddings import clear
from benchmarks.zeroshot.encoder import Encoder, open_encoder
from benchmarks.zeroshot.preprocessing import picture_transform
from benchmarks.zeroshot.ranks import ranks
from benchmarks.zeroshot.text import all_prompts, class_weights, encode_texts

CPU = torch.device("cpu")
COCO_IMAGES, COCO_CAPTIONS, WIDTH = 5_000, 25_010, 512
SIZE = (500, 375)
"""Width and height of the generated pictures: ImageNet's most frequent ones."""

Columns = dict[str, list[float]]
"""Measured values by the name of their row, one a round."""


def random_model(folder: Path) -> Encoder:
    """open_clip's ViT-B-16, written to ``folder`` and opened as a user's file would be."""
    import open_clip

    torch.manual_seed(0)
    weights = open_clip.create_model("ViT-B-16").state_dict()
    save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / "ViT-B-16.safetensors")
    return open_encoder(folder / "ViT-B-16.safetensors", None, None, None, False, CPU)


def some_classes(classes: int, templates: Sequence[str] | None = None) -> Vocabulary:
    """So many of ImageNet's classes, evenly drawn; ``templates`` instead of the paper's seven."""
    whole = shipped("imagenet")
    drawn = [len(whole.keys) * number // classes for number in range(classes)]
    keys, names = tuple(whole.keys[label] for label in drawn), tuple(whole.names[label] for label in drawn)
    return replace(whole, keys=keys, names=names, templates=tuple(templates or whole.templates))


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """CLIP_benchmark shows progress whether asked or not."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    """Wall time of ``action``, and what it returned."""
    begun = time.perf_counter()
    result = action()
    return time.perf_counter() - begun, result


def classifier(model: Any, vocabulary: Vocabulary, rounds: int) -> Columns:
    """This package's classifier beside CLIP_benchmark's, with the largest difference of their unit vectors."""
    from clip_benchmark.metrics.zeroshot_classification import zero_shot_classifier
    from open_clip import get_tokenizer

    tokenizer = get_tokenizer("ViT-B-16")
    names = [names[0] for names in vocabulary.names]
    templates = [template.replace("{}", "{c}") for template in vocabulary.templates]

    def ours() -> Tensor:
        prompts, owners = all_prompts(vocabulary)
        return class_weights(encode_texts(model, prompts, CPU), owners)

    def theirs() -> Tensor:
        with _without_bars():
            return cast(Tensor, zero_shot_classifier(model, tokenizer, names, templates, "cpu", amp=False)).T

    found: Columns = {"CLIP_benchmark, s": [], "this package, s": [], "times faster": [], "largest difference": []}
    for _ in range(rounds):
        (slow, expected), (fast, weights) = seconds(theirs), seconds(ours)
        for row, value in zip(found, (slow, fast, slow / fast, float((weights - expected).abs().max())), strict=True):
            found[row].append(value)
    return found


def generated_pictures(folder: Path, count: int) -> Images:
    """JPEGs of ImageNet's usual size: coloured clouds under noise, about 110 kB each, as photographs have."""
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        clouds = np.asarray(coarse.resize(SIZE, Image.Resampling.BICUBIC), dtype=np.int16)
        pixels = clouds + generator.integers(-16, 17, clouds.shape, dtype=np.int16)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)
    return verified_files(folder, [f"{number}.jpg" for number in range(count)], "profile")


class _Labelled(Dataset[tuple[Tensor, int]]):
    """What CLIP_benchmark's loop reads."""

    def __init__(self, images: Images, transform: Callable[[Image.Image], Tensor]) -> None:
        self._images = images
        self._transform = transform

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._images.open(index)), 0


@dataclass(frozen=True)
class ImageSide:
    """The ways of encoding the same pictures.

    Attributes:
        encoder: whose model all of them run.
        images: the pictures.
        batch: pictures a batch.
        workers: processes that decode.
    """

    encoder: Encoder
    images: Images
    batch: int
    workers: int

    def bare(self, ready: Tensor) -> None:
        """The model alone, on pictures that were decoded and normalised beforehand."""
        with torch.inference_mode():
            for pixels in ready.split(self.batch):
                self.encoder.loaded.model.encode_image(pixels)

    def ours(self) -> None:
        """This package, from the files to the finished entry of the cache."""
        clear()
        self.encoder.images(self.images, self.batch, self.workers)

    def theirs(self) -> None:
        """CLIP_benchmark's loop, with as many workers."""
        from clip_benchmark.metrics.zeroshot_classification import run_classification

        dataset = _Labelled(self.images, picture_transform(self.encoder.loaded.info.preprocessing))
        loader = DataLoader(dataset, batch_size=self.batch, num_workers=self.workers)
        with _without_bars():
            run_classification(self.encoder.loaded.model, torch.zeros(WIDTH, 100), loader, "cpu", amp=False)

    def beside(self, way: Callable[[], None]) -> tuple[float, float]:
        """Seconds of ``way``, and those of them in which its loop was not inside the encoder."""
        model, inside = self.encoder.loaded.model, 0.0
        encode = model.encode_image

        def timed(pixels: Tensor, *others: Any, **named: Any) -> Tensor:
            nonlocal inside
            taken, embedded = seconds(lambda: encode(pixels, *others, **named))
            inside += taken
            return cast(Tensor, embedded)

        model.encode_image = timed
        try:
            whole, _ = seconds(way)
        finally:
            del model.encode_image  # the class's own appears again
        return whole, whole - inside

    def measure(self, rounds: int) -> Columns:
        """All in turn, after one round to warm up."""
        found: Columns = {}
        count = len(self.images)
        transform = picture_transform(self.encoder.loaded.info.preprocessing)
        ready = torch.stack([transform(self.images.open(number)) for number in range(count)])
        for number in range(rounds + 1):
            bare, _ = seconds(lambda: self.bare(ready))
            (ours, ours_beside), (theirs, theirs_beside) = self.beside(self.ours), self.beside(self.theirs)
            values = {
                "bare encoder, pictures/s": count / bare,
                "this package, pictures/s": count / ours,
                "CLIP_benchmark, pictures/s": count / theirs,
                "share of the bare encoder's rate": bare / ours,
                "CLIP_benchmark's share of it": bare / theirs,
                "times CLIP_benchmark's rate": theirs / ours,
                "outside the encoder, s": ours_beside,
                "the same of CLIP_benchmark, s": theirs_beside,
                "share of the time inside the encoder": 1 - ours_beside / ours,
                "the same of CLIP_benchmark": 1 - theirs_beside / theirs,
            }
            for row, value in values.items() if number else ():
                found.setdefault(row, []).append(value)
        return found


def second_run(side: ImageSide, other: Vocabulary) -> Columns:
    """The same pictures with other prompts, by an encoder that knows nothing but the cache."""
    again = Encoder(side.encoder.loaded, CPU)
    taken, _ = seconds(lambda: again.images(side.images, side.batch, side.workers))
    prompts, _ = all_prompts(other)
    encoding, _ = seconds(lambda: again.texts(prompts))
    return {"pictures encoded": [again.encoded], "pictures, s": [taken], "new prompts, s": [encoding]}


def retrieval(rounds: int) -> Columns:
    """Ranks at the size of COCO's test split, all captions: seconds, and memory beyond the embeddings."""
    generator = np.random.default_rng(0)
    image, text = (
        generator.standard_normal((count, WIDTH), dtype=np.float32) for count in (COCO_IMAGES, COCO_CAPTIONS)
    )
    for vectors in (image, text):
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    owner = np.arange(COCO_CAPTIONS) % COCO_IMAGES
    found: Columns = {"seconds": [], "extra memory at the peak, MB": []}
    for _ in range(rounds):
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        found["seconds"].append(seconds(lambda: ranks(image, text, owner))[0])
        found["extra memory at the peak, MB"].append((_memory("VmHWM") - before) / 1e6)
    return found


def _memory(entry: str) -> int:
    """Bytes of this process: ``VmRSS`` (now) or ``VmHWM`` (the peak); Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{entry}:")).split()[1]) * 1024


def table(title: str, columns: Columns) -> Table:
    """Least, median and largest of each row."""
    shown = Table(title=f"{title}, {torch.get_num_threads()} threads")
    for heading in ("", "min", "median", "max"):
        shown.add_column(heading, justify="right")
    for row, values in columns.items():
        shown.add_row(row, *(f"{value:.4g}" for value in (min(values), statistics.median(values), max(values))))
    return shown


def report(options: argparse.Namespace, folder: Path, console: Console) -> None:
    """Measure and print everything."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    # First, while nothing that was freed could serve it unseen.
    console.print(table(f"Ranks of {COCO_IMAGES:,} x {COCO_CAPTIONS:,} at {WIDTH}", retrieval(options.rounds)))
    encoder = random_model(folder)
    seven = some_classes(options.classes)
    eighty = some_classes(options.classes, [template("{}") for template in OPENAI_IMAGENET_TEMPLATES])
    for vocabulary, rounds in ((seven, options.rounds), (eighty, options.long_rounds)):
        title = f"Classifier, {options.classes} classes, {len(vocabulary.templates)} templates"
        console.print(table(title, classifier(encoder.loaded.model, vocabulary, rounds)))
    (folder / "pictures").mkdir()
    images = generated_pictures(folder / "pictures", options.pictures)
    side = ImageSide(encoder, images, options.batch, options.workers)
    title = f"{len(images)} JPEGs of {SIZE[0]}x{SIZE[1]}, batch {options.batch}, {options.workers} workers"
    console.print(table(title, side.measure(options.rounds)))
    side.ours()
    console.print(table("A second run, other prompts", second_run(side, seven)))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds")
    parser.add_argument("--long-rounds", type=int, default=1, help="the same of the 80 templates, minutes each")
    parser.add_argument("--classes", type=int, default=100, help="ImageNet classes of the classifier")
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32, help="pictures a batch")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    options = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns that the weights are random
    try:
        import clip_benchmark  # noqa: F401
    except ModuleNotFoundError:
        sys.exit('clip-benchmark is not installed, with which this compares: pip install -e ".[dev]"')
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DETAILCLIP_BENCH_CACHE"] = f"{folder}/cache"
        report(options, Path(folder), Console(width=None if sys.stdout.isatty() else 120))


if __name__ == "__main__":
    main()
