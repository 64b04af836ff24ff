"""Captions: which text is taken, and what becomes of a long one."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip import tokenize as reference
from pydantic import ValidationError

from pretrain.data import captions
from pretrain.data.captions import CONTEXT, choose_caption, tokenize
from tests.pretrain.sections import caption_fields

SOT, EOT = 49406, 49407


def choose(texts: tuple[str, ...], alternatives: bool = False, seed: int = 0, **fields: Any) -> str | None:
    torch.manual_seed(seed)
    return choose_caption(texts, alternatives, caption_fields(**fields))


def test_concatenate_joins_parts_by_one_space() -> None:
    assert choose(("a title", "its description")) == "a title its description"
    assert choose(("a title", "")) == "a title"
    assert choose((" \n", "its description")) == "its description"


@pytest.mark.parametrize(("choice", "alternatives"), [("random", False), ("random", True), ("concatenate", True)])
def test_random_takes_each_text_in_turn(choice: str, alternatives: bool) -> None:
    texts = ("one", "", "two", "three")
    taken = {choose(texts, alternatives, seed, choice=choice) for seed in range(60)}
    assert taken == {"one", "two", "three"}


@pytest.mark.parametrize("alternatives", [False, True])
def test_first_takes_the_first_that_says_something(alternatives: bool) -> None:
    assert choose(("", "two", "three"), alternatives, choice="first") == "two"


@pytest.mark.parametrize("choice", ["concatenate", "random", "first"])
@pytest.mark.parametrize("texts", [(), ("",), ("", "  \t\n")])
def test_sample_without_text_has_no_caption(choice: str, texts: tuple[str, ...]) -> None:
    assert choose(texts, choice=choice) is None


def test_short_caption_is_the_same_under_both_rules_and_as_open_clip_has_it() -> None:
    for text in ("A Photo of a  CAT &amp;amp; dog\n", "", "œuvre – naïve “x”", "1234 ok!"):
        tokens = tokenize(text, "keep_eot")
        assert tokens.dtype == torch.int64
        assert tokens.shape == (CONTEXT,)
        assert torch.equal(tokens, tokenize(text, "legacy_truncate"))
        assert torch.equal(tokens, reference([text])[0])


@pytest.mark.parametrize(("words", "kept"), [(74, True), (75, True), (76, False), (200, False)])
def test_overflow_begins_at_the_76th_token(words: int, kept: bool) -> None:
    """75 words with start and end fill the 77 places: from one more on, the released tokeniser loses the end."""
    text = "cat " * words
    legacy, fixed = tokenize(text, "legacy_truncate"), tokenize(text, "keep_eot")
    assert (EOT in legacy.tolist()) == kept
    assert fixed.tolist().count(EOT) == 1
    assert fixed.argmax() == min(words + 1, 76)
    assert torch.equal(fixed[:76], legacy[:76])
    assert legacy.argmax() == (words + 1 if kept else 0), "without an end, the start token is the largest"


@given(st.text(max_size=400))
def test_any_text_begins_and_ends_as_it_should(text: str) -> None:
    tokens = tokenize(text, "keep_eot")
    end = int(tokens.argmax())
    assert tokens[0] == SOT
    assert tokens[end] == EOT
    assert not tokens[end + 1 :].any()
    assert torch.equal(tokens, reference([text])[0])


def test_memory_of_words_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "_KNOWN_WORDS", 50)
    tokens = [tokenize(f"qx{index}zv yy", "keep_eot") for index in range(200)]
    assert len(captions._tokenizer().cache) < 60
    assert torch.equal(tokens[0], tokenize("qx0zv yy", "keep_eot"))


@pytest.mark.parametrize("fields", [{"choice": "both"}, {"overflow": "drop"}, {"caption": "first"}])
def test_other_values_and_names_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        caption_fields(**fields)
