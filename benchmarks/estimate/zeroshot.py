"""What the zero-shot benchmarks cost: every picture once through the image tower, every text through the text tower."""

from dataclasses import dataclass
from functools import cache

import torch

from benchmarks.checkpoints import Inspection, TextArchitecture, VitArchitecture
from benchmarks.data.vocabulary import PLACE, Vocabulary
from benchmarks.estimate.counting import count_inference, weightless, without_content
from benchmarks.estimate.models import dual_encoder
from benchmarks.zeroshot.text import tokenise
from benchmarks.zeroshot.text_tower import encode_text

CAPTION_TOKENS = 15
"""Tokens of a caption with start and end: 13.5 on average in COCO's Karpathy test split, 15.3 in Flickr30K's."""

CAPTIONS = 5
"""Captions of a picture in Karpathy's splits."""


@dataclass(frozen=True)
class Encoding:
    """What encoding costs.

    Attributes:
        image: floating-point operations of a picture.
        token: the same of a token of a text.
        peak: bytes that a batch of pictures holds at most, beside the weights.
        weights: parameters of both towers.
    """

    image: float
    token: float
    peak: int
    weights: int


def count_encoding(found: Inspection, batch: int) -> Encoding:
    """Count a batch of pictures and a text of `CAPTION_TOKENS`."""
    assert found.text is not None
    assert found.joint is not None
    return _counted(found.architecture, found.text, found.joint, batch)


@cache
def _counted(vision: VitArchitecture, text: TextArchitecture, joint: int, batch: int) -> Encoding:
    model = dual_encoder(vision, text, joint)
    with weightless():
        without_content(model).eval()
        images = torch.empty(batch, 3, vision.image_size, vision.image_size)
        tokens = torch.empty(1, CAPTION_TOKENS, dtype=torch.long)
        pictures = count_inference(model, lambda: model.encode_image(images))
        words = count_inference(model, lambda: encode_text(model, tokens))
    weights = sum(parameter.numel() for parameter in model.parameters())
    return Encoding(pictures.forward / batch, words.forward / CAPTION_TOKENS, pictures.peak, weights)


def prompt_tokens(vocabulary: Vocabulary) -> int:
    """At most how many tokens go through the text tower for all prompts of a classifier.

    What a template has before the name is computed once, as all its prompts begin with it; the name and what follows,
    for each name. Templates and names that begin alike share more, which is not taken off.
    """
    names = {name for group in vocabulary.names for name in group}
    named = sum(map(_words, names))
    total = 0
    for template in vocabulary.templates:
        before, _, after = template.partition(PLACE)
        total += 1 + _words(before) + named + len(names) * (_words(after) + 1)
    return total


def count_prompts(vocabulary: Vocabulary) -> int:
    """The different prompts of a classifier."""
    return len({name for group in vocabulary.names for name in group}) * len(vocabulary.templates)


def _words(text: str) -> int:
    """Tokens of a text without start and end."""
    return len(tokenise(text)) - 2
