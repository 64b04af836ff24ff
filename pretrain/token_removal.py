"""Which patches the student sees: the teacher's attention decides what is removed."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from benchmarks.errors import OptionError

Granularity = Literal["block2x2", "patch"]

_UNITS_SIDE: dict[Granularity, int] = {"block2x2": 2, "patch": 1}
"""Patches along one side of what is kept or removed as a whole."""


class RemovalFields(BaseModel):
    """How patches are chosen.

    The released code has ``granularity="block2x2", keep_ratio=0.5, keep_plus_one=True``; the paper's eq. 9 is
    ``granularity="patch", keep_ratio=0.5, keep_plus_one=False``. The released option ``--mask-ratio`` means the share
    *kept*, and so does ``keep_ratio``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    granularity: Granularity
    """Rank single patches, or cells of 2x2 patches by their mean attention."""
    keep_ratio: Annotated[float, Field(gt=0, lt=1)]
    """Share of the patches (or cells) that is kept, rounded down."""
    keep_plus_one: bool
    """Keep one patch (or cell) more than ``keep_ratio`` says, as the released code does."""


@dataclass(frozen=True)
class Removal:
    """Which of N patches (raster order) the student keeps; the number is the same for all B images.

    Attributes:
        mask: bool (B, N), True = removed.
        keep: int64 (B, K), the kept patches, ascending.
        removed: int64 (B, N - K), the removed patches, ascending.
    """

    mask: Tensor
    keep: Tensor
    removed: Tensor


def removed_count(grid: int, fields: RemovalFields) -> int:
    """How many of the grid x grid patches of an image are removed.

    In the released form 96 of 14 x 14, in the paper's 98.

    Raises:
        OptionError: the grid does not divide into cells, or everything or nothing would be removed.
    """
    side = _UNITS_SIDE[fields.granularity]
    if grid % side:
        raise OptionError(
            f'granularity="{fields.granularity}" needs an even number of patches along a side, not {grid}: '
            'use granularity="patch" or another image or patch size'
        )
    units = (grid // side) ** 2
    kept = _kept_units(units, fields)
    if not 0 < kept < units:
        raise OptionError(
            f"keep_ratio={fields.keep_ratio} with keep_plus_one={fields.keep_plus_one} keeps {kept} of {units} "
            f"({fields.granularity} on {grid} x {grid} patches): choose a ratio that keeps some and removes some, "
            "or a finer granularity"
        )
    return (units - kept) * side**2


def _kept_units(units: int, fields: RemovalFields) -> int:
    return math.floor(units * fields.keep_ratio) + fields.keep_plus_one


def remove_tokens(attention: Tensor, fields: RemovalFields) -> Removal:
    """Remove the patches that the teacher's CLS token attends to least (section 3.2.3, eq. 9, or the released form).

    Ranking is done in float32 and is deterministic: of equal values the lower index is kept first. Nothing waits for
    the device, so the host can run ahead.

    Args:
        attention: (B, N) any floating dtype, higher = kept first; N a square, patches in raster order.
        fields: how to choose.

    Raises:
        OptionError: see `removed_count`.
    """
    grid = _grid(attention)
    kept = grid * grid - removed_count(grid, fields)
    side = _UNITS_SIDE[fields.granularity]
    units = grid // side
    # Means of two at a time: the same bits as the released bilinear resize to half the size.
    cells = attention.detach().float().view(-1, units, side, units, side).mean(4).mean(2).flatten(1)
    best = cells.argsort(dim=1, descending=True, stable=True)[:, : kept // side**2]
    mask = torch.ones_like(cells, dtype=torch.bool).scatter_(1, best, False)
    mask = mask.view(-1, units, 1, units, 1).expand(-1, -1, side, -1, side).reshape(-1, grid * grid)
    # A stable sort of "is removed" lists the kept patches, then the removed ones, each in raster order.
    order = mask.to(torch.uint8).argsort(dim=1, stable=True)
    return Removal(mask, order[:, :kept], order[:, kept:])


def attention_in_views(attention: Tensor, boxes: Tensor) -> Tensor:
    """Attention of the enclosing crop as each view sees it: bilinear at the centres of the view's patches.

    Between patch centres values are interpolated; outside of the outermost centres the border's value holds.

    Args:
        attention: (B, N) on the enclosing crop, N a square, raster order.
        boxes: (B, V, 4) each view's crop inside the enclosing crop: left, top, right, bottom in [0, 1];
            left > right for a view that is flipped horizontally.

    Returns:
        float32 (B, V, N). The box (0, 0, 1, 1) returns the attention itself.
    """
    grid = _grid(attention)
    batch, views = boxes.shape[:2]
    # float64, for the coordinates are scaled to [-1, 1] and back, which in float32 would miss the centres by a little.
    left, top, right, bottom = boxes.double().flatten(0, 1)[:, :, None].unbind(1)
    centres = (torch.arange(grid, device=boxes.device, dtype=torch.float64) + 0.5) / grid
    x, y = left + (right - left) * centres, top + (bottom - top) * centres
    points = torch.stack([x[:, None, :].expand(-1, grid, -1), y[:, :, None].expand(-1, -1, grid)], dim=-1) * 2 - 1
    maps = attention.detach().double().view(batch, 1, grid, grid).repeat_interleave(views, dim=0)
    seen = F.grid_sample(maps, points, mode="bilinear", padding_mode="border", align_corners=False)
    return seen.float().view(batch, views, grid * grid)


def _grid(attention: Tensor) -> int:
    """Patches along a side, from (B, N)."""
    patches = attention.shape[1]
    grid = math.isqrt(patches)
    if grid * grid != patches:
        raise ValueError(f"attention over {patches} patches does not form a square")
    return grid
