"""From the texts of a sample to the tokens of its caption."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import torch

from pretrain.data.fields import CaptionFields

CONTEXT = 77
"""Tokens of a caption, start and end included; shorter ones are padded with 0."""

_KNOWN_WORDS = 100_000  # how many words' pieces a worker remembers: captions hold millions of names and numbers


def choose_caption(texts: Sequence[str], alternatives: bool, fields: CaptionFields) -> str | None:
    """The caption of a sample, None if all of its texts are empty or white space.

    Args:
        texts: of the source.
        alternatives: whether each text stands for itself; then ``concatenate`` takes one at random.
        fields: the rule. Random choices come from torch's global generator.
    """
    filled = [text for text in texts if text.strip()]
    if not filled:
        return None
    if fields.choice == "first":
        return filled[0]
    if fields.choice == "concatenate" and not alternatives:
        return " ".join(filled)
    return filled[int(torch.randint(len(filled), ()))]


@cache
def _tokenizer() -> Any:
    """CLIP's byte-pair encoding with its own cleaning: ftfy, HTML unescaped twice, white space squeezed, lower case."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=CONTEXT, clean="lower")


def tokenize(text: str, overflow: Literal["keep_eot", "legacy_truncate"]) -> torch.Tensor:
    """CLIP's tokens of a caption, int64 (77,): start (49406), text, end (49407), zeros.

    Args:
        text: as it is; it is cleaned and lower-cased here.
        overflow: see :class:`CaptionFields`.
    """
    tokenizer = _tokenizer()
    if len(tokenizer.cache) > _KNOWN_WORDS:
        tokenizer.cache.clear()
    tokens = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
    if len(tokens) > CONTEXT:
        tokens = tokens[:CONTEXT]
        if overflow == "keep_eot":
            tokens[-1] = tokenizer.eot_token_id
    padded = torch.zeros(CONTEXT, dtype=torch.int64)
    padded[: len(tokens)] = torch.tensor(tokens)
    return padded
