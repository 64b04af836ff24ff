"""What encoding costs."""

import json
from pathlib import Path

import pytest

from benchmarks.data.vocabulary import Vocabulary, shipped
from benchmarks.estimate.zeroshot import CAPTION_TOKENS, count_prompts, prompt_tokens
from benchmarks.zeroshot.text import all_prompts, tokenise
from benchmarks.zeroshot.text_tower import TokenTree


def nodes(vocabulary: Vocabulary) -> int:
    """Tokens that go through the tower when all prompts are one tree."""
    texts, _ = all_prompts(vocabulary)
    return len(TokenTree.of(sorted({tokenise(text) for text in texts})).tokens)


@pytest.mark.parametrize("dataset", ["mnist", "cifar10", "pets", "dtd", "kitti", "pcam"])
def test_tokens_of_prompts_are_a_close_upper_bound(dataset: str) -> None:
    vocabulary = shipped(dataset)
    assert nodes(vocabulary) <= prompt_tokens(vocabulary) <= 1.6 * nodes(vocabulary) + 10


def test_prompts_without_common_beginnings_are_counted_exactly() -> None:
    vocabulary = Vocabulary("made", ("a", "b"), (("cat",), ("dog",)), ("a photo of a {}.", "this is {}"), "here")
    assert prompt_tokens(vocabulary) == nodes(vocabulary) + 1  # both trees have a start token of their own here
    assert count_prompts(vocabulary) == 4


def test_equal_names_are_encoded_once() -> None:
    vocabulary = Vocabulary("made", ("a", "b"), (("cat",), ("cat",)), ("a {}.",), "here")
    assert count_prompts(vocabulary) == 1
    assert prompt_tokens(vocabulary) == nodes(vocabulary)


@pytest.mark.real_data
def test_captions_have_as_many_tokens_as_assumed(real_data: Path) -> None:

    files = real_data / "karpathy_captions"
    for name in ("flickr30k_test.json", "mscoco_test.json"):
        pictures = json.loads((files / name).read_text())[:300]
        lengths = [len(tokenise(caption)) for picture in pictures for caption in picture["captions"]]
        assert sum(lengths) / len(lengths) == pytest.approx(CAPTION_TOKENS, rel=0.15)
