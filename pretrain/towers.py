"""The encoders as training runs them: an image tower that can drop tokens and tell its attention, a text tower.

Both are the modules that evaluation uses (a timm ViT inside an open_clip model); only the way through them differs.
The way through the text tower is ``benchmarks.zeroshot.text_tower``, whose names are those of this module too.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmarks.checkpoints.architecture import TextArchitecture, VitArchitecture
from benchmarks.checkpoints.dual_encoder import assemble_dual_encoder
from benchmarks.zeroshot.text_tower import attend as attend
from benchmarks.zeroshot.text_tower import encode_text as encode_text
from benchmarks.zeroshot.text_tower import split_heads as split_heads
from benchmarks.zeroshot.text_tower import trim_padding as trim_padding


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
