"""Every value that tells the `paper` preset from `released` changes what is trained, alone.

A value that differs and has no check here fails a test: nobody can add a difference that does nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pretrain.data.captions import choose_caption, tokenize
from pretrain.fields import leaves, preset_sections
from pretrain.methods import DetailCLIP
from pretrain.methods.base import Batch
from pretrain.views import Views
from tests.pretrain.sections import caption_fields, view_fields
from tests.pretrain.tiny import IMAGE, SMALL, pair_batch, tiny_detailclip

RELEASED, PAPER = (dict(leaves(preset_sections("detailclip", name))) for name in ("released", "paper"))
DIFFERENT = sorted(name for name in RELEASED.keys() | PAPER.keys() if RELEASED.get(name) != PAPER.get(name))
SIDE = IMAGE.image_size
VIEWS = 30
"""So many that one of them meets a chance of a tenth."""


def changed(name: str) -> dict[str, Any]:
    """The released preset, with the one value ``name`` as in the paper's."""
    sections = preset_sections("detailclip", "released")
    *path, last = name.split(".")
    target = sections
    for part in path:
        target = target[part]
    assert target[last] == RELEASED[name]
    target[last] = PAPER[name]
    return sections


def model_of(sections: Mapping[str, Any]) -> DetailCLIP:
    """A small model with teacher and student moved apart, so that it matters which is which."""
    model = tiny_detailclip(**{**sections["fields"], **SMALL})
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


def losses(sections: Mapping[str, Any]) -> Tensor:
    """The training loss of one batch."""
    return model_of(sections).compute_losses(*pair_batch(), epoch=1)["total"].detach()


def patch_projection_gradient(sections: Mapping[str, Any]) -> Tensor:
    """What trains the patch projection; zero where nothing does."""
    model = model_of(sections)
    model.compute_losses(*pair_batch())["total"].backward()
    weight = model.online.visual.trunk.patch_embed.proj.weight
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def drawn(sections: Mapping[str, Any]) -> dict[str, Tensor]:
    """Views of a picture with structure of every size, and what comes with them."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3))
    coarse = np.kron(np.random.default_rng(1).integers(0, 256, (9, 9, 3)), np.ones((10, 10, 1)))
    picture = Image.fromarray(((noise + coarse) / 2).astype(np.uint8))
    torch.manual_seed(0)
    return Views(view_fields(**sections["views"]), VIEWS, SIDE)(picture)


def views(sections: Mapping[str, Any]) -> Tensor:
    """The pixels of the views."""
    return drawn(sections)["views"]


def losses_of_drawn(sections: Mapping[str, Any]) -> Tensor:
    """The training loss of a picture's first two views, with the enclosing crop where the data bring one."""
    made = drawn(sections)
    pixels = {name: made[name][None] / 128 - 1 for name in ("views", "enclosing") if name in made}
    boxes = made["boxes"][None, :2] if "boxes" in made else None
    batch = Batch(pixels["views"][:, :2], pair_batch(1)[2], pixels.get("enclosing"), boxes)
    return model_of(sections).losses(batch)["total"].detach()


def tokens(sections: Mapping[str, Any]) -> Tensor:
    """The tokens of samples whose texts are long, one drawing after the other."""
    fields = caption_fields(**sections["captions"])
    torch.manual_seed(0)
    chosen = [choose_caption(("a title", "word " * 90), False, fields) for _ in range(4)]
    return torch.stack([tokenize(str(text), fields.overflow) for text in chosen])


CHECKS: dict[str, Callable[[Mapping[str, Any]], Tensor]] = {
    "captions.choice": tokens,
    "fields.clip_views": losses,
    "fields.divergence": losses,
    "fields.frozen_patch_projection": patch_projection_gradient,
    "fields.pixel_target": losses,
    "fields.reconstruction_scale": losses,
    "fields.removal.granularity": losses,
    "fields.removal.keep_plus_one": losses,
    "views.blur_probability": views,
    "views.crop_scale": views,
    "views.grey_probability": views,
    "views.interpolation": views,
    "views.jitter_probability": views,
    "views.solarise_probability": views,
    "views.teacher_view": losses_of_drawn,
}
"""What each of the differing values is seen in."""


def test_every_difference_has_a_check_and_every_check_a_difference() -> None:
    assert sorted(CHECKS) == DIFFERENT


@pytest.mark.parametrize("name", CHECKS)
def test_the_value_alone_changes_the_outcome(name: str) -> None:
    outcome = CHECKS[name]
    released = outcome(preset_sections("detailclip", "released"))
    assert torch.equal(released, outcome(preset_sections("detailclip", "released"))), "the check itself is at rest"
    other = outcome(changed(name))
    assert released.shape == other.shape
    assert (released.double() - other.double()).abs().max() > 1e-4


def test_the_enclosing_crop_is_there_for_the_paper_alone() -> None:
    assert drawn(preset_sections("detailclip", "released")).keys() == {"views"}
    made = drawn(changed("views.teacher_view"))
    assert made.keys() == {"views", "enclosing", "boxes"}
    assert torch.equal(made["views"], views(preset_sections("detailclip", "released"))), "the views stay the same"


def test_the_default_differs_from_released_by_the_mended_captions_alone() -> None:
    default = dict(leaves(preset_sections("detailclip", "default")))
    assert {name for name in default if default[name] != RELEASED[name]} == {"captions.overflow"}
    assert not torch.equal(
        tokens(preset_sections("detailclip", "default")), tokens(preset_sections("detailclip", "released"))
    )
