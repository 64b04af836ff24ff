"""Zero-shot evaluation as SLIP's ``eval_zeroshot`` has it, written plainly and slowly, to check the fast way against.

Only torch, torchvision and open_clip's tokenizer are used: one class at a time, all 77 tokens, pictures in the order
of the data set, torchvision's first transforms.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from open_clip import get_tokenizer
from PIL import Image
from torch import Tensor
from torchvision import transforms as v1

BATCH = 256
CLOSE = 1e-5

Pictures = Iterable[Image.Image]
Transform = Callable[[Image.Image], Tensor]


def transform(bicubic: bool = False) -> Transform:
    """Resize, crop, RGB, tensor, statistics: SLIP's (bilinear, ImageNet), or OpenAI's (bicubic, its own)."""
    if bicubic:
        mode = v1.InterpolationMode.BICUBIC
        statistics = v1.Normalize([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    else:
        mode = v1.InterpolationMode.BILINEAR
        statistics = v1.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    steps = [v1.Resize(224, mode), v1.CenterCrop(224), v1.Lambda(_rgb), v1.ToTensor(), statistics]
    composed: Transform = v1.Compose(steps)
    return composed


def _rgb(picture: Image.Image) -> Image.Image:
    return picture.convert("RGB")


@torch.no_grad()
def classifier(model: Any, names: Sequence[str | Sequence[str]], templates: Sequence[str]) -> Tensor:
    """(C, D) unit vectors: each class's prompts, encoded, made unit vectors, averaged, made unit vectors again."""
    tokenizer, rows = get_tokenizer("ViT-B-16"), []
    for name in names:
        synonyms = [name] if isinstance(name, str) else name
        texts = [template.format(synonym) for synonym in synonyms for template in templates]
        vectors = model.encode_text(tokenizer(texts))
        vectors = vectors / vectors.norm(dim=-1, keepdim=True)
        mean = vectors.mean(dim=0)
        rows.append(mean / mean.norm())
    return torch.stack(rows)


@torch.no_grad()
def pictures(model: Any, opened: Pictures, way: Transform) -> Tensor:
    """(N, D) unit vectors, in the given order."""
    found, batch = [], []
    for picture in opened:
        batch.append(way(picture))
        if len(batch) == BATCH:
            found.append(model.encode_image(torch.stack(batch)))
            batch.clear()
    if batch:
        found.append(model.encode_image(torch.stack(batch)))
    return F.normalize(torch.cat(found), dim=-1)


@torch.no_grad()
def captions(model: Any, texts: Sequence[str]) -> Tensor:
    """(T, D) unit vectors of plain captions."""
    tokenizer = get_tokenizer("ViT-B-16")
    parts = [model.encode_text(tokenizer(list(texts[i : i + BATCH]))) for i in range(0, len(texts), BATCH)]
    return F.normalize(torch.cat(parts), dim=-1)


@dataclass(frozen=True)
class Places:
    """Where the right answer stands among all, if what lies within ``CLOSE`` of it is counted as worse, or as better.

    With scores that are off by rounding, the true place is between the two.
    """

    least: Tensor
    most: Tensor

    def share(self, k: int) -> tuple[float, float]:
        """The least and the most percent of right answers among the first ``k``."""
        return (100 * float((self.most <= k).double().mean()), 100 * float((self.least <= k).double().mean()))


def places(scores: Tensor, right: Tensor) -> Places:
    """Of the best right answer in each row, by brute force.

    Args:
        scores: (Q, A) similarities.
        right: (Q, A) which answers are right.
    """
    own = scores.masked_fill(~right, -2).max(dim=1, keepdim=True).values
    return Places(
        1 + ((scores > own + CLOSE) & ~right).sum(dim=1),
        1 + ((scores > own - CLOSE) & ~right).sum(dim=1),
    )


def mean_per_class(correct: Tensor, labels: Tensor) -> float:
    """The mean, over the classes that occur, of the percent of their pictures that are right."""
    shares = [correct[labels == label].double().mean() for label in labels.unique()]
    return 100 * float(torch.stack(shares).mean())
