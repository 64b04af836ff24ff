"""One training step as the published code computes it: the model before it, and the numbers."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pretrain import DetailCLIP
from tests.checkpoints.oracle import content

FILE = Path(__file__).parents[1] / "fixtures" / "pretraining" / "detailclip.npz"
STRIDE = 37
"""Long arrays of the fixture hold every so manieth entry."""

_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@dataclass(frozen=True)
class Step:
    """The published checkpoint, the inputs of the step and what came out of it."""

    path: Path
    u: Tensor
    v: Tensor
    tokens: Tensor
    epoch: int
    momentum: float
    numbers: dict[str, Tensor]

    def model(self) -> DetailCLIP:
        """The model before the step, its centres included."""
        model = DetailCLIP.from_released(self.path, image_heads=2, text_heads=1, decoder_heads=4)
        model.centers.cls.copy_(self.numbers["center_before"])
        model.centers.patch.copy_(self.numbers["center2_before"])
        return model

    def sample(self, name: str, whole: Tensor) -> Tensor:
        """Of ``whole`` what the fixture holds under ``name``."""
        stored = self.numbers[name]
        return whole.flatten()[::STRIDE] if stored.shape != whole.shape else whole


def published_content() -> dict[str, object]:
    """The whole published file, decoder and heads included."""
    with np.load(FILE) as archive:
        keys = json.loads(str(archive["keys"]))
        flat = torch.from_numpy(np.ascontiguousarray(archive["planes"].T).view(np.float32).reshape(-1))
    file = content("detailclip")
    state, start = file["state_dict"], 0
    for key in keys:
        size = state[key].numel()
        state[key] = flat[start : start + size].reshape(state[key].shape).clone()
        start += size
    assert start == len(flat)
    for key in list(state):
        if "last_layer2" in key:  # the published head has one last layer under two names
            state[key] = state[key.replace("last_layer2", "last_layer")]
    from pretrain.heads import sincos_positions

    state["module.decoder_pos_embed"] = sincos_positions(128, 14)
    return file


def published_step(folder: Path) -> Step:
    """Write the published file into ``folder`` and give it with the numbers of its step."""
    path = folder / "detailclip.pt"
    torch.save(published_content(), path)
    with np.load(FILE) as archive:
        numbers = {key: torch.from_numpy(archive[key]) for key in archive.files if key not in ("keys", "planes")}
    u, v = ((numbers[name].float() / 255 - _MEAN) / _STD for name in ("in_u_uint8", "in_v_uint8"))
    epoch, momentum = int(numbers["in_epoch"]), float(numbers["in_momentum"])
    return Step(path, u, v, numbers["in_text"], epoch, momentum, numbers)
