"""The operators behind ``mmcv.ops`` where MMCV is not compiled: NMS and RoIAlign, served by torchvision.

MMDetection and MMSegmentation import ``mmcv.ops``, whose Python files all ask for the compiled module
``mmcv._ext``. The ``mmcv-lite`` wheel ships those Python files without that module. `install` puts a stand-in
for it in place: ``nms`` and ``roi_align`` (average pooling) run on torchvision's kernels, on every device
that torchvision serves; every other operator can be imported, but says when called that it is missing. Where
the compiled module exists nothing is replaced. `kind` tells which of the two runs; every record holds it.

The definitions followed are those of MMCV 2.1.0 (``mmcv/ops/nms.py``, ``mmcv/ops/roi_align.py``); RoIAlign is
from He et al., Mask R-CNN, section 3.
"""

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["compiled", "torchvision"]

_EXTENSION = "mmcv._ext"
_AVERAGE = 1  # the pooling modes of mmcv.ops.roi_align: 0 takes the maximum of a bin's samples, 1 their mean


def install() -> Kind:
    """Put the stand-in for ``mmcv._ext`` into ``sys.modules``, unless the compiled module exists.

    Must run before the first import of ``mmcv.ops``; importing `benchmarks.dense` runs it. Calling it again
    changes nothing. Neither MMCV nor torch is imported.

    Returns:
        Which operators serve from now on, as `kind` tells it.
    """
    if _EXTENSION not in sys.modules and not _compiled_exists():
        spec = ModuleSpec(_EXTENSION, _StandIn(), origin="torchvision")
        module = importlib.util.module_from_spec(spec)
        _StandIn().exec_module(module)
        sys.modules[_EXTENSION] = module
    return kind()


def kind() -> Kind:
    """Which operators ``mmcv.ops`` runs on: MMCV's compiled ones, or torchvision's behind our stand-in."""
    module = sys.modules.get(_EXTENSION)
    stands_in = module is not None and isinstance(module.__loader__, _StandIn)
    return "torchvision" if stands_in else "compiled"


def _compiled_exists() -> bool:
    """Whether the installed MMCV has the compiled module; looks at file names only and imports nothing."""
    package = importlib.util.find_spec("mmcv")
    if package is None or package.submodule_search_locations is None:
        return False
    return PathFinder.find_spec(_EXTENSION, package.submodule_search_locations) is not None


class _StandIn(importlib.abc.Loader):
    """Fills the stand-in module, and as its loader makes ``find_spec`` and ``find_loader`` find it."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the making of the module object to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(
            nms=nms,
            roi_align_forward=roi_align_forward,
            roi_align_backward=roi_align_backward,
            get_compiler_version=_not_compiled,
            get_compiling_cuda_version=_not_compiled,
            __getattr__=_unserved,
        )


def _not_compiled() -> str:
    """MMCV's questions for its compiler; its ``collect_env`` gives this answer where the module is absent."""
    return "n/a"


def _unserved(name: str) -> Callable[..., NoReturn]:
    """The module's ``__getattr__``: an operator that is imported by ``mmcv.ops`` but cannot run.

    Raises:
        AttributeError: the name is private, and so not an operator's.
    """
    if name.startswith("_"):
        raise AttributeError(f"module {_EXTENSION!r} has no attribute {name!r}")

    def operator(*_arguments: Any, **_options: Any) -> NoReturn:
        raise NotImplementedError(_remedy(f"operator {name!r}"))

    operator.__name__ = operator.__qualname__ = name
    return operator


def _remedy(what: str) -> str:
    """The one line which says that ``what`` is not served, and how to get it."""
    from mmcv.version import __version__ as version

    return (
        f"mmcv's {what} is not served by torchvision: "
        f"install the compiled mmcv of the same version (pip install mmcv=={version})"
    )


def nms(boxes: "Tensor", scores: "Tensor", iou_threshold: float, offset: int) -> "Tensor":
    """Greedy non-maximum suppression: a box goes when its IoU with a kept, better one is above a threshold.

    Boxes of equal score rank in the order given, on every device (torchvision alone leaves that open).

    Args:
        boxes: (N, 4) corners x1, y1, x2, y2 in pixels, any floating dtype; N may be 0.
        scores: (N,), any floating dtype.
        iou_threshold: in [0, 1].
        offset: added to every width and height: 0, or 1 for corners that are inclusive pixel indices.

    Returns:
        (M,) int64 indices of the kept boxes, best score first.
    """
    import torch
    from torchvision.ops import nms as torchvision_nms

    # Half precisions are not served by torchvision's CPU kernel. A pixel added to x2 and y2 widens every box
    # and every intersection alike; in float64 that sum does not round.
    dtype = torch.float64 if offset else torch.promote_types(boxes.dtype, torch.float32)
    corners = boxes.to(dtype) + torch.tensor([0, 0, offset, offset], dtype=dtype, device=boxes.device)
    # torchvision holds an IoU of the boxes' precision against a float64 threshold, so that an IoU of 3/10 in
    # float32 counts as above 0.3. Compiled MMCV compares within one precision, and so do we.
    threshold = torch.tensor(iou_threshold, dtype=dtype).item()
    order = scores.sort(dim=0, descending=True, stable=True).indices
    ranks = torch.arange(len(order), 0, -1, dtype=dtype, device=boxes.device)
    return order[torchvision_nms(corners[order], ranks, threshold)]


def roi_align_forward(
    input: "Tensor",
    rois: "Tensor",
    output: "Tensor",
    argmax_y: "Tensor",
    argmax_x: "Tensor",
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign: the mean of bilinear samples in each bin of each region, written into ``output``.

    Half precisions are computed in float32 and rounded once, at the end.

    Args:
        input: (B, C, H, W) feature map, any floating dtype.
        rois: (K, 5) rows of index into B, x1, y1, x2, y2 in image pixels; K may be 0.
        output: (K, C, ``aligned_height``, ``aligned_width``), overwritten.
        argmax_y: not used in average pooling.
        argmax_x: not used in average pooling.
        aligned_height: bins along y.
        aligned_width: bins along x.
        spatial_scale: feature pixels an image pixel.
        sampling_ratio: samples along each side of a bin; 0: as many as the side has feature pixels.
        pool_mode: 1, average.
        aligned: whether pixel centres lie at half-integer coordinates; False is the legacy form, in which a
            region is also at least one feature pixel wide and high.

    Raises:
        NotImplementedError: ``pool_mode`` asks for the maximum.
    """
    import torch
    from torchvision.ops import roi_align

    _require_average(pool_mode)
    dtype = torch.promote_types(input.dtype, torch.float32)
    size = (aligned_height, aligned_width)
    output.copy_(roi_align(input.to(dtype), rois.to(dtype), size, spatial_scale, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: "Tensor",
    rois: "Tensor",
    argmax_y: "Tensor",
    argmax_x: "Tensor",
    grad_input: "Tensor",
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """The gradient of `roi_align_forward` in its feature map, written into ``grad_input``.

    Args:
        grad_output: (K, C, ``aligned_height``, ``aligned_width``), any floating dtype.
        rois: as in `roi_align_forward`.
        argmax_y: not used in average pooling.
        argmax_x: not used in average pooling.
        grad_input: (B, C, H, W), overwritten.
        aligned_height: as in `roi_align_forward`; so are the arguments after it.
        aligned_width: bins along x.
        spatial_scale: feature pixels an image pixel.
        sampling_ratio: samples along each side of a bin.
        pool_mode: 1, average.
        aligned: whether pixel centres lie at half-integer coordinates.

    Raises:
        NotImplementedError: ``pool_mode`` asks for the maximum.
    """
    import torch
    import torchvision  # noqa: F401 (registers torch.ops.torchvision)

    _require_average(pool_mode)
    dtype = torch.promote_types(grad_output.dtype, torch.float32)
    # torchvision has its backward kernel under this name only; through autograd it would cost a forward pass.
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad_output.to(dtype),
            rois.to(dtype),
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


def _require_average(pool_mode: int) -> None:
    """Refuse max pooling, which torchvision has no kernel for.

    Raises:
        NotImplementedError: ``pool_mode`` is not the average.
    """
    if pool_mode != _AVERAGE:
        raise NotImplementedError(_remedy("RoIAlign with max pooling"))
