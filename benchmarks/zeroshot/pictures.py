"""Which queries of a retrieval run are shown, and the pictures that showing them takes."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from benchmarks.data.images import Images
from benchmarks.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 288
"""Pixels of the longer side: pictures stand in rows of five."""

_LONGEST_NAME = 120


def spread(total: int) -> list[int]:
    """All places of a set in an order whose beginnings, however long, lie evenly in it (van der Corput's sequence).

    The first queries of this order are shown. They are the same for every checkpoint, and runs that saved pictures of
    more queries have those of the others among them.
    """
    bits = max(1, (total - 1).bit_length())
    mirrored = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(2**bits))
    return [place for place in mirrored if place < total]


def file_name(sample_id: str) -> str:
    """The name of a sample's picture: the id itself where it is a plain word, else percent-encoded or shortened."""
    name = quote(sample_id, safe="", errors="surrogatepass")
    if len(name) > _LONGEST_NAME or name.startswith("."):
        digest = hashlib.sha256(sample_id.encode("utf-8", "surrogatepass")).hexdigest()
        name = f"{name[:_LONGEST_NAME].lstrip('.')}-{digest[:16]}"
    return f"{name}.png"


def needed(samples: "pd.DataFrame", queries: int) -> list[str]:
    """The sample ids that so many queries show: each picture, and what is found for its first caption."""
    ids: dict[str, None] = {}
    for place in spread(len(samples))[:queries]:
        ids.update(dict.fromkeys([samples["sample_id"].iloc[place], *samples["t2i_top"].iloc[place][0]]))
    return list(ids)


def save_pictures(
    folder: Path, images: Images, sample_ids: Sequence[str], progress: Callable[[int, int], None]
) -> None:
    """Write one small RGB PNG for each of ``sample_ids`` into ``folder``; ``progress`` is told (written, in all).

    Raises:
        DataError: a picture vanished or changed since it was verified.
    """
    places = {sample_id: place for place, sample_id in enumerate(images.sample_ids)}
    for done, sample_id in enumerate(sample_ids, start=1):
        picture = images.open(places[sample_id]).convert("RGB")
        picture.thumbnail((LARGEST, LARGEST))
        with atomic_path(folder / file_name(sample_id)) as temporary:
            picture.save(temporary)
        progress(done, len(sample_ids))
