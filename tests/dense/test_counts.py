"""mIoU from our counts equals MMSegmentation's metric and a brute-force one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.dense.counts import ImageCounts, PixelCounts, count_pixels
from benchmarks.statistics import miou, per_class_iou

CLASSES = 6
Maps = list[tuple[np.ndarray, np.ndarray]]

pixels = st.integers(0, CLASSES - 1)
labels = st.one_of(pixels, st.just(255))
shapes = st.tuples(st.integers(1, 6), st.integers(1, 6))


@st.composite
def image_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    height, width = draw(shapes)
    size = height * width
    prediction = draw(st.lists(pixels, min_size=size, max_size=size))
    label = draw(st.lists(labels, min_size=size, max_size=size))
    return np.array(prediction).reshape(height, width), np.array(label).reshape(height, width)


def counted(maps: Maps) -> list[ImageCounts]:
    return [
        count_pixels(str(number), torch.from_numpy(prediction), torch.from_numpy(label), CLASSES)
        for number, (prediction, label) in enumerate(maps)
    ]


def totals(maps: Maps) -> tuple[np.ndarray, np.ndarray]:
    images = counted(maps)
    return np.stack([i.intersection for i in images]), np.stack([i.union for i in images])


def brute_force_iou(maps: Maps) -> list[float]:
    """Pixel by pixel, with nothing but sets."""
    ious = []
    for wanted in range(CLASSES):
        both = either = 0
        for prediction, label in maps:
            for p, t in zip(prediction.flat, label.flat, strict=True):
                if t != 255:
                    both += p == wanted and t == wanted
                    either += p == wanted or t == wanted
        ious.append(100 * both / either if either else float("nan"))
    return ious


@given(st.lists(image_pairs(), min_size=1, max_size=4))
def test_equals_brute_force(maps: Maps) -> None:
    intersection, union = totals(maps)
    expected = brute_force_iou(maps)
    np.testing.assert_allclose(per_class_iou(intersection, union), expected, atol=1e-9)
    if not np.isnan(expected).all():
        assert miou(intersection, union) == pytest.approx(np.nanmean(expected))


@settings(max_examples=40, deadline=None)
@given(st.lists(image_pairs(), min_size=1, max_size=4))
def test_equals_mmsegmentation(maps: Maps) -> None:
    """To its rounding: it reports two decimals."""
    from mmseg.evaluation import IoUMetric

    results = [
        IoUMetric.intersect_and_union(torch.from_numpy(prediction), torch.from_numpy(label), CLASSES, 255)
        for prediction, label in maps
    ]
    metric = IoUMetric(iou_metrics=["mIoU"])
    metric.dataset_meta = {"classes": [str(number) for number in range(CLASSES)]}
    theirs = metric.compute_metrics(results)["mIoU"]
    intersection, union = totals(maps)
    if union.sum():
        assert theirs == pytest.approx(miou(intersection, union), abs=0.00501)


@given(image_pairs())
def test_counts_are_consistent(pair: tuple[np.ndarray, np.ndarray]) -> None:
    (image,) = counted([pair])
    scored = int((pair[1] != 255).sum())
    assert image.prediction.sum() == image.label.sum() == scored
    assert (image.intersection <= np.minimum(image.prediction, image.label)).all()
    assert (image.union >= 0).all()


def test_the_evaluator_counts_every_image_once(tmp_path: Path) -> None:
    """Through the interface that MMEngine calls, pictures included."""
    generator = np.random.default_rng(0)
    samples = []
    for number in range(3):
        path = tmp_path / f"image_{2 - number}.jpg"
        Image.fromarray(generator.integers(0, 255, (8, 9, 3), dtype=np.uint8)).save(path)
        maps = [torch.from_numpy(generator.integers(0, CLASSES, (1, 8, 9))) for _ in range(2)]
        samples.append(
            {"img_path": str(path), "pred_sem_seg": {"data": maps[0]}, "gt_sem_seg": {"data": maps[1].byte()}}
        )
    metric = PixelCounts(CLASSES, pictures=2, picture_folder=str(tmp_path / "pictures"))
    for sample in samples:
        metric.process(None, [sample])
    metric.evaluate(3)
    assert [image.sample_id for image in metric.images] == ["image_0", "image_1", "image_2"]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["image_1.png", "image_2.png"]
    with Image.open(tmp_path / "pictures" / "image_1.png") as picture:
        assert picture.size == (3 * 9 + 2 * 8, 8)
