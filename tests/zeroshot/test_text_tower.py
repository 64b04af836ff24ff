"""The two ways through the text tower give what open_clip's own gives, and the tree holds nothing twice."""

from collections.abc import Callable
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.zeroshot.text_tower import TokenTree, encode_text, encode_tree, trim_padding
from tests.zeroshot.text_towers import tiny_text_tower

TEXTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), min_size=1, max_size=12)


@given(texts=TEXTS)
def test_paths_spell_the_texts(texts: list[tuple[int, ...]]) -> None:
    tree = TokenTree.of(texts)
    for number, text in enumerate(texts):
        path = tree.paths[number, : len(text)]
        assert tuple(tree.tokens[path].tolist()) == text
        assert tree.positions[path].tolist() == list(range(len(text)))
        assert tree.ends[number] == path[-1]
        assert tree.lengths[number] == len(text)
    assert torch.equal(tree.paths.flatten()[tree.places], torch.arange(len(tree.tokens)))


@given(texts=TEXTS)
def test_a_tree_of_sorted_texts_has_one_node_for_each_beginning(texts: list[tuple[int, ...]]) -> None:
    beginnings = set(chain.from_iterable((text[: end + 1] for end in range(len(text))) for text in texts))
    assert len(TokenTree.of(sorted(texts)).tokens) == len(beginnings)


def padded(rows: list[list[int]], length: int) -> Tensor:
    """Ids with the largest one (the end) behind each row, padded with zeros."""
    end = 49407
    return torch.tensor([[*row, end] + [0] * (length - len(row) - 1) for row in rows])


ROWS = [[49406, 5, 6, 7], [49406, 5, 6], [49406, 5, 9, 7, 0, 3], [49406], [49406, 5, 6, 7]]


@pytest.mark.parametrize("context", [8, 77])
@pytest.mark.parametrize("gradients", [True, False])
def test_whole_batches_equal_open_clip(context: int, gradients: bool) -> None:
    model = tiny_text_tower(context)
    tokens = padded(ROWS, context)
    with torch.set_grad_enabled(gradients):
        found = encode_text(model, trim_padding(tokens))
        assert torch.allclose(found, model.encode_text(tokens), atol=1e-5)
    assert found.requires_grad == gradients


def test_another_transformer_and_projection_are_used() -> None:
    model, other = tiny_text_tower(8, seed=0), tiny_text_tower(8, seed=1)
    tokens = padded(ROWS, 8)
    own = encode_text(model, tokens)
    mixed = encode_text(model, tokens, other.transformer, other.text_projection)
    assert (own - mixed).abs().max() > 1e-2
    model.transformer, model.text_projection = other.transformer, other.text_projection
    assert torch.allclose(mixed, model.encode_text(tokens), atol=1e-5)


@pytest.mark.parametrize("order", [sorted, list], ids=["sorted", "as it comes"])
def test_trees_equal_open_clip(order: Callable[[list[list[int]]], list[list[int]]]) -> None:
    model = tiny_text_tower(8)
    rows = order(ROWS)
    with torch.inference_mode():
        found = encode_tree(model, TokenTree.of([[*row, 49407] for row in rows]))
        assert torch.allclose(found, model.encode_text(padded(rows, 8)), atol=1e-5)


def test_padding_is_cut_behind_the_longest_text_and_zeros_inside_stay() -> None:
    tokens = torch.tensor([[1, 0, 2, 0, 0, 0], [1, 2, 0, 0, 0, 0]])
    assert trim_padding(tokens).tolist() == [[1, 0, 2], [1, 2, 0]]
    assert trim_padding(torch.zeros(2, 4, dtype=torch.int64)).shape == (2, 1)
