"""Small sources of every kind, written into a folder."""

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

TEXTS = (("a red square", "drawn by hand"), ("a green square", ""), ("a blue square", "on a screen"))
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
TRUNCATED = 60


def jpeg(index: int, side: int = 24) -> bytes:
    """A picture of the index's colour with some noise, so that its file has a length to truncate."""
    noise = np.random.default_rng(index).integers(-30, 30, (side, side, 3))
    pixels = np.clip(np.array(COLOURS[index % 3]) + noise, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def write_images(folder: Path, count: int = 3) -> list[str]:
    """``0.jpg``, ``1.jpg``, … and their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / f"{index}.jpg").write_bytes(jpeg(index))
    return [f"{index}.jpg" for index in range(count)]


def write_csv(root: Path) -> None:
    """``pairs.csv`` and ``images/`` with three pairs."""
    names = write_images(root / "images")
    rows = [f'{name},"{title}","{rest}"' for name, (title, rest) in zip(names, TEXTS, strict=True)]
    (root / "pairs.csv").write_text("\n".join(["image,title,description", *rows]) + "\n")


def write_tar(path: Path, files: Sequence[tuple[str, bytes]]) -> None:
    """A shard with these files in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def webdataset_files(indices: Sequence[int]) -> list[tuple[str, bytes]]:
    """Image, text and JSON of each pair, named as webdataset names them."""
    files = []
    for index in indices:
        title, description = TEXTS[index]
        entries = json.dumps({"title": title, "description": description or None})
        files += [(f"{index:05d}.jpg", jpeg(index)), (f"{index:05d}.txt", title.encode())]
        files.append((f"{index:05d}.json", entries.encode()))
    return files


def write_zip(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """A zip file with these members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
