"""Token removal: the student must see exactly the patches that the rule names, whatever the attention looks like."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from benchmarks.errors import OptionError
from pretrain.token_removal import Removal, RemovalFields, attention_in_views, remove_tokens, removed_count
from tests.pretrain.sections import removal_fields

RELEASED = removal_fields()
PAPER = removal_fields(granularity="patch", keep_plus_one=False)


@st.composite
def cases(draw: st.DrawFn, tied: bool = False) -> tuple[Tensor, RemovalFields]:
    """Attention (B, N) and fields under which something is kept and something removed."""
    granularity = draw(st.sampled_from(["block2x2", "patch"]))
    grid = draw(st.sampled_from([4, 6, 14])) if granularity == "block2x2" else draw(st.integers(3, 9))
    fields = RemovalFields.model_validate(
        {
            "granularity": granularity,
            "keep_ratio": draw(st.sampled_from([0.25, 0.4, 0.5, 0.7])),
            "keep_plus_one": draw(st.booleans()),
        }
    )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    shape = (draw(st.integers(1, 3)), grid * grid)
    levels = draw(st.integers(1, 3)) if tied else 2**20
    return torch.randint(levels, shape, generator=generator) / 2**20, fields


def by_hand(attention: list[float], grid: int, fields: RemovalFields) -> list[int]:
    """The removed patches of one image, in plain loops."""
    side = 2 if fields.granularity == "block2x2" else 1
    cells: dict[tuple[int, int], list[int]] = {}
    for patch in range(grid * grid):
        cells.setdefault((patch // grid // side, patch % grid // side), []).append(patch)
    ranked = sorted(cells.values(), key=lambda cell: -sum(attention[patch] for patch in cell))
    kept = int(len(cells) * fields.keep_ratio) + (1 if fields.keep_plus_one else 0)
    return sorted(patch for cell in ranked[kept:] for patch in cell)


@pytest.mark.parametrize(("ratio", "removed"), [(0.25, 144), (0.5, 96), (0.75, 48), (0.9, 16)])
def test_the_released_counts(ratio: float, removed: int) -> None:
    fields = removal_fields(keep_ratio=ratio)
    assert removed_count(14, fields) == removed
    assert remove_tokens(torch.rand(2, 196), fields).removed.shape == (2, removed)


def test_the_papers_count() -> None:
    assert removed_count(14, PAPER) == 98


@settings(deadline=None, max_examples=40)
@given(case=st.one_of(cases(), cases(tied=True)))
def test_equals_plain_loops_with_and_without_ties(case: tuple[Tensor, RemovalFields]) -> None:
    attention, fields = case
    grid = math.isqrt(attention.shape[1])
    removal = remove_tokens(attention, fields)
    assert removal.removed.tolist() == [by_hand(row, grid, fields) for row in attention.tolist()]


@settings(deadline=None, max_examples=25)
@given(case=cases())
def test_kept_and_removed_are_a_permutation_that_restores_raster_order(case: tuple[Tensor, RemovalFields]) -> None:
    attention, fields = case
    removal = remove_tokens(attention, fields)
    patches = attention.shape[1]
    assert removal.removed.shape[1] == removed_count(math.isqrt(patches), fields)
    assert torch.equal(removal.mask.sum(1), torch.full((len(attention),), removal.removed.shape[1]))
    for indices in (removal.keep, removal.removed):
        assert indices.dtype == torch.int64
        assert (indices.diff(dim=1) > 0).all()
    order = torch.cat([removal.keep, removal.removed], dim=1)
    tokens = torch.rand(len(attention), patches)
    shuffled = tokens.gather(1, order)
    assert torch.equal(shuffled.gather(1, order.argsort(dim=1)), tokens)
    assert torch.equal(torch.empty_like(tokens).scatter(1, order, shuffled), tokens)
    assert removal.mask.gather(1, removal.removed).all() and not removal.mask.gather(1, removal.keep).any()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**16))
def test_single_patches_depend_on_the_ranking_only(seed: int) -> None:
    ranks = torch.stack([torch.randperm(49, generator=torch.Generator().manual_seed(seed + i)) for i in range(2)])
    expected = remove_tokens(ranks.float(), PAPER).mask
    for monotone in (ranks + 7.0, ranks * 0.25, (ranks / 49.0).exp(), ranks.double() ** 3):
        assert torch.equal(remove_tokens(monotone, PAPER).mask, expected)


@settings(deadline=None, max_examples=25)
@given(case=cases(), data=st.data())
def test_images_do_not_influence_each_other(case: tuple[Tensor, RemovalFields], data: st.DataObject) -> None:
    attention, fields = case
    image = data.draw(st.integers(0, len(attention) - 1))
    alone, together = remove_tokens(attention[image : image + 1], fields), remove_tokens(attention, fields)
    assert torch.equal(alone.keep[0], together.keep[image])


def test_cells_are_those_of_the_released_bilinear_resize() -> None:
    attention = torch.rand(64, 196, generator=torch.Generator().manual_seed(0)) / 196
    small = F.interpolate(attention.view(-1, 1, 14, 14), size=(7, 7), mode="bilinear", align_corners=False)
    kept_cells = small.flatten(1).argsort(dim=1, descending=True)[:, :25]
    mask = torch.ones(64, 49, dtype=torch.bool).scatter(1, kept_cells, False).view(-1, 1, 7, 7)
    expected = F.interpolate(mask.float(), size=(14, 14), mode="nearest").bool().flatten(1)
    assert torch.equal(remove_tokens(attention, RELEASED).mask, expected)


def test_of_equal_values_the_lower_index_is_kept() -> None:
    assert remove_tokens(torch.zeros(1, 196), PAPER).keep[0].tolist() == list(range(98))


def test_the_two_forms_choose_differently() -> None:
    attention = torch.zeros(1, 16)
    attention[0, [0, 2, 8, 10]] = torch.tensor([1.0, 0.9, 0.8, 0.7])  # one in each cell
    attention[0, 15] = 0.75  # makes the last cell the best, though its patches are not
    fields = removal_fields(keep_ratio=0.25, keep_plus_one=False)
    assert remove_tokens(attention, fields).keep[0].tolist() == [10, 11, 14, 15]
    single = fields.model_copy(update={"granularity": "patch"})
    assert remove_tokens(attention, single).keep[0].tolist() == [0, 2, 8, 15]


def test_low_precision_is_ranked_in_float32_and_gets_no_gradient() -> None:
    attention = (torch.arange(196).flip(0)[None] / 256).bfloat16().requires_grad_()
    removal: Removal = remove_tokens(attention, RELEASED)
    assert removal.mask.sum() == 96
    assert torch.equal(removal.mask, remove_tokens(attention.detach().float(), RELEASED).mask)


def test_odd_grids_in_blocks_are_refused_with_the_remedy() -> None:
    with pytest.raises(OptionError, match=r'not 7: use granularity="patch"'):
        remove_tokens(torch.rand(1, 49), RELEASED)
    assert remove_tokens(torch.rand(1, 49), PAPER).removed.shape == (1, 25)


@pytest.mark.parametrize(
    ("grid", "fields"),
    [
        (2, RELEASED),
        (2, removal_fields(keep_ratio=0.9, keep_plus_one=False)),
        (3, removal_fields(granularity="patch", keep_ratio=0.9)),
    ],
)
def test_everything_or_nothing_is_refused(grid: int, fields: RemovalFields) -> None:
    with pytest.raises(OptionError, match=r"keep_ratio=0\.\d with keep_plus_one=\w+ keeps \d of \d"):
        removed_count(grid, fields)


@pytest.mark.parametrize("fields", [{"keep_ratio": 0.0}, {"keep_ratio": 1.0}, {"granularity": "block"}, {"ratio": 0.5}])
def test_fields_outside_of_their_range_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        removal_fields(**fields)


def test_a_length_that_is_no_square_is_a_bug() -> None:
    with pytest.raises(ValueError, match="197 patches"):
        remove_tokens(torch.rand(1, 197), RELEASED)


@settings(deadline=None, max_examples=25)
@given(grid=st.integers(2, 16), seed=st.integers(0, 2**16))
def test_the_whole_crop_is_the_attention_itself_and_a_flip_its_mirror_image(grid: int, seed: int) -> None:
    attention = torch.rand(2, grid * grid, generator=torch.Generator().manual_seed(seed))
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0]]).expand(2, 2, 4)
    seen = attention_in_views(attention, boxes)
    assert torch.equal(seen[:, 0], attention)
    assert torch.equal(seen[:, 1], attention.view(2, grid, grid).flip(2).flatten(1))


def test_a_quarter_is_enlarged_between_the_patch_centres() -> None:
    attention = torch.arange(16.0)[None]
    seen = attention_in_views(attention, torch.tensor([[[0.5, 0.0, 1.0, 0.5]]]))
    x = torch.tensor([1.75, 2.25, 2.75, 3.0])  # the last centre lies beyond the outermost: the border holds
    y = torch.tensor([0.0, 0.25, 0.75, 1.25])
    torch.testing.assert_close(seen[0, 0].view(4, 4), y[:, None] * 4 + x)


def test_each_image_is_read_at_its_own_boxes() -> None:
    attention = torch.rand(2, 36)
    boxes = torch.tensor([[[0.1, 0.2, 0.8, 0.9], [0.0, 0.0, 0.5, 0.5]], [[0.9, 0.1, 0.3, 0.6], [0.2, 0.0, 1.0, 1.0]]])
    seen = attention_in_views(attention, boxes)
    assert seen.shape == (2, 2, 36)
    for image in range(2):
        alone = attention_in_views(attention[image : image + 1], boxes[image : image + 1])
        assert torch.equal(alone[0], seen[image])
