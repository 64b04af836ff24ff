"""The projection head of both distillation losses (DINO's and iBOT's form) and the pixel decoder (MAE's form)."""

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pretrain.towers import after, attend, gather_tokens, run_mlp, split_heads


class ProjectionHead(nn.Module):
    """Three linear layers, a unit vector, and its cosines with ``prototypes`` unit vectors.

    One last layer serves class and patch tokens. Its gains are fixed at 1, so that the outputs lie in [-1, 1]. The
    losses need the cosines of few tokens and the mean over all: they take :meth:`bottleneck` and :meth:`directions`
    and multiply what they need.

    Args:
        width: of the tokens.
        hidden: of the two hidden layers.
        bottleneck: of the unit vector.
        prototypes: number of outputs.
    """

    def __init__(self, width: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.last_layer = nn.Linear(bottleneck, prototypes, bias=False)

    def bottleneck(self, tokens: Tensor) -> Tensor:
        """Tokens (..., width) to unit vectors (..., bottleneck)."""
        first, activation, second, _, third = self.mlp
        hidden = after(activation, third, after(activation, second, first(tokens)))
        return F.normalize(hidden.float(), dim=-1)

    def directions(self) -> Tensor:
        """The unit vectors of the last layer, (prototypes, bottleneck)."""
        return F.normalize(self.last_layer.weight, dim=1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (..., width) to their cosines (..., prototypes)."""
        return F.linear(self.bottleneck(tokens), self.directions())


def sincos_positions(width: int, grid: int) -> Tensor:
    """The decoder's fixed positions (1, 1 + grid * grid, width): a zero row for the class token, then raster order.

    The first half of the channels encodes the column, the second the row; in each half sines come before cosines,
    with frequencies 10000^(-k / (width / 4)).
    """
    quarter = width // 4
    frequencies = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    waves = torch.arange(grid, dtype=torch.float64)[:, None] * frequencies
    line = torch.cat([waves.sin(), waves.cos()], dim=1)  # (grid, width / 2)
    columns = line.repeat(grid, 1)
    rows = line.repeat_interleave(grid, dim=0)
    table = torch.cat([torch.zeros(1, width, dtype=torch.float64), torch.cat([columns, rows], dim=1)])
    return table.float()[None]


class PixelDecoder(nn.Module):
    """One transformer block that predicts the removed patches from the kept ones.

    Only removed patches are asked for: they alone are the block's queries and go through its MLP. What enters the
    block in their place is the same in every picture (mask token plus position), so its queries, keys and values are
    computed once for the whole batch. :meth:`all_tokens` does the same work for every token, for pictures and tests.

    Args:
        width: of the tokens; a multiple of 4.
        heads: of the block; divides ``width``.
        grid: patches along a side.
        pixels: values of a patch.
        mlp_ratio: hidden width of the block's MLP over ``width``.
    """

    def __init__(self, width: int, heads: int, grid: int, pixels: int, mlp_ratio: float) -> None:
        super().__init__()
        self.embed = nn.Linear(width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions: Tensor
        self.register_buffer("positions", sincos_positions(width, grid), persistent=False)
        self.block: Any = Block(width, heads, mlp_ratio, qkv_bias=True, norm_layer=LayerNorm)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.predict = nn.Linear(width, pixels)
        self._initialise()

    def _initialise(self) -> None:
        """MAE's: Xavier weights and zero biases in the block, PyTorch's own biases of ``embed``."""
        nn.init.normal_(self.mask_token, std=0.02)
        nn.init.xavier_uniform_(self.embed.weight)
        for layer in self.block.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, latent: Tensor, keep: Tensor, removed: Tensor) -> Tensor:
        """The removed patches after the last norm; :attr:`predict` turns them into pixels.

        Args:
            latent: (B, K + 1, D) the student's class token and kept patches.
            keep: (B, K) positions of the kept patches.
            removed: (B, R) positions of the removed ones.

        Returns:
            (B, R, D).
        """
        attention, width = self.block.attn, latent.shape[2]
        masks = self._masks()  # (N, D), of every picture
        shared = attention.qkv(self.block.norm1(masks))
        own = F.embedding(removed, shared)
        kept = self.block.norm1(self._kept(latent, keep))
        seen = F.linear(kept, attention.qkv.weight[width:], attention.qkv.bias[width:])
        queries = split_heads(own[:, :, :width], attention.num_heads)
        keys, values = (
            split_heads(part, attention.num_heads) for part in torch.cat([seen, own[:, :, width:]], dim=1).chunk(2, 2)
        )
        tokens = F.embedding(removed, masks) + attention.proj(attend(queries, keys, values))
        return cast(Tensor, self.norm(tokens + run_mlp(self.block, tokens)))

    def all_tokens(self, latent: Tensor, keep: Tensor, removed: Tensor) -> Tensor:
        """Class token and every patch after the last norm, in raster order (B, N + 1, D)."""
        masks = F.embedding(removed, self._masks())
        tokens = torch.cat([self._kept(latent, keep), masks], dim=1)
        order = torch.cat([keep.new_zeros(len(keep), 1), keep + 1, removed + 1], dim=1).argsort(dim=1)
        return cast(Tensor, self.norm(self.block(gather_tokens(tokens, order))))

    def _masks(self) -> Tensor:
        """What stands for a removed patch at each position, (N, D)."""
        return (self.mask_token + self.positions[:, 1:])[0]

    def _kept(self, latent: Tensor, keep: Tensor) -> Tensor:
        """What enters the block for the class token and the kept patches, (B, K + 1, D)."""
        positions = F.embedding(keep, self.positions[0, 1:])
        embedded: Tensor = self.embed(latent)
        return embedded + F.pad(positions, (0, 0, 1, 0))

    def multiply_adds(self, kept: int, removed: int) -> float:
        """Of one forward pass of one picture, without what the batch shares."""
        width: int = self.embed.in_features
        hidden: int = self.block.mlp.fc1.out_features
        linear = (kept + 1) * 3 * width**2 + removed * (width**2 + 2 * width * hidden)
        attention = 2 * width * removed * (kept + 1 + removed)
        return linear + attention + removed * width * self.predict.out_features


def head_multiply_adds(head: ProjectionHead, tokens: int, last: int) -> float:
    """Of one forward pass: the hidden layers over ``tokens`` tokens, the last layer over ``last`` of them."""
    layers = [layer for layer in head.mlp if isinstance(layer, nn.Linear)]
    return tokens * sum(math.prod(layer.weight.shape) for layer in layers) + last * head.last_layer.weight.numel()
