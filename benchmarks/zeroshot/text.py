"""Texts to embeddings, and a class's prompts to its weight vector.

Texts are encoded much faster than one padded batch after another: equal texts once, equal beginnings once (the
prompts of a template share everything before the name), nothing behind a text's end. The embeddings are the same up
to rounding (1e-5).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.data.vocabulary import Vocabulary
from benchmarks.errors import CheckpointError
from benchmarks.zeroshot.text_tower import TokenTree, encode_tree

Progress = Callable[[int, int], None]
"""Called with (distinct texts done, distinct texts in all)."""

Tokens = tuple[int, ...]

_BATCH_TOKENS = {"cpu": 1024, "cuda": 16_384}
"""Nodes of a batch: on the CPU, what stays in its caches; on a GPU, what keeps it busy."""

_LENGTH_STEP = 16
"""Texts are batched with others of about their length (in steps of so many tokens): attention is padded."""


def encode_texts(
    model: Any,
    texts: Sequence[str],
    device: torch.device | str,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Embeddings (T, D) of texts, float32 on the CPU, not normalised.

    Equal to ``model.encode_text(tokenizer(texts))`` with CLIP's tokenizer: lower case, texts of more tokens than the
    context are cut and keep their end token (:func:`overlong` tells which). An empty text is one without words.

    Args:
        model: ``open_clip.CLIP`` on ``device``, read out at the end token.
        texts: T texts, any of them as often as you like.
        device: ``cpu`` or ``cuda``.
        batch_tokens: upper bound of the tokens that are worked on at once, where a text is not longer; None: 1,024 on
            the CPU, 16,384 on a GPU.
        progress: called after each batch.

    Raises:
        CheckpointError: the model's vocabulary is smaller than that of CLIP's tokenizer.
    """
    _require_vocabulary(model)
    device = torch.device(device)
    rows = [tokenise(text, model.context_length) for text in texts]
    distinct = sorted(set(rows), key=lambda row: (len(row) // _LENGTH_STEP, row))
    found = [torch.empty(0, model.text_projection.shape[1])]
    done = 0
    for batch in _batches(distinct, batch_tokens or _BATCH_TOKENS[device.type]):
        with torch.inference_mode():
            found.append(encode_tree(model, TokenTree.of(batch).to(device)).float().cpu())
        done += len(batch)
        if progress is not None:
            progress(done, len(distinct))
    index = {row: number for number, row in enumerate(distinct)}
    return torch.cat(found)[[index[row] for row in rows]]


def tokenise(text: str, context: int = 77) -> Tokens:
    """The ids of CLIP's tokenizer from the start token to the end token, at most ``context`` of them.

    A text that spells out the end token ends there, as the tower's read-out at the first of the largest ids has it.
    """
    ids, end = _token_ids(text), _tokenizer().eot_token_id
    if len(ids) > context:
        ids = (*ids[: context - 1], end)
    return ids[: ids.index(end) + 1]


def overlong(texts: Sequence[str], context: int = 77) -> list[int]:
    """The indices of the texts that are cut because they have more than ``context`` tokens (with start and end)."""
    return [index for index, text in enumerate(texts) if len(_token_ids(text)) > context]


def all_prompts(vocabulary: Vocabulary) -> tuple[list[str], Tensor]:
    """Every prompt of every class (T texts, class after class), and the class (T,) of each, int64."""
    prompts = [vocabulary.prompts(label) for label in range(len(vocabulary.keys))]
    sizes = torch.tensor([len(group) for group in prompts])
    return [text for group in prompts for text in group], torch.arange(len(prompts)).repeat_interleave(sizes)


def class_weights(embeddings: Tensor, owners: Tensor) -> Tensor:
    """The classifier (C, D): each prompt's unit vector, their mean over a class, made a unit vector again.

    The rule of SLIP's ``eval_zeroshot.py``, and of CLIP before it.

    Args:
        embeddings: (T, D) of the prompts, of any length.
        owners: (T,) the class of each, 0 to C - 1, each of them at least once (:func:`all_prompts`).
    """
    counts = owners.bincount()
    sums = embeddings.new_zeros(len(counts), embeddings.shape[1]).index_add_(0, owners, F.normalize(embeddings, dim=1))
    return F.normalize(sums / counts[:, None], dim=1)


@cache
def _tokenizer() -> Any:
    """CLIP's tokenizer, of which open_clip would read a new one each time."""
    from open_clip import get_tokenizer

    return get_tokenizer("ViT-B-16")


@lru_cache(maxsize=2**18)
def _token_ids(text: str) -> Tokens:
    """A text's ids, uncut; remembered, for a text of a tenth of a millisecond comes up again and again."""
    tokenizer = _tokenizer()
    return (tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id)


def _require_vocabulary(model: Any) -> None:
    """Raise if there are tokens that the model does not know."""
    known, needed = model.token_embedding.num_embeddings, _tokenizer().vocab_size
    if known < needed:
        raise CheckpointError(
            f"the text side knows {known:,} tokens, but CLIP's tokenizer has {needed:,}: texts can only be encoded "
            "with a checkpoint of CLIP's vocabulary"
        )


def _batches(rows: Sequence[Tokens], limit: int) -> Iterator[list[Tokens]]:
    """Sorted rows in batches, each a tree of at most ``limit`` nodes or a single row."""
    batch: list[Tokens] = []
    nodes = 0
    for row in rows:
        more = len(row) - _shared(batch[-1], row) if batch else len(row)
        if batch and nodes + more > limit:
            yield batch
            batch, nodes, more = [], 0, len(row)
        batch.append(row)
        nodes += more
    if batch:
        yield batch


def _shared(first: Tokens, second: Tokens) -> int:
    """How many tokens two rows have in common from the start."""
    length = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        length += 1
    return length
