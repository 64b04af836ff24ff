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
        tokens = checkpoint(block, tokens, use_reentrant=False) if checkpoint_blocks else block(tokens)
    return cast(Tensor, trunk.norm(tokens))


def teacher_tokens(trunk: Any, patches: Tensor, last_layer_attention: bool = False) -> tuple[Tensor, Tensor]:
    """All tokens after the last norm, and the attention of the class token to every patch (eq. 9).

    Only the class token's row of each attention matrix is formed; the fused attention does the rest.

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
            scores = (query[:, :, :1] * attention.scale) @ key.transpose(2, 3)
            rows.append(scores.float().softmax(dim=3)[:, :, 0, 1:].mean(dim=1))
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + attention.proj(mixed)
        tokens = tokens + block.mlp(block.norm2(tokens))
    return trunk.norm(tokens), torch.stack(rows).mean(dim=0)


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
    hidden = (transformer or online.transformer)(hidden, attn_mask=online.attn_mask[:length, :length])
    last = hidden[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=1)]
    return cast(Tensor, online.ln_final(last) @ (online.text_projection if projection is None else projection))
