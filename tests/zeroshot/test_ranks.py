"""Places in a ranking: against a full sort, against clip_benchmark, and within little memory."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.zeroshot import ranks as module
from benchmarks.zeroshot.ranks import Places, Vectors, ranks


def by_sorting(image: Vectors, text: Vectors, owner: Places) -> tuple[list[int], list[int]]:
    """The definition: sort all answers by falling similarity, the earlier first, and look for the right ones."""
    similar = image.astype(np.float64) @ text.astype(np.float64).T
    first = []
    for i, row in enumerate(similar):
        order = sorted(range(len(text)), key=lambda j: (-row[j], j))
        first.append(1 + min(order.index(j) for j in range(len(text)) if owner[j] == i))
    second = []
    for j, column in enumerate(similar.T):
        order = sorted(range(len(image)), key=lambda i: (-column[i], i))
        second.append(1 + order.index(int(owner[j])))
    return first, second


@st.composite
def sets(draw: st.DrawFn) -> tuple[Vectors, Vectors, Places]:
    """Few vectors of small whole numbers: products are exact and many are equal."""
    pictures = draw(st.integers(1, 6))
    extra = draw(st.lists(st.integers(0, pictures - 1), max_size=8))
    owner = np.array(draw(st.permutations([*range(pictures), *extra])))
    whole = st.integers(-1, 1).map(float)
    image = draw(hnp.arrays(np.float32, (pictures, 2), elements=whole))
    text = draw(hnp.arrays(np.float32, (len(owner), 2), elements=whole))
    return image, text, owner


@given(sets())
def test_places_are_those_of_a_stable_sort(given_set: tuple[Vectors, Vectors, Places]) -> None:
    by_image, by_text = ranks(*given_set)
    assert (by_image.tolist(), by_text.tolist()) == by_sorting(*given_set)


@given(sets(), st.integers(1, 40))
def test_the_size_of_a_block_changes_nothing(given_set: tuple[Vectors, Vectors, Places], block: int) -> None:
    whole = ranks(*given_set)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        parts = ranks(*given_set)
    assert [part.tolist() for part in parts] == [part.tolist() for part in whole]


def random_set(pictures: int, captions: int, width: int) -> tuple[Vectors, Vectors, Places]:
    """Unit vectors; each caption lies somewhat nearer to its picture."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((pictures, width), dtype=np.float32)
    owner = np.repeat(np.arange(pictures), captions)
    text = 0.15 * image[owner] + rng.standard_normal((len(owner), width), dtype=np.float32)
    return (
        image / np.linalg.norm(image, axis=1, keepdims=True),
        text / np.linalg.norm(text, axis=1, keepdims=True),
        owner,
    )


@pytest.mark.parametrize("k", [1, 5, 10])
def test_recalls_equal_clip_benchmarks(k: int) -> None:
    from clip_benchmark.metrics.zeroshot_retrieval import recall_at_k

    image, text, owner = random_set(120, 5, 64)
    scores = torch.from_numpy(text @ image.T)
    positive = torch.from_numpy(owner[:, None] == np.arange(120))
    by_image, by_text = ranks(image, text, owner)
    theirs_text = (recall_at_k(scores, positive, k=k) > 0).float().mean().item()
    theirs_image = (recall_at_k(scores.T, positive.T, k=k) > 0).float().mean().item()
    assert float((by_image <= k).mean()) == pytest.approx(theirs_image)
    assert float((by_text <= k).mean()) == pytest.approx(theirs_text)
    assert 0 < theirs_text < 1


def test_equal_vectors_are_equal_wherever_they_stand() -> None:
    """All captions are the same sentence: the first picture's own comes first for everyone, the others follow."""
    image, text, owner = random_set(40, 3, 48)
    text = np.ascontiguousarray(np.broadcast_to(text[:1], text.shape))
    by_image, _ = ranks(image, text, owner)
    assert by_image.tolist() == [3 * i + 1 for i in range(40)]


def test_memory_does_not_grow_with_the_square_of_the_set() -> None:
    """2,000 x 10,000 similarities are 80 MB; what is held at a time, numpy's copies included, is far less."""
    given_set = random_set(2000, 5, 16)
    tracemalloc.start()
    ranks(*given_set)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6
