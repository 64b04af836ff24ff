"""Per-image, per-class pixel counts: what segmentation scores are computed from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from benchmarks.dense.collect import COLLECT, nth_of_all
from benchmarks.dense.pictures import save_triptych


@dataclass(frozen=True)
class ImageCounts:
    """Pixels of one image, per class, ignored pixels left out. Each array is (C,) int64."""

    sample_id: str
    intersection: np.ndarray
    prediction: np.ndarray
    label: np.ndarray

    @property
    def union(self) -> np.ndarray:
        """Pixels that are of the class in the prediction or in the label."""
        union: np.ndarray = self.prediction + self.label - self.intersection
        return union


def count_pixels(
    sample_id: str, prediction: torch.Tensor, label: torch.Tensor, classes: int, ignore_index: int = 255
) -> ImageCounts:
    """Count one image.

    Args:
        sample_id: stable name of the image.
        prediction: (H, W) class ids 0..classes-1.
        label: (H, W) class ids, or ``ignore_index`` where nothing is scored.
        classes: the number of classes C.
        ignore_index: see ``label``.
    """
    scored = label != ignore_index
    prediction, label = prediction[scored], label[scored]

    def histogram(ids: torch.Tensor) -> np.ndarray:
        counts: np.ndarray = torch.bincount(ids, minlength=classes).cpu().numpy()
        return counts

    return ImageCounts(sample_id, histogram(prediction[prediction == label]), histogram(prediction), histogram(label))


@METRICS.register_module()
class PixelCounts(BaseMetric):  # type: ignore[misc, unused-ignore]
    """Collects ``ImageCounts`` of every scored image; ``images`` holds them, by sample id, after evaluation.

    MMSegmentation's ``IoUMetric`` keeps no per-image counts and rounds to two decimals, so it can give neither
    intervals nor paired comparisons.

    Args:
        classes: the number of classes.
        ignore_index: label of pixels that are not scored.
        pictures: how many pictures (image | truth | prediction) to save, of the first images.
        picture_folder: where to.
    """

    default_prefix = "pixels"

    def __init__(self, classes: int, ignore_index: int = 255, pictures: int = 0, picture_folder: str = "") -> None:
        super().__init__(collect_device=COLLECT)
        self.classes = classes
        self.ignore_index = ignore_index
        self.pictures = pictures
        self.picture_folder = Path(picture_folder)
        self.images: list[ImageCounts] = []

    def process(self, data_batch: Any, data_samples: list[dict[str, Any]]) -> None:
        """Count a batch of predictions (the model's, at the labels' size)."""
        for sample in data_samples:
            prediction = sample["pred_sem_seg"]["data"].squeeze(0)
            label = sample["gt_sem_seg"]["data"].squeeze(0).to(prediction)
            name = Path(sample["img_path"]).stem
            if nth_of_all(len(self.results)) < self.pictures:
                target = self.picture_folder / f"{name}.png"
                save_triptych(target, Path(sample["img_path"]), label.cpu().numpy(), prediction.cpu().numpy())
            self.results.append(count_pixels(name, prediction, label, self.classes, self.ignore_index))

    def compute_metrics(self, results: list[ImageCounts]) -> dict[str, float]:
        """Keep the images; the scores themselves are computed from them by ``benchmarks.statistics``."""
        self.images = sorted(results, key=lambda image: image.sample_id)
        return {"images": float(len(results))}
