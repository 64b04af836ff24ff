"""A checkpoint on a device, with the cache of embeddings behind it: every picture is encoded once, for all uses.

Embeddings are computed in float32. One picture's or text's depends on the others in its batch only by rounding, less
than 1e-5 of its size, so that the batch size and the number of processes are no part of an entry's identity.
"""

import hashlib
import json
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.checkpoints import LoadedCheckpoint, Preprocessing, load_checkpoint
from benchmarks.data.images import Images
from benchmarks.data.verify import Progress
from benchmarks.errors import BenchError, CheckpointError
from benchmarks.zeroshot.embeddings import PART, EmbeddingStore, Encode, Rows
from benchmarks.zeroshot.preprocessing import crop_transform, normalise
from benchmarks.zeroshot.text import encode_texts

ENCODING = 1
"""Raised when this package comes to embed the same picture or text otherwise: older entries are then not found."""

TEXT_PART = 4 * PART
"""Texts of a part of the cache: they are encoded many times faster than pictures."""

SLICE = 8
"""Pictures that a worker decodes at a time: all workers decode the first batch together, and the model soon begins."""

_LIBRARIES = ("torch", "torchvision", "pillow", "timm", "open_clip_torch")


class Encoder:
    """A loaded checkpoint on a device.

    Attributes:
        loaded: the checkpoint; its model lies on ``device``.
        device: what computes.
        encoded: pictures that went through the image tower so far, and did not come out of the cache.
    """

    def __init__(self, loaded: LoadedCheckpoint, device: torch.device) -> None:
        loaded.model.to(device)
        self.loaded = loaded
        self.device = device
        self.encoded = 0
        self._remembered: Rows | None = None
        self._places: dict[str, int] = {}

    def images(
        self, images: Images, batch_size: int, workers: int, progress: Progress | None = None, name: str = ""
    ) -> Rows:
        """Embeddings (N, D) of pictures, not normalised; memory-mapped, read-only. Encodes only what the cache lacks.

        Args:
            images: N pictures, at least one.
            batch_size: pictures that go through the image tower at a time.
            workers: processes that decode; 0 decodes here, in turn with the model.
            progress: called with (pictures done, N), at least once.
            name: of the data, for the listing of the cache.

        Raises:
            DataError: a picture cannot be decoded, or the cache cannot be written to.
        """
        store = self._image_store(images, name)
        rows = store.load(self._image_encoder(store, images, batch_size, workers, progress))
        if progress:
            progress(len(images), len(images))
        return rows

    def encode_share(
        self,
        images: Images,
        batch_size: int,
        workers: int,
        rank: int,
        world: int,
        progress: Progress | None = None,
        name: str = "",
    ) -> int:
        """Encode what the cache lacks of the share of process ``rank`` among ``world``.

        When all have, :meth:`images` finds everything. Nothing here needs the processes to be joined.

        Args:
            images: as for :meth:`images`.
            batch_size: as for :meth:`images`; the same on all processes.
            workers: as for :meth:`images`.
            rank: of this process, from 0.
            world: the number of processes.
            progress: called with (pictures done before and here, N).
            name: as for :meth:`images`.

        Returns:
            The number of pictures that were encoded here.

        Raises:
            DataError: as :meth:`images`.
        """
        store = self._image_store(images, name)
        return store.encode_share(self._image_encoder(store, images, batch_size, workers, progress), rank, world)

    def texts(self, texts: Sequence[str], progress: Progress | None = None, name: str = "") -> Rows:
        """Embeddings (T, D) of texts, not normalised, from the cache or put there; equal texts are encoded once.

        Args:
            texts: T texts, at least one.
            progress: called with (different texts done, different texts), at least once.
            name: of the texts, for the listing of the cache.

        Raises:
            CheckpointError: the checkpoint has no text side.
            DataError: the cache cannot be written to.
        """
        if self._remembered is not None and self._places.keys() >= set(texts):
            if progress:
                progress(len(set(texts)), len(set(texts)))
            return self._remembered[[self._places[text] for text in texts]]
        unique = sorted(set(texts))
        places = {text: row for row, text in enumerate(unique)}
        return self._distinct_texts(unique, progress, name)[[places[text] for text in texts]]

    def remember(self, texts: Sequence[str], progress: Progress | None = None, name: str = "") -> None:
        """Encode the texts of several calls of :meth:`texts` together, so that those only look them up.

        Args:
            texts: at least one.
            progress: as for :meth:`texts`.
            name: as for :meth:`texts`.

        Raises:
            BenchError: as :meth:`texts`.
        """
        unique = sorted(set(texts))
        self._remembered = self._distinct_texts(unique, progress, name)
        self._places = {text: row for row, text in enumerate(unique)}

    def _distinct_texts(self, texts: Sequence[str], progress: Progress | None, name: str) -> Rows:
        """Embeddings of different texts; sorted, so that equal beginnings, which are encoded once, stand together."""
        info = self.loaded.info
        if info.text is None:
            raise CheckpointError(
                f"{info.path} ({info.title}) has no text side: only benchmarks of the image tower can use it"
            )
        store = EmbeddingStore(self.text_identity(texts), self._names("texts", name), len(texts), TEXT_PART)
        rows = store.load(self._text_encoder(store, texts, progress))
        if progress:
            progress(len(texts), len(texts))
        return rows

    def image_identity(self, images: Images) -> dict[str, Any]:
        """Everything that decides the embeddings of ``images``, as JSON-able values."""
        info = self.loaded.info
        return self._identity() | {
            "images": images.fingerprint,
            "architecture": info.architecture.to_dict(),
            "preprocessing": info.preprocessing.to_dict(),
        }

    def text_identity(self, texts: Sequence[str]) -> dict[str, Any]:
        """Everything that decides the embeddings of ``texts``, as JSON-able values; only for one with a text side."""
        text = self.loaded.info.text
        assert text is not None
        digest = hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()
        return self._identity() | {"texts": digest, "architecture": text.to_dict()}

    def _identity(self) -> dict[str, Any]:
        """What pictures and texts share. Libraries decode, resize and compute: another version may round otherwise."""
        return {
            "encoding": ENCODING,
            "checkpoint": self.loaded.info.sha256,
            "tower": self.loaded.info.tower,
            "device": self.device.type,
            "precision": "float32",
            "libraries": {name: version(name) for name in _LIBRARIES},
        }

    def _names(self, kind: str, name: str) -> dict[str, str]:
        info = self.loaded.info
        return {"checkpoint": info.name, "tower": info.tower, "kind": kind, "data": name}

    def _image_store(self, images: Images, name: str) -> EmbeddingStore:
        return EmbeddingStore(self.image_identity(images), self._names("images", name), len(images), PART)

    def _image_encoder(
        self, store: EmbeddingStore, images: Images, batch_size: int, workers: int, progress: Progress | None
    ) -> Encode:
        """Ranges of ``images`` to rows; no batch reaches across two ranges, so that rows do not depend on what else
        is missing.
        """

        def encode(parts: Iterator[range]) -> Iterator[tuple[range, Rows]]:
            done = _counted(progress, len(images) - store.missing(), len(images))
            taken: deque[range] = deque()
            slices = _slices(parts, batch_size, taken)
            first = next(slices, None)
            if first is None:  # nothing is missing: no workers are started for it
                return
            batch: list[Tensor] = []
            rows: list[Tensor] = []
            for pixels in self._pixels(images, chain([first], slices), batch_size, workers):
                batch.append(pixels)
                embedded, waiting = sum(map(len, rows)), sum(map(len, batch))
                whole = embedded + waiting == len(taken[0])
                if waiting < batch_size and not whole:
                    continue
                rows.append(self._embed(batch))
                batch.clear()
                self.encoded += waiting
                done(waiting)
                if whole:
                    yield taken.popleft(), torch.cat(rows).cpu().numpy()
                    rows.clear()

        return encode

    def _pixels(self, images: Images, slices: Iterator[list[int]], batch_size: int, workers: int) -> Iterator[Tensor]:
        """uint8 pixels (S, 3, H, W) of each slice of indices, decoded two batches ahead by each worker."""
        loader = DataLoader(
            _Crops(images, self.loaded.info.preprocessing),
            batch_sampler=slices,  # nobody asks it for its length
            num_workers=workers,
            prefetch_factor=2 * math.ceil(batch_size / SLICE) if workers else None,
            multiprocessing_context="fork" if workers else None,
            pin_memory=self.device.type == "cuda",
        )
        try:
            yield from loader
        except BenchError as error:
            from benchmarks.engine.loop import own_line

            raise type(error)(own_line(error)) from error

    @torch.inference_mode()
    def _embed(self, batch: list[Tensor]) -> Tensor:
        """Slices (S, 3, H, W) of a batch to (B, D), left on the device: it works on while the next are fetched."""
        pixels = torch.cat([part.to(self.device, non_blocking=True) for part in batch])
        inputs = normalise(pixels, self.loaded.info.preprocessing)
        # Convolutions of NVIDIA's library would by default round their inputs to 10 bits of mantissa (TF32).
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            embedded: Tensor = self.loaded.model.encode_image(inputs)
        return embedded

    def _text_encoder(self, store: EmbeddingStore, texts: Sequence[str], progress: Progress | None) -> Encode:
        def encode(parts: Iterator[range]) -> Iterator[tuple[range, Rows]]:
            done = _counted(progress, len(texts) - store.missing(), len(texts))
            for part in parts:
                rows = encode_texts(self.loaded.model, texts[part.start : part.stop], self.device)
                done(len(part))
                yield part, rows.numpy()

        return encode


class _Crops(Dataset[Tensor]):
    """Pictures as uint8 pixels: a quarter of what float32 would take on the way from the workers."""

    def __init__(self, images: Images, way: Preprocessing) -> None:
        self._images = images
        self._crop = crop_transform(way)

    def __getitem__(self, index: int) -> Tensor:
        return self._crop(self._images.open(index))


def _slices(parts: Iterator[range], batch_size: int, taken: deque[range]) -> Iterator[list[int]]:
    """The indices of each slice of each batch, part by part; notes in ``taken`` which parts were begun."""
    for part in parts:
        taken.append(part)
        for start in range(0, len(part), batch_size):
            batch = part[start : start + batch_size]
            for inner in range(0, len(batch), SLICE):
                yield list(batch[inner : inner + SLICE])


def _counted(progress: Progress | None, before: int, total: int) -> Callable[[int], None]:
    """A function to be told how many more are done; what another process does meanwhile may be counted here too."""
    count = before

    def done(more: int) -> None:
        nonlocal count
        count = min(count + more, total)
        if progress:
            progress(count, total)

    return done


def open_encoder(
    path: str | Path,
    tower: str | None,
    image_heads: int | None,
    text_heads: int | None,
    quick_gelu: bool | None,
    device: torch.device,
) -> Encoder:
    """The encoder of a checkpoint. The one opened last is kept: many benchmarks in a row read the file once.

    Args:
        path: as the following, for :func:`benchmarks.checkpoints.load_checkpoint`.
        tower: which tower.
        image_heads: heads of the image tower.
        text_heads: heads of the text tower.
        quick_gelu: the activation of a family whose files do not tell it.
        device: what computes.

    Raises:
        CheckpointError: as ``load_checkpoint``.
    """
    return _open(Path(path), _stamp(Path(path)), tower, image_heads, text_heads, quick_gelu, device)


def _stamp(path: Path) -> tuple[Any, ...]:
    """What tells whether a checkpoint is still the same: place, size and time of the file, or of a folder's files."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file, file.stat()) for file in files if file.exists()]
    return path.resolve(), *((file.name, stat.st_size, stat.st_mtime_ns) for file, stat in stats)


@lru_cache(maxsize=1)
def _open(
    path: Path,
    stamp: tuple[Any, ...],
    tower: str | None,
    image_heads: int | None,
    text_heads: int | None,
    quick_gelu: bool | None,
    device: torch.device,
) -> Encoder:
    """``stamp`` is only there to tell a changed file from the one that is remembered."""
    loaded = load_checkpoint(path, tower, image_heads, text_heads, quick_gelu=quick_gelu)
    return Encoder(loaded, device)
