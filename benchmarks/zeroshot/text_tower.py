"""The way through CLIP's text tower: whole batches as training needs them, and trees of texts that share beginnings.

The tower is open_clip's (``open_clip.CLIP`` with its embeddings, blocks, last norm and projection). It is causal: what
a token becomes depends on it and the tokens before it alone. What lies behind a text's last token can therefore be
cut off, and a beginning that several texts share needs to be computed only once; both are exact.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

Mix = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values (..., D) of the tokens that came in, to the attention's (..., D) of those that go on."""


def split_heads(vectors: Tensor, heads: int) -> Tensor:
    """(B, N, D) to (B, heads, N, D / heads)."""
    return cast(Tensor, vectors.unflatten(2, (heads, -1))).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention: (B, heads, N, d), (B, heads, M, d) twice, to (B, N, heads * d).

    torch's fused attention, but for training on the CPU: there its backward pass is three to five times slower (in
    bfloat16) than that of the few products it is made of, and the tens of kept tokens make small matrices.

    Args:
        query: of the N tokens that ask.
        key: of the M tokens that are seen.
        value: of the same.
        mask: (N, M) added to the scores, or one for each of the batch, (B, 1, N, M).
    """
    if query.device.type == "cpu" and torch.is_grad_enabled():
        scores = (query * query.shape[3] ** -0.5) @ key.transpose(2, 3)
        mixed: Tensor = (scores if mask is None else scores + mask).softmax(dim=3) @ value
    else:
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return mixed.transpose(1, 2).flatten(2)


def _run_block(block: Any, hidden: Tensor, mix: Mix, going_on: Tensor | None = None) -> Tensor:
    """A block of open_clip's text transformer: (..., D) to the same.

    With ``going_on``, indices of the tokens that are needed further, ``mix`` gives those alone, and so does this.
    """
    attention = block.attn
    projected = F.linear(block.ln_1(hidden), attention.in_proj_weight, attention.in_proj_bias)
    mixed = attention.out_proj(mix(*projected.chunk(3, dim=-1)))
    hidden = (hidden if going_on is None else hidden[going_on]) + mixed
    return hidden + cast(Tensor, block.mlp(block.ln_2(hidden)))


# ---- whole batches


def trim_padding(tokens: Tensor) -> Tensor:
    """Token ids (B, T) cut behind the last id of the batch that is not padding.

    Padding is 0 and comes last (0 inside a text is a token of its own, ``!``); under the causal mask no earlier
    position sees it, so the result is exact.
    """
    positions = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    longest = int(((tokens != 0) * positions).max())
    return tokens[:, : max(longest, 1)]


def encode_text(online: Any, tokens: Tensor, transformer: Any = None, projection: Tensor | None = None) -> Tensor:
    """Text embeddings, not normalised: the last norm and the projection at the position of the largest token id.

    Args:
        online: ``open_clip.CLIP``; its embeddings and its last norm are used whichever transformer runs.
        tokens: (B, T) ids, T up to the context length.
        transformer: another transformer than the online one (the average's).
        projection: (D, E) another projection, with it.

    Returns:
        (B, E).
    """
    length = tokens.shape[1]
    hidden = online.token_embedding(tokens) + online.positional_embedding[:length]
    mask = online.attn_mask[:length, :length]
    for block in (transformer or online.transformer).resblocks:
        hidden = _run_block(block, hidden, partial(_mix_rows, heads=block.attn.num_heads, mask=mask))
    last = hidden[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=1)]
    return cast(Tensor, online.ln_final(last) @ (online.text_projection if projection is None else projection))


def _mix_rows(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor) -> Tensor:
    """Attention within each row of (B, T, D)."""
    return attend(split_heads(query, heads), split_heads(key, heads), split_heads(value, heads), mask.to(query.dtype))


# ---- trees


@dataclass(frozen=True)
class TokenTree:
    """Texts as paths through a tree, a node of which is a token together with all tokens before it.

    Attributes:
        tokens: (M,) id of each node.
        positions: (M,) its place in the texts, from 0.
        paths: (B, L) the nodes of each text; behind a text's end, arbitrary ones.
        ends: (B,) the node of each text's last token.
        lengths: (B,) tokens of each text.
        places: (M,) where the nodes lie in the flattened ``paths``, each named once.
    """

    tokens: Tensor
    positions: Tensor
    paths: Tensor
    ends: Tensor
    lengths: Tensor
    places: Tensor

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]]) -> Self:
        """The tree of texts (one token or more each) in which those of one beginning stand together, as after sorting.

        Texts in another order become a tree as well, but a larger one.
        """
        lengths = torch.tensor([len(text) for text in texts])
        tokens = pad_sequence([torch.tensor(text) for text in texts], batch_first=True, padding_value=-1)
        new = tokens >= 0
        new[1:] &= (tokens[1:] != tokens[:-1]).cumsum(dim=1) > 0  # from where a text leaves the one before
        places = new.flatten().nonzero().squeeze(1)
        nodes = new.flatten().cumsum(dim=0).view_as(new) - 1
        paths = (nodes * new).cummax(dim=0).values  # what is not new is the node above
        ends = paths[torch.arange(len(texts)), lengths - 1]
        return cls(tokens.flatten()[places], places % tokens.shape[1], paths, ends, lengths, places)

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return type(self)(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def encode_tree(model: Any, tree: TokenTree) -> Tensor:
    """Text embeddings (B, E) of a tree's texts, not normalised: those of :func:`encode_text`, up to rounding.

    Everything but the attention is done once a node, without padding; the last block's second half, once a text.

    Args:
        model: ``open_clip.CLIP``; each text is read out at its last token.
        tree: on the model's device.
    """
    length = tree.paths.shape[1]
    hidden = model.token_embedding(tree.tokens) + model.positional_embedding[tree.positions]
    *blocks, last = model.transformer.resblocks
    mask = model.attn_mask[:length, :length]
    for block in blocks:
        heads = block.attn.num_heads
        mix = partial(_mix_paths, tree=tree, asking=tree.paths, heads=heads, mask=mask, taken=tree.places)
        hidden = _run_block(block, hidden, mix)
    mask = model.attn_mask[tree.lengths - 1, :length][:, None, None]
    mix = partial(_mix_paths, tree=tree, asking=tree.ends[:, None], heads=last.attn.num_heads, mask=mask)
    hidden = _run_block(last, hidden, mix, going_on=tree.ends)
    return cast(Tensor, model.ln_final(hidden) @ model.text_projection)


def _mix_paths(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    tree: TokenTree,
    asking: Tensor,
    heads: int,
    mask: Tensor,
    taken: Tensor | None = None,
) -> Tensor:
    """Attention along the paths of a tree, whose nodes have (M, D): from ``asking`` (B, N) to (B * N, D).

    ``taken`` picks of these; a beginning is asked for by all texts that share it, with the same answer.
    """
    mixed = attend(
        split_heads(query[asking], heads),
        split_heads(key[tree.paths], heads),
        split_heads(value[tree.paths], heads),
        mask.to(query.dtype),
    ).flatten(0, 1)
    return mixed if taken is None else mixed[taken]
