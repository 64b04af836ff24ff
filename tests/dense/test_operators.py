"""The operators served behind ``mmcv.ops`` equal their definition, are there in every process, and leave
compiled ones alone."""

import importlib
import importlib.util
import math
import pickle
import pkgutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.dense import operators
from tests.dense.worker_dataset import BOXES, KEPT, SCORES, OperatorDataset

ops: Any = importlib.import_module("mmcv.ops")  # possible only after the import of benchmarks.dense

served = pytest.mark.skipif(operators.kind() == "compiled", reason="a compiled mmcv is installed")
few = settings(max_examples=120, deadline=None)
floating = st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16])


# -------------------------------------------------------------------------------------------------- RoIAlign


@dataclass(frozen=True)
class Pooling:
    """One call of RoIAlign: the map's (B, C, H, W), the regions, and the options."""

    shape: tuple[int, int, int, int]
    rois: list[tuple[int, float, float, float, float]]
    bins: tuple[int, int]
    scale: float
    ratio: int
    aligned: bool
    seed: int

    def regions(self, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.tensor(self.rois, dtype=dtype).reshape(-1, 5)

    def layer(self) -> torch.nn.Module:
        layer: torch.nn.Module = ops.RoIAlign(self.bins, self.scale, self.ratio, aligned=self.aligned)
        return layer

    def random(self, *shape: int) -> NDArray[np.float64]:
        return np.random.default_rng([self.seed, *shape]).standard_normal(shape)


# Eighths are exact in every dtype. Maps are at most 6 wide: the regions lie inside, across and outside them.
eighths = st.integers(-48, 96).map(lambda eighth: eighth / 8)


@st.composite
def regions(draw: st.DrawFn, batch: int) -> tuple[int, float, float, float, float]:
    x1, x2 = sorted((draw(eighths), draw(eighths)))
    y1, y2 = sorted((draw(eighths), draw(eighths)))
    return draw(st.integers(0, batch - 1)), x1, y1, x2, y2


@st.composite
def poolings(draw: st.DrawFn) -> Pooling:
    size, bins = st.integers(1, 6), st.integers(1, 3)
    batch = draw(st.integers(1, 2))
    return Pooling(
        shape=(batch, draw(st.integers(1, 2)), draw(size), draw(size)),
        rois=draw(st.lists(regions(batch), max_size=3)),
        bins=(draw(bins), draw(bins)),
        scale=draw(st.sampled_from([1.0, 0.5, 0.25, 2.0])),
        ratio=draw(st.integers(0, 3)),
        aligned=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )


def axis_weights(low: float, high: float, bins: int, length: int, call: Pooling) -> NDArray[np.float64]:
    """(bins, length): what each feature pixel along one axis adds to a bin (bilinear sampling separates)."""
    start = low * call.scale - (0.5 if call.aligned else 0.0)
    extent = high * call.scale - (0.5 if call.aligned else 0.0) - start
    step = (extent if call.aligned else max(extent, 1.0)) / bins
    samples = call.ratio or math.ceil(step)
    weights = np.zeros((bins, length))
    for index in range(bins):
        for sample in range(samples):
            position = start + index * step + (sample + 0.5) * step / samples
            if -1 <= position <= length:
                position = min(max(position, 0.0), length - 1.0)
                below = int(position)
                weights[index, below] += (1 - (position - below)) / samples
                weights[index, min(below + 1, length - 1)] += (position - below) / samples
    return weights


def reference_weights(call: Pooling) -> NDArray[np.float64]:
    """(K, bins y, bins x, B, H, W): RoIAlign is linear in the map, and these are its coefficients."""
    batch, _, height, width = call.shape
    weights = np.zeros((len(call.rois), *call.bins, batch, height, width))
    for index, (image, x1, y1, x2, y2) in enumerate(call.rois):
        along_y = axis_weights(y1, y2, call.bins[0], height, call)
        along_x = axis_weights(x1, x2, call.bins[1], width, call)
        weights[index, :, :, image] = np.einsum("ah,bw->abhw", along_y, along_x)
    return weights


@served
@few
@given(poolings())
def test_roi_align_and_its_gradient_equal_the_definition(call: Pooling) -> None:
    weights = reference_weights(call)
    values = call.random(*call.shape)
    upstream = call.random(len(call.rois), call.shape[1], *call.bins)
    features = torch.tensor(values, requires_grad=True)

    pooled = call.layer()(features, call.regions())
    pooled.backward(torch.tensor(upstream))

    assert features.grad is not None
    expected = np.einsum("kabnhw,nchw->kcab", weights, values)
    np.testing.assert_allclose(pooled.detach().numpy(), expected, rtol=1e-9, atol=1e-11)
    gradient = np.einsum("kabnhw,kcab->nchw", weights, upstream)
    np.testing.assert_allclose(features.grad.numpy(), gradient, rtol=1e-9, atol=1e-11)


def pool(call: Pooling, dtype: torch.dtype, computed: torch.dtype) -> tuple[Tensor, Tensor]:
    """RoIAlign and its gradient for inputs that are exact in ``dtype``, ``computed`` in another one."""
    features = torch.tensor(call.random(*call.shape)).to(dtype).to(computed).requires_grad_()
    upstream = torch.tensor(call.random(len(call.rois), call.shape[1], *call.bins)).to(dtype).to(computed)
    pooled = call.layer()(features, call.regions(computed))
    pooled.backward(upstream)
    assert features.grad is not None and pooled.dtype == features.grad.dtype == computed
    return pooled.detach(), features.grad


@served
@few
@given(poolings(), st.sampled_from([torch.float16, torch.bfloat16]))
def test_roi_align_in_half_precision_is_that_of_float32_rounded_once(call: Pooling, dtype: torch.dtype) -> None:
    for half, single in zip(pool(call, dtype, dtype), pool(call, dtype, torch.float32), strict=True):
        assert torch.equal(half, single.to(dtype))


@served
@few
@given(poolings())
def test_roi_align_in_float32_equals_float64(call: Pooling) -> None:
    """With two bins of two samples no position is rounded, so none changes sides at the border of the map."""
    exact = replace(call, bins=(2, 2), ratio=2)
    torch.testing.assert_close(
        pool(exact, torch.float32, torch.float32),
        pool(exact, torch.float32, torch.float64),
        rtol=1e-5,
        atol=1e-5,
        check_dtype=False,
    )


@served
@few
@given(poolings())
def test_roi_align_does_not_care_how_tensors_lie_in_memory(call: Pooling) -> None:
    values = torch.tensor(call.random(*call.shape))
    upstream = torch.tensor(call.random(len(call.rois), call.shape[1], *call.bins))
    results = []
    for features, regions_, gradient in (
        (values, call.regions(), upstream),
        (values.mT.contiguous().mT, call.regions().T.contiguous().T, upstream.mT.contiguous().mT),
    ):
        leaf = features.detach().requires_grad_()
        pooled = call.layer()(leaf, regions_)
        pooled.backward(gradient)
        results.append((pooled.detach(), leaf.grad))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


@served
def test_roi_align_passes_gradcheck() -> None:
    """gradcheck: the two kernels, called by mmcv's autograd function, are a function and its derivative."""
    features = torch.randn(2, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 0.3, 0.6, 3.1, 4.2], [1, -1, -1, 9, 9]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: ops.roi_align(x, rois, (2, 3), 0.7, 0, "avg", True), features)


@served
def test_max_pooling_is_refused() -> None:
    """torchvision only averages: a maximum asked for must not silently become a mean."""
    layer = ops.RoIAlign(2, pool_mode="max")
    with pytest.raises(NotImplementedError, match=r"max pooling .*pip install mmcv==") as raised:
        layer(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5))
    assert "\n" not in str(raised.value)


# ------------------------------------------------------------------------------------------------------- NMS

Box = tuple[Fraction, Fraction, Fraction, Fraction]

# Quarters up to 16 are exact in bfloat16 too, and small enough that many boxes overlap, touch and coincide.
quarters = st.integers(0, 24).map(lambda quarter: Fraction(quarter, 4))
eighth_scores = st.lists(st.integers(0, 8).map(lambda eighth: eighth / 8), max_size=12)
twentieths = st.integers(0, 20).map(lambda twentieth: Fraction(twentieth, 20))


@st.composite
def boxes_for(draw: st.DrawFn, number: int) -> list[Box]:
    def box() -> Box:
        (x1, x2), (y1, y2) = (sorted((draw(quarters), draw(quarters))) for _ in range(2))
        return x1, y1, x2, y2

    return [box() for _ in range(number)]


def overlap(a: Box, b: Box, offset: int) -> Fraction:
    """The intersection over union in exact arithmetic; 0 where the union is empty."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + offset, Fraction(0))
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + offset, Fraction(0))
    areas = sum((box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b))
    union = areas - width * height
    return width * height / union if union else Fraction(0)


def reference_nms(boxes: list[Box], scores: list[float], threshold: Fraction, offset: int = 0) -> list[int]:
    """Best score first, equal scores as given; what overlaps a kept box by more than the threshold goes."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda index: -scores[index]):
        if all(overlap(boxes[index], boxes[other], offset) <= threshold for other in kept):
            kept.append(index)
    return kept


def as_tensor(boxes: list[Box], dtype: torch.dtype) -> Tensor:
    return torch.tensor([[float(side) for side in box] for box in boxes], dtype=dtype).reshape(-1, 4)


@served
@few
@given(st.data(), eighth_scores, twentieths, st.sampled_from([0, 1]), floating)
def test_nms_equals_the_definition(
    data: st.DataObject, scores: list[float], threshold: Fraction, offset: int, dtype: torch.dtype
) -> None:
    """Ties of score, identical, touching and empty boxes, and overlaps that equal the threshold included."""
    boxes = data.draw(boxes_for(len(scores)))
    tensor = as_tensor(boxes, dtype)
    if data.draw(st.booleans()):
        tensor = tensor.T.contiguous().T
    score_tensor = torch.tensor(scores, dtype=dtype)

    dets, kept = ops.nms(tensor, score_tensor, float(threshold), offset=offset)

    assert kept.tolist() == reference_nms(boxes, scores, threshold, offset)
    assert kept.dtype == torch.int64
    assert torch.equal(dets, torch.cat([tensor[kept], score_tensor[kept, None]], dim=1))


@served
@few
@given(st.data(), eighth_scores, st.integers(0, 8), st.integers(-1, 4))
def test_nms_filters_by_score_and_number(data: st.DataObject, scores: list[float], lowest: int, number: int) -> None:
    boxes = data.draw(boxes_for(len(scores)))
    arrays = as_tensor(boxes, torch.float32).numpy(), np.array(scores, dtype=np.float32)

    _, kept = ops.nms(*arrays, 0.5, score_threshold=lowest / 8, max_num=number)

    above = [index for index, score in enumerate(scores) if lowest == 0 or score > lowest / 8]
    expected = reference_nms([boxes[i] for i in above], [scores[i] for i in above], Fraction(1, 2))
    assert kept.tolist() == [above[index] for index in expected][: number if number > 0 else None]


@served
@few
@given(st.data(), eighth_scores.filter(bool), twentieths, st.booleans(), st.sampled_from([1, 10000]))
def test_batched_nms_suppresses_within_a_class_only(
    data: st.DataObject, scores: list[float], threshold: Fraction, agnostic: bool, split: int
) -> None:
    boxes = data.draw(boxes_for(len(scores)))
    labels = data.draw(st.lists(st.integers(0, 2), min_size=len(scores), max_size=len(scores)))
    options = {"type": "nms", "iou_threshold": float(threshold), "split_thr": split}

    dets, kept = ops.batched_nms(
        as_tensor(boxes, torch.float32), torch.tensor(scores), torch.tensor(labels), options, agnostic
    )

    expected: list[int] = []
    # Above split_thr boxes mmcv goes class by class, even where it was asked to ignore the classes.
    together = agnostic and len(scores) < split
    for label in {0} if together else set(labels):
        members = [index for index in range(len(boxes)) if together or labels[index] == label]
        alone = reference_nms([boxes[i] for i in members], [scores[i] for i in members], threshold)
        expected += [members[index] for index in alone]
    ranked = sorted(expected, key=lambda index: (-scores[index], index))
    # Its last sort, after a split, leaves the order of equal scores open.
    order = kept.tolist() if split > len(scores) else sorted(kept.tolist(), key=lambda i: (-scores[i], i))
    assert order == ranked
    assert dets[:, 4].tolist() == [scores[index] for index in ranked]


@served
def test_many_equal_scores_keep_their_order() -> None:
    """Vectorised sorts are not stable beyond a few elements; what is kept must not depend on them."""
    corners = 3.0 * torch.arange(3000.0)[:, None].expand(-1, 4) + torch.tensor([0.0, 0.0, 1.0, 1.0])
    _, kept = ops.nms(corners, torch.full((3000,), 0.5), 0.5)
    assert kept.tolist() == list(range(3000))


@served
def test_an_overlap_equal_to_the_threshold_is_kept() -> None:
    """3/10 in float32 is above the float64 0.3: torchvision alone would drop the second box."""
    boxes = torch.tensor([[0.0, 0.0, 10.0, 1.0], [0.0, 0.0, 3.0, 1.0]])
    _, kept = ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.3)
    assert kept.tolist() == [0, 1]


# ------------------------------------------------------------------------------------------ where they serve


@served
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_data_loader_workers_have_the_operators(method: str) -> None:
    """A spawned worker starts empty: nothing but what it unpickles may bring the operators to it."""
    loader = DataLoader(OperatorDataset(), batch_size=1, num_workers=1, multiprocessing_context=method)
    for index, sample in enumerate(loader):
        assert sample["kind"] == ["torchvision"]
        assert sample["kept"].tolist() == [KEPT]
        ramp = torch.tensor([[2.5, 4.5], [10.5, 12.5]])
        torch.testing.assert_close(sample["pooled"][0, 0, 0], (index + 1) * ramp)
        assert sample["gradient"].sum().item() == pytest.approx(4.0)


def test_the_parent_agrees_with_its_workers() -> None:
    _, kept = ops.nms(BOXES, SCORES, 0.5)
    assert kept.tolist() == KEPT


def run_python(code: str, *paths: Path) -> str:
    """What a fresh interpreter prints; ``paths`` come first on its ``sys.path``."""
    start = f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n"
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@served
def test_unpickling_anything_of_the_package_brings_the_operators_and_nothing_heavy() -> None:
    pickled = pickle.dumps(operators.kind)
    code = (
        f"import pickle; print(pickle.loads({pickled!r})(), 'mmcv._ext' in sys.modules,"
        " sorted({'torch', 'torchvision', 'mmcv', 'mmseg', 'mmdet', 'cv2'} & set(sys.modules)))"
    )
    assert run_python(code) == "torchvision True []"


WHICH = """
from benchmarks.dense import operators
print(operators.kind(), operators.install(), "mmcv._ext" in sys.modules)
"""


def fake_mmcv(folder: Path, *files: str) -> Path:
    """A folder with a package ``mmcv`` that must not be imported, and ``files`` in it."""
    package = folder / "mmcv"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('looking for the compiled module imported mmcv')")
    for name in files:
        (package / name).touch()
    return folder


def test_a_compiled_module_is_left_alone(tmp_path: Path) -> None:
    """Where mmcv is compiled its own operators run, and the record says so."""
    folder = fake_mmcv(tmp_path, f"_ext{sysconfig.get_config_var('EXT_SUFFIX')}")
    assert run_python(WHICH, folder) == "compiled compiled False"


def test_the_stand_in_is_there_when_the_compiled_module_is_not(tmp_path: Path) -> None:
    folder = fake_mmcv(tmp_path, "_ext_of_another_name.py")
    assert run_python(WHICH, folder) == "torchvision torchvision True"


def test_the_kind_follows_what_is_installed() -> None:
    """Guards the skips above: with the lite wheel alone the served operators must be what is tested."""
    names = {distribution.name for distribution in distributions()}
    assert operators.kind() == ("compiled" if "mmcv" in names else "torchvision")


@served
def test_the_stand_in_is_found_like_any_module() -> None:
    """mmengine and mmcv ask ``pkgutil.find_loader`` whether the operators exist."""
    spec = importlib.util.find_spec("mmcv._ext")
    assert spec is not None and spec.origin == "torchvision"
    assert pkgutil.find_loader("mmcv._ext") is spec.loader
    before = sys.modules["mmcv._ext"]
    assert operators.install() == "torchvision"
    assert sys.modules["mmcv._ext"] is before is importlib.import_module("mmcv._ext")


def test_every_module_of_mmcv_ops_imports() -> None:
    for module in pkgutil.iter_modules(ops.__path__, "mmcv.ops."):
        importlib.import_module(module.name)
    assert all(hasattr(ops, name) for name in ops.__all__)


@served
def test_an_operator_that_is_not_served_says_so_when_called() -> None:
    """MMDetection imports far more than it runs: importing must work, running must not give a number."""
    with pytest.raises(NotImplementedError, match=r"'softnms' is not served .*pip install mmcv==") as raised:
        ops.soft_nms(BOXES, SCORES)
    assert "\n" not in str(raised.value)
    with pytest.raises(NotImplementedError, match="'sigmoid_focal_loss_forward'"):
        ops.sigmoid_focal_loss(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), 2.0, 0.25)


@served
def test_the_stand_in_has_operators_and_nothing_private() -> None:
    module = sys.modules["mmcv._ext"]
    assert not hasattr(module, "__path__")
    assert module.nms_rotated.__name__ == "nms_rotated"
    assert ops.get_compiler_version() == ops.get_compiling_cuda_version() == "n/a"
