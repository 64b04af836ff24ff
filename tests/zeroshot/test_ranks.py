"""Places in a ranking and what comes first: against a full sort, clip_benchmark, and within little memory."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.zeroshot import ranks as module
from benchmarks.zeroshot.ranks import TOP, Found, Places, Vectors, ranks


def by_sorting(image: Vectors, text: Vectors, owner: Places) -> tuple[list[list[int]], list[list[int]]]:
    """The definition: for each picture all texts, and for each text all pictures, by falling similarity; the earlier
    first.
    """
    similar = image.astype(np.float64) @ text.astype(np.float64).T
    return tuple(  # type: ignore[return-value]
        [sorted(range(len(row)), key=lambda answer: (-row[answer], answer)) for row in way]
        for way in (similar, similar.T)
    )


def as_lists(found: Found) -> list[list[object]]:
    return [found.rank.tolist(), found.top.tolist(), found.scores.tolist()]


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
    owner = given_set[2]
    by_image, by_text = ranks(*given_set)
    texts, pictures = by_sorting(*given_set)
    first = [1 + min(order.index(j) for j in np.flatnonzero(owner == i)) for i, order in enumerate(texts)]
    assert by_image.rank.tolist() == first
    assert by_text.rank.tolist() == [1 + order.index(owner[j]) for j, order in enumerate(pictures)]


@given(sets())
def test_what_comes_first_is_the_beginning_of_a_stable_sort(given_set: tuple[Vectors, Vectors, Places]) -> None:
    image, text, _ = given_set
    by_image, by_text = ranks(*given_set)
    texts, pictures = by_sorting(*given_set)
    assert by_image.top.tolist() == [order[:TOP] for order in texts]
    assert by_text.top.tolist() == [order[:TOP] for order in pictures]
    similar = image @ text.T  # whole numbers: exact
    assert by_image.scores.tolist() == [similar[i, order[:TOP]].tolist() for i, order in enumerate(texts)]
    assert by_text.scores.tolist() == [similar[order[:TOP], j].tolist() for j, order in enumerate(pictures)]
    assert by_image.scores.dtype == by_text.scores.dtype == np.float32


def assert_ranks_are_places(found: Found, right: list[set[int]]) -> None:
    """A rank up to TOP is the place of the first right answer; beyond it no right one is among the first."""
    for rank, top, own in zip(found.rank, found.top.tolist(), right, strict=True):
        places = [place for place, answer in enumerate(top, start=1) if answer in own]
        assert places[:1] == ([rank] if rank <= TOP else [])


@given(sets())
def test_a_rank_is_the_place_in_the_list(given_set: tuple[Vectors, Vectors, Places]) -> None:
    owner = given_set[2]
    by_image, by_text = ranks(*given_set)
    assert_ranks_are_places(by_image, [set(np.flatnonzero(owner == i)) for i in range(len(by_image.rank))])
    assert_ranks_are_places(by_text, [{picture} for picture in owner.tolist()])


def test_the_same_of_vectors_of_real_size() -> None:
    """Rounded products, several blocks, repeated captions."""
    image, text, owner = random_set(150, 5, 512)
    text[7::11] = text[3]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", 5000)
        by_image, by_text = ranks(image, text, owner)
    assert_ranks_are_places(by_image, [set(range(5 * i, 5 * i + 5)) for i in range(150)])
    assert_ranks_are_places(by_text, [{picture} for picture in owner.tolist()])
    for found, similar in ((by_image, image @ text.T), (by_text, text @ image.T)):
        assert (np.diff(found.scores, axis=1) <= 0).all()
        np.testing.assert_allclose(found.scores, -np.sort(-similar, axis=1)[:, :TOP], atol=1e-6)
        np.testing.assert_allclose(found.scores, np.take_along_axis(similar, found.top, axis=1), atol=1e-6)
    same = {3, *range(7, 750, 11)}
    for top in by_image.top.tolist():
        shared = [answer for answer in top if answer in same]
        assert shared == sorted(same)[: len(shared)], "of equal captions the earlier come first"


@given(sets(), st.integers(1, 40))
def test_the_size_of_a_block_changes_nothing(given_set: tuple[Vectors, Vectors, Places], block: int) -> None:
    whole = ranks(*given_set)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        parts = ranks(*given_set)
    assert [as_lists(part) for part in parts] == [as_lists(part) for part in whole]


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
    assert float((by_image.rank <= k).mean()) == pytest.approx(theirs_image)
    assert float((by_text.rank <= k).mean()) == pytest.approx(theirs_text)
    assert 0 < theirs_text < 1


def test_equal_vectors_are_equal_wherever_they_stand() -> None:
    """All captions are the same sentence: the first picture's own comes first for everyone, the others follow."""
    image, text, owner = random_set(40, 3, 48)
    text = np.ascontiguousarray(np.broadcast_to(text[:1], text.shape))
    by_image, _ = ranks(image, text, owner)
    assert by_image.rank.tolist() == [3 * i + 1 for i in range(40)]
    assert by_image.top.tolist() == [[0, 1, 2, 3, 4]] * 40


def test_memory_does_not_grow_with_the_square_of_the_set() -> None:
    """2,000 x 10,000 similarities are 80 MB; what is held at a time, numpy's copies included, is far less."""
    given_set = random_set(2000, 5, 16)
    tracemalloc.start()
    ranks(*given_set)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6
