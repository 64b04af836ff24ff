"""At which place does a picture find its caption, and a caption its picture? And what does it find before?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

_BLOCK = 1 << 21
"""Similarities held at a time: 8 MB, however large the set."""

TOP = 5
"""How many of the best answers to a query are kept."""

Vectors = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Found:
    """What Q queries found among A answers.

    Attributes:
        rank: (Q,) the place of the right answer, from 1; of the first right one where there are several.
        top: (Q, min(``TOP``, A)) the answers that come first, in their order.
        scores: of the same shape, their cosines.
    """

    rank: Places
    top: Places
    scores: Vectors


def ranks(image: Vectors, text: Vectors, owner: Places) -> tuple[Found, Found]:
    """The place of the right answer among all, by descending cosine, and the answers at the first places.

    Of equal similarities the earlier in the split comes first; equal vectors have equal similarities to the last bit.
    Recall at K (Table 2 has K = 1) is the share of ranks up to K. Memory grows with N + T, not with their product.

    Args:
        image: (N, D) unit vectors.
        text: (T, D) unit vectors.
        owner: (T,) the picture that each text describes; every picture has a text.

    Returns:
        What each of the N pictures found among the texts, of which any of its own is right; and what each of the T
        texts found among the pictures.
    """
    pictures, texts = Distinct(image), Distinct(text)
    by_image, by_text = _nothing(len(image), len(text)), _nothing(len(text), len(image))
    own_texts = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner, minlength=len(image)))[:-1])
    for rows, similar in _blocks(pictures, texts):
        # Of equal values argmax gives the first, which is the one that comes first in the ranking too.
        best = [own[line[own].argmax()] for line, own in zip(similar, own_texts[rows], strict=True)]
        by_image.rank[rows] = _place(similar, np.array(best))
        _take_top(similar, by_image.top[rows], by_image.scores[rows])
    for rows, similar in _blocks(texts, pictures):
        by_text.rank[rows] = _place(similar, owner[rows])
        _take_top(similar, by_text.top[rows], by_text.scores[rows])
    return by_image, by_text


class Distinct:
    """Vectors without repetitions, and where each of the given ones is among them.

    A matrix product may round equal columns differently at different places: each is multiplied once.

    Attributes:
        vectors: (U, D) the distinct ones, in the order of their first places.
        place: (N,) where each of the given ones is among them.

    Args:
        vectors: (N, D).
    """

    def __init__(self, vectors: Vectors) -> None:
        seen: dict[bytes, int] = {}
        self.place = np.array([seen.setdefault(vector.tobytes(), len(seen)) for vector in vectors])
        _, first = np.unique(self.place, return_index=True)
        self.vectors = torch.from_numpy(np.ascontiguousarray(vectors[first]))

    @property
    def repeats(self) -> bool:
        """Whether any vector occurs more than once."""
        return len(self.vectors) < len(self.place)

    def similarities(self, query: torch.Tensor) -> Vectors:
        """Products of queries (Q, D) with the N given vectors, (Q, N): equal to the last bit for equal vectors."""
        similar: Vectors = (query @ self.vectors.T).numpy()
        return similar[:, self.place] if self.repeats else similar


def _nothing(queries: int, answers: int) -> Found:
    """Room for what so many queries find."""
    shape = queries, min(TOP, answers)
    return Found(np.empty(queries, np.int64), np.empty(shape, np.int64), np.empty(shape, np.float32))


def _blocks(query: Distinct, answer: Distinct) -> Iterator[tuple[slice, Vectors]]:
    """Similarities of consecutive queries to all answers, (rows, answers), block by block."""
    rows, total = max(1, _BLOCK // len(answer.place)), len(query.place)
    for start in range(0, total, rows):
        block = slice(start, min(start + rows, total))
        yield block, answer.similarities(query.vectors[query.place[block]])


def _place(similar: Vectors, right: Places) -> Places:
    """The place of one right answer in each row, (rows, answers) and (rows,) to (rows,)."""
    own = np.take_along_axis(similar, right[:, None], axis=1)
    better = np.count_nonzero(similar > own, axis=1)
    equal = similar == own
    for row in np.flatnonzero(np.count_nonzero(equal, axis=1) > 1):
        better[row] += np.count_nonzero(equal[row, : right[row]])
    places: Places = 1 + better
    return places


def _take_top(similar: Vectors, top: Places, scores: Vectors) -> None:
    """Fill ``top`` and ``scores`` from the block of similarities, (rows, answers), which is used up.

    One maximum after the other: five passes over the block take a third of the time of a partial sort, and of equal
    values argmax gives the first, as the ranking does.
    """
    lines = np.arange(len(similar))
    for place in range(top.shape[1]):
        best = similar.argmax(axis=1)
        top[:, place], scores[:, place] = best, similar[lines, best]
        similar[lines, best] = -np.inf
