"""Pictures of runs for the web: taken apart into image, truth and prediction, made smaller, written in parallel."""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from benchmarks.dense.pictures import GAP
from benchmarks.errors import RecordError

LARGEST = 640
"""Pixels of the longer side; that of COCO's pictures, so that these keep theirs."""
WIDE = 1600
"""The same of a picture that is a row of panels itself."""
PANELS = 3
FOLDER = "pictures"

Size: TypeAlias = tuple[int, int]


def write_panels(jobs: Mapping[Path, Mapping[int, Path]]) -> dict[Path, Size]:
    """Take pictures apart and write their panels.

    Args:
        jobs: picture of a run (image | truth | prediction) to {number of the panel: path without suffix}.

    Returns:
        The path without suffix to (width, height); see :func:`written` for the file's name.

    Raises:
        RecordError: a picture cannot be read, or is no row of three panels.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(_flat(pool.map(lambda job: _panels(*job), jobs.items())))


def write_whole(jobs: Mapping[Path, Path]) -> dict[Path, Size]:
    """Write pictures as they are, at most ``WIDE`` pixels wide: picture to path without suffix, as above."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(pool.map(lambda job: (job[1], _save(_read(job[0]), job[1], WIDE)), jobs.items()))


def written(target: Path) -> Path:
    """The file that was written for a path without suffix: its format depends on what is on it."""
    flat = target.with_suffix(".webp")
    return flat if flat.exists() else target.with_suffix(".jpg")


def _flat(lists: Iterable[list[tuple[Path, Size]]]) -> Iterable[tuple[Path, Size]]:
    return (pair for pairs in lists for pair in pairs)


def _panels(path: Path, targets: Mapping[int, Path]) -> list[tuple[Path, Size]]:
    picture = _read(path)
    width, rest = divmod(picture.width - (PANELS - 1) * GAP, PANELS)
    if rest or width < 1:
        raise RecordError(f"{path} is no row of image, truth and prediction: delete it")
    made = []
    for number, target in targets.items():
        left = number * (width + GAP)
        made.append((target, _save(picture.crop((left, 0, left + width, picture.height)), target, LARGEST)))
    return made


def _read(path: Path) -> Image.Image:
    """The picture in RGB; only PNG is tried, which is what runs write."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RecordError(f"{path} is no picture that can be read ({error}): delete it") from error


def _save(picture: Image.Image, target: Path, largest: int) -> Size:
    """Write it anew, so that nothing but pixels gets into the site: flat colours exactly, photographs as JPEG."""
    flat = picture.getcolors(256) is not None
    scale = min(1.0, largest / max(picture.size))
    if scale < 1:
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.NEAREST if flat else Image.Resampling.LANCZOS, reducing_gap=2)
    if flat:
        picture.save(target.with_suffix(".webp"), lossless=True, method=0, quality=0)
    else:
        picture.save(target.with_suffix(".jpg"), quality=88)
    return picture.size
