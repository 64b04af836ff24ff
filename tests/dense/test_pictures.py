"""Pictures of segmentations: the right colours in the right place, at the truth's size."""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.data.ade20k import classes, palette
from benchmarks.dense.pictures import GAP, colourise, save_triptych

COLOURS = np.asarray(palette(), dtype=np.uint8)


def test_colours_are_ade20ks_and_unlabelled_is_black() -> None:
    picture = colourise(np.array([[0, 149], [255, 2]]), COLOURS)
    assert classes()[2] == "sky"
    assert picture.shape == (2, 2, 3)
    assert tuple(picture[0, 0]) == palette()[0]
    assert tuple(picture[0, 1]) == palette()[149]
    assert tuple(picture[1, 1]) == (6, 230, 230), "sky is turquoise in ADE20K's palette"
    assert not picture[1, 0].any()


def test_three_panels_side_by_side(tmp_path: Path) -> None:
    """A photograph of another size is shown at the size of the truth."""
    photograph, target = tmp_path / "photo.jpg", tmp_path / "new/folder/out.png"
    Image.new("RGB", (60, 40), (200, 10, 10)).save(photograph)
    truth, prediction = np.full((20, 30), 2), np.full((20, 30), 5)
    save_triptych(target, photograph, truth, prediction)
    with Image.open(target) as picture:
        assert picture.size == (3 * 30 + 2 * GAP, 20)
        pixels = np.asarray(picture)
    assert abs(pixels[10, 15].astype(int) - (200, 10, 10)).max() < 8
    assert tuple(pixels[10, 30 + GAP + 15]) == palette()[2]
    assert tuple(pixels[10, 2 * (30 + GAP) + 15]) == palette()[5]
    assert tuple(pixels[10, 30 + GAP // 2]) == (255, 255, 255)
