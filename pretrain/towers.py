"""The encoders as training runs them: an image tower that can drop tokens and tell its attention, a text tower.

Both are the modules that evaluation uses (a timm ViT inside an open_clip model); only the way through them differs.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmarks.checkpoints.architecture import TextArchitecture, VitArchitecture
from benchmarks.checkpoints.dual_encoder import assemble_dual_encoder


def new_dual_encoder(image: VitArchitecture, text: TextArchitecture, joint: int) -> Any:
    """An ``open_clip.CLIP`` around a timm ViT, initialised as the released code does it.

    Linear layers of the image tower, class token and positions: normal with deviation 0.02; the image projection
    width^-0.5; the patch projection keeps PyTorch's own initialisation. The text tower has CLIP's.
    """
    model = assemble_dual_encoder(image, text, joint)
    trunk = model.visual.trunk
    nn.init.normal_(trunk.cls_token, std=0.02)
    nn.init.normal_(trunk.pos_embed, std=0.02)
    nn.init.normal_(model.visual.head.proj.weight, std=image.width**-0.5)
    return model


def patch_vectors(images: Tensor, patch: int) -> Tensor:
    """Images (B, 3, H, W) as patches in raster order (B, N, patch * patch * 3), each as (row, column, channel)."""
    batch, channels, height, width = images.shape
    grid = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """The tokens (B, K, D) of ``tokens`` (B, N, D) that ``index`` (B, K) names."""
    return tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[2]))


def embed_patches(trunk: Any, patches: Tensor, index: Tensor | None = None) -> Tensor:
    """The tokens that enter the blocks: class token first, then patches with their positions.

    Args:
        trunk: timm ``VisionTransformer``.
        patches: (B, N, P) of :func:`patch_vectors`.
        index: (B, K) the patches to take; None takes all in order.

    Returns:
        (B, K + 1, D) float32 under autocast too: the residual stream.
    """
    projection = trunk.patch_embed.proj
    weight = projection.weight.permute(0, 2, 3, 1).flatten(1)
    positions = trunk.pos_embed[0, 1:]
    if index is not None:
        patches = gather_tokens(patches, index)
        positions = F.embedding(index, positions)
    tokens = F.linear(patches, weight, projection.bias) + positions
    first = (trunk.cls_token + trunk.pos_embed[:, :1]).expand(len(tokens), -1, -1)
    return torch.cat([first, tokens], dim=1)


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
        mask: (N, M) added to the scores.
    """
    if query.device.type == "cpu" and torch.is_grad_enabled():
        scores = (query * query.shape[3] ** -0.5) @ key.transpose(2, 3)
        mixed: Tensor = (scores if mask is None else scores + mask).softmax(dim=3) @ value
    else:
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return mixed.transpose(1, 2).flatten(2)


def run_block(block: Any, tokens: Tensor) -> Tensor:
    """A block of timm's ViT without layer scale and drop path: tokens (B, N, D) to the same."""
    attention = block.attn
    projected = after(block.norm1, attention.qkv, tokens)
    query, key, value = (split_heads(part, attention.num_heads) for part in projected.chunk(3, dim=2))
    tokens = tokens + attention.proj(attend(query, key, value))
    return tokens + run_mlp(block, tokens)


def run_mlp(block: Any, tokens: Tensor) -> Tensor:
    """The second half of such a block, without the residual."""
    return after(block.mlp.act, block.mlp.fc2, after(block.norm2, block.mlp.fc1, tokens))


def after(cheap: Any, linear: Any, inputs: Tensor) -> Tensor:
    """``linear(cheap(inputs))``; what lies between them is computed again in the backward pass and not kept.

    Norms and activations cost next to nothing, and their results are most of what a block would keep. The second
    time, the product itself is not done: the recomputation stops as soon as its input is there. Under autocast the
    weights are cast here, once, and not again in the recomputation.
    """
    weights = _autocast(linear.weight), _autocast(linear.bias)
    return checkpoint(_compose, cheap, inputs, *weights, use_reentrant=False, preserve_rng_state=False)


def _compose(cheap: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(cheap(inputs), weight, bias)


def _autocast(weight: Tensor) -> Tensor:
    """A weight in the dtype that products have here."""
    kind = weight.device.type
    return weight.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else weight


def image_tokens(trunk: Any, patches: Tensor, checkpoint_blocks: bool = False, keep: Tensor | None = None) -> Tensor:
    """Class token and patches after the last norm; with ``keep``, nothing is computed for the other patches.

    Args:
        trunk: timm ``VisionTransformer``.
        patches: (B, N, P) of :func:`patch_vectors`.
        checkpoint_blocks: compute each block again in the backward pass instead of keeping its activations.
        keep: (B, K) kept patches; None keeps all.

    Returns:
        (B, K + 1, D).
    """
    tokens = embed_patches(trunk, patches, keep)
    for block in trunk.blocks:
        tokens = (
            checkpoint(run_block, block, tokens, use_reentrant=False) if checkpoint_blocks else run_block(block, tokens)
        )
    return cast(Tensor, trunk.norm(tokens))


def teacher_tokens(trunk: Any, patches: Tensor, last_layer_attention: bool = False) -> tuple[Tensor, Tensor]:
    """All tokens after the last norm, and the attention of the class token to every patch (eq. 9).

    Only the class token's row of each attention matrix is formed; the fused attention does the rest. Needs no gradients
    (call it under ``torch.no_grad``): the residual stream is updated in place.

    Args:
        trunk: timm ``VisionTransformer``.
        patches: (B, N, P) of :func:`patch_vectors`.
        last_layer_attention: take the last block's attention instead of the mean over all blocks.

    Returns:
        Tokens (B, N + 1, D), and float32 attention (B, N), the mean over heads (and blocks) of the softmax over
        all N + 1 keys; it sums to slightly under 1, for the class token attends to itself too.
    """
    tokens = embed_patches(trunk, patches)
    rows = []
    for index, block in enumerate(trunk.blocks):
        attention = block.attn
        query, key, value = (
            split_heads(part, attention.num_heads) for part in attention.qkv(block.norm1(tokens)).chunk(3, dim=2)
        )
        if not last_layer_attention or index == len(trunk.blocks) - 1:
            rows.append(_class_row(query, key))
        tokens += attention.proj(attend(query, key, value))
        tokens += block.mlp(block.norm2(tokens))
    return trunk.norm(tokens), torch.stack(rows).mean(dim=0)


def _class_row(query: Tensor, key: Tensor) -> Tensor:
    """The attention of the class token to every patch, (B, N), the mean over heads; from (B, heads, N + 1, d) twice.

    All heads' products in one: the class token's query, each head's channels in a column of their own, is multiplied
    with the keys as they lie in memory.
    """
    batch, heads, _, channels = query.shape
    first = query[:, :, 0] * channels**-0.5
    columns = torch.diag_embed(first.transpose(1, 2)).transpose(1, 2)  # (B, heads, d, heads)
    scores = key.transpose(1, 2).reshape(batch, -1, heads * channels) @ columns.reshape(batch, -1, heads)
    return scores.float().softmax(dim=1)[:, 1:].mean(dim=2)


def trim_padding(tokens: Tensor) -> Tensor:
    """Token ids (B, T) cut behind the last id of the batch that is not padding.

    Padding is 0 and comes last (0 inside a text is a token of its own, ``!``); under the causal mask no earlier
    position sees it, so the result is exact.
    """
    positions = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    longest = int(((tokens != 0) * positions).max())
    return tokens[:, : max(longest, 1)]


def _run_text_block(block: Any, hidden: Tensor, mask: Tensor) -> Tensor:
    """A block of open_clip's text transformer: (B, T, D) to the same."""
    attention = block.attn
    projected = F.linear(block.ln_1(hidden), attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = (split_heads(part, attention.num_heads) for part in projected.chunk(3, dim=2))
    hidden = hidden + attention.out_proj(attend(query, key, value, mask.to(query.dtype)))
    return hidden + cast(Tensor, block.mlp(block.ln_2(hidden)))


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
    for block in (transformer or online.transformer).resblocks:
        hidden = _run_text_block(block, hidden, online.attn_mask[:length, :length])
    last = hidden[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=1)]
    return cast(Tensor, online.ln_final(last) @ (online.text_projection if projection is None else projection))
