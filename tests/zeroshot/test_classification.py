"""Zero-shot classification of a folder: by hand-made embeddings whose answer is known."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.checkpoints import ensure_tiny, load_checkpoint
from benchmarks.errors import DataError
from benchmarks.zeroshot.classification import class_embeddings, classify_folder, picture_transform

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class ColourEncoder:
    """Pictures become their mean colour; a text becomes the colour it names (its tokens are told apart by length)."""

    def encode_image(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))

    def encode_text(self, tokens: Tensor) -> Tensor:
        # After sorting by name: blue, green, red; each prompt is asked for in this order.
        self.asked = getattr(self, "asked", -1) + 1
        return torch.eye(3)[[2, 1, 0]][self.asked].repeat(len(tokens), 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in COLOURS.items():
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("RGB", (40 + number, 50), colour).save(tmp_path / name / f"{number}.png")
    Image.new("L", (30, 30), 90).save(tmp_path / "red" / "grey.png")
    return tmp_path


def test_the_nearest_class_wins_and_every_picture_counts_once(folder: Path) -> None:
    loaded = load_checkpoint(ensure_tiny())
    object.__setattr__(loaded, "model", ColourEncoder())
    found = classify_folder(loaded, folder, ("a {} thing", "{}"))
    assert found.classes == ("blue", "green", "red")
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert found.files[0] == "blue/0.png"
    right = found.predicted == found.labels
    assert right[:6].all()
    assert found.top1 == pytest.approx(100 * float(right.double().mean()))


def test_prompts_are_averaged_as_unit_vectors() -> None:
    model = load_checkpoint(ensure_tiny()).model
    weights = class_embeddings(model, ("cat", "dog"), ("a {}", "the {} there"))
    assert weights.norm(dim=1).tolist() == pytest.approx([1, 1], abs=1e-6)
    one = class_embeddings(model, ("cat",), ("a {}",))[0] + class_embeddings(model, ("cat",), ("the {} there",))[0]
    assert torch.allclose(weights[0], F.normalize(one, dim=0), atol=1e-5)


def test_pictures_are_resized_as_the_checkpoint_says() -> None:
    loaded = load_checkpoint(ensure_tiny())
    picture = picture_transform(loaded.info.preprocessing)(Image.new("RGB", (300, 500), (124, 116, 104)))
    assert picture.shape == (3, 224, 224)
    assert picture.abs().max() < 0.02  # ImageNet's mean colour


def test_an_empty_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures there"):
        classify_folder(load_checkpoint(ensure_tiny()), tmp_path, ("{}",))


@pytest.mark.parametrize("name", ["Thumbs.db", "cut.png"])
def test_a_file_that_is_no_picture_is_one_line(folder: Path, name: str) -> None:
    content = b"no picture" if name == "Thumbs.db" else (folder / "red" / "grey.png").read_bytes()[:-30]
    (folder / "red" / name).write_bytes(content)
    loaded = load_checkpoint(ensure_tiny())
    object.__setattr__(loaded, "model", ColourEncoder())
    with pytest.raises(DataError, match=f"red/{name}: not a readable picture; remove it") as caught:
        classify_folder(loaded, folder, ("{}",))
    assert "\n" not in str(caught.value)
