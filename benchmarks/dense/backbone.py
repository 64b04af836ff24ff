"""The image tower of a checkpoint as an MMEngine backbone for dense prediction.

Segmentation and detection take the same tower in the same way (docs/methodology.md): the patch tokens of four blocks,
optionally normalised, at stride 16, and optionally turned into a pyramid of strides 4, 8, 16 and 32.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from benchmarks.checkpoints import VitArchitecture


def tap_blocks(depth: int) -> tuple[int, int, int, int]:
    """The 0-based blocks whose output is tapped, for a tower of ``depth`` blocks.

    They lie after 4, 6, 8 and 12 twelfths of the depth: 3, 5, 7, 11 of 12 blocks (as iBOT's dense protocols), and
    0, 0, 1, 1 of 2.
    """
    first, second, third, last = (math.ceil(depth * k / 12) - 1 for k in (4, 6, 8, 12))
    return first, second, third, last


def resize_positions(positions: Tensor, grid: tuple[int, int], size: tuple[int, int], *, offset: float) -> Tensor:
    """Interpolate a position table to another grid: bicubic, corners not aligned, no antialiasing.

    Args:
        positions: (1, 1 + h·w, D), the class token's position first.
        grid: (h, w) of the table.
        size: (H, W) wanted.
        offset: 0 maps the table onto the wanted size exactly. iBOT asks for scale factors of (H + 0.1)/h and
            (W + 0.1)/w instead, which moves the sampling points slightly.

    Returns:
        (1, 1 + H·W, D).
    """
    if grid == size:
        return positions
    table = positions[:, 1:].reshape(1, *grid, -1).permute(0, 3, 1, 2)
    if offset:
        factors = tuple((wanted + offset) / had for wanted, had in zip(size, grid, strict=True))
        table = functional.interpolate(table, scale_factor=factors, mode="bicubic", align_corners=False)
    else:
        table = functional.interpolate(table, size=size, mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], table.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def read_backbone(path: Path) -> tuple[VitArchitecture, dict[str, Tensor]]:
    """Architecture and weights (timm keys) of a file written by ``benchmarks.checkpoints.save_backbone``."""
    with safe_open(path, framework="pt") as file:
        architecture = VitArchitecture.from_dict(json.loads(file.metadata()["architecture"]))
        return architecture, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@MODELS.register_module()
class DenseViT(BaseModule):  # type: ignore[misc, unused-ignore]
    """A timm ViT that returns four feature maps.

    The weights are read when the module is built, and ``init_weights`` leaves them alone: MMEngine's own would call
    timm's initialisation and silently replace a pretrained tower by a random one.

    Args:
        weights: a safetensors file written by ``benchmarks.checkpoints.save_backbone``.
        image_size: (height, width) in pixels at which the position table is stored and trained; other sizes are
            interpolated from it at run time.
        norm_on_taps: apply the tower's final LayerNorm to each of the four taps.
        pyramid: resample the taps to strides 4, 8, 16, 32 (transposed convolutions and max pooling), with this
            MMEngine config of a norm layer in the stride-4 branch; None leaves all four at stride 16.
        drop_path_rate: stochastic depth of the last block, rising linearly from 0 at the first.
        position_offset: see ``resize_positions``.
        checkpoint_blocks: recompute each block in the backward pass instead of storing its activations.
        frozen: no gradients for the tower, and evaluation mode always; the pyramid is trained all the same.
    """

    def __init__(
        self,
        weights: str,
        image_size: tuple[int, int],
        norm_on_taps: bool,
        pyramid: dict[str, Any] | None,
        drop_path_rate: float = 0.0,
        position_offset: float = 0.1,
        checkpoint_blocks: bool = False,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.weights = Path(weights)
        self.architecture, tensors = read_backbone(self.weights)
        self.grid = (image_size[0] // self.patch, image_size[1] // self.patch)
        self.norm_on_taps = norm_on_taps
        self.position_offset = position_offset
        self.checkpoint_blocks = checkpoint_blocks
        self.frozen = frozen
        self.taps = tap_blocks(self.architecture.depth)
        self.trunk = self.architecture.build(drop_path_rate=drop_path_rate)
        self.trunk.pos_embed = nn.Parameter(torch.empty(1, 1 + self.grid[0] * self.grid[1], self.channels))
        if not norm_on_taps:
            self.trunk.norm = nn.Identity()  # an unused parameter would stop distributed training
        self.trunk.load_state_dict(self._as_loaded(tensors))
        if frozen:
            self.trunk.requires_grad_(False)
        self.pyramid = None if pyramid is None else build_pyramid(self.channels, pyramid)

    @property
    def channels(self) -> int:
        """Channels of each of the four maps: the width D of the tower."""
        return self.architecture.width

    @property
    def patch(self) -> int:
        """Side of a patch in pixels, the stride of the tower."""
        return self.architecture.patch_size

    def _as_loaded(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The file's tensors as this module holds them: positions on ``self.grid``, no final norm if unused."""
        side = self.architecture.image_size // self.patch
        positions = resize_positions(tensors["pos_embed"], (side, side), self.grid, offset=0.0)
        kept = {name: tensor for name, tensor in tensors.items() if self.norm_on_taps or name[:5] != "norm."}
        return {**kept, "pos_embed": positions}

    def init_weights(self) -> None:
        """Nothing: the weights were read when the module was built."""

    def assert_equals_file(self) -> None:
        """Raise ``AssertionError`` unless every weight of the tower equals the file's, bit for bit."""
        _, tensors = read_backbone(self.weights)
        held = self.trunk.state_dict()
        differing = [name for name, tensor in self._as_loaded(tensors).items() if not held[name].cpu().equal(tensor)]
        if differing:
            raise AssertionError(f"the backbone no longer has the weights of {self.weights}: {differing[:3]} differ")

    def train(self, mode: bool = True) -> "DenseViT":
        """Switch to training mode; a frozen tower stays in evaluation mode, its pyramid learns."""
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Four maps of (B, D, H/s, W/s) from (B, 3, H, W) normalised pixels.

        Sides that are no multiple of the patch lose the remainder at the right and bottom edge.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self._tap(images)
        return tuple(self.pyramid(maps)) if self.pyramid is not None else maps

    def _tap(self, images: Tensor) -> tuple[Tensor, ...]:
        """The tapped blocks' patch tokens as (B, D, h, w) maps of stride ``patch``."""
        grid = (images.shape[2] // self.patch, images.shape[3] // self.patch)
        tokens = self._embed(images, grid)
        maps: dict[int, Tensor] = {}
        for number, block in enumerate(self.trunk.blocks):
            if self.checkpoint_blocks and self.training:
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
            if number in self.taps:
                patches = self.trunk.norm(tokens)[:, 1:]
                maps[number] = patches.transpose(1, 2).unflatten(2, grid).contiguous()
        return tuple(maps[number] for number in self.taps)

    def _embed(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (B, 1 + h·w, D) that enter the first block."""
        patches = self.trunk.patch_embed.proj(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.trunk.cls_token.expand(len(images), -1, -1), patches], dim=1)
        positions = resize_positions(self.trunk.pos_embed, self.grid, grid, offset=self.position_offset)
        embedded: Tensor = self.trunk.norm_pre(tokens + positions)
        return embedded


def build_pyramid(channels: int, norm: dict[str, Any]) -> nn.Module:
    """Four maps of stride 16 to strides 4, 8, 16, 32, ``channels`` throughout (mmseg's ``Feature2Pyramid``)."""
    from mmseg.models.necks import Feature2Pyramid

    pyramid: nn.Module = Feature2Pyramid(embed_dim=channels, rescales=[4, 2, 1, 0.5], norm_cfg=norm)
    return pyramid
