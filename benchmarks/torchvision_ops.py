"""Import torchvision beside a PyTorch build for which its C extension does not load.

The torchvision wheel on PyPI holds a CUDA extension. Beside the CPU build of PyTorch it cannot be loaded, and
``import torchvision`` then stops at the first ``torchvision::`` operator it wants to describe. Importing this module
*first* declares the operators that models need (``nms``, ``qnms``, ``roi_align``), gives the two float ones plain
PyTorch kernels, and imports torchvision. Where the real extension loads, the module does no more than import
torchvision.
"""

from __future__ import annotations

import sys
import warnings

import torch
from torch import Tensor

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor",
)
_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep the best box of every cluster: greedy non-maximum suppression.

    Args:
        boxes: ``(n, 4)`` corners ``x1, y1, x2, y2``.
        scores: ``(n,)``.
        iou_threshold: a box overlapping a kept one by more than this goes.

    Returns:
        Indices of the kept boxes, best first.
    """
    order = scores.argsort(descending=True, stable=True)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept = []
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(best)
        corner = torch.maximum(boxes[best, :2], boxes[order, :2])
        extent = (torch.minimum(boxes[best, 2:], boxes[order, 2:]) - corner).clamp(min=0)
        common = extent.prod(1)
        order = order[common <= iou_threshold * (area[best] + area[order] - common)]
    return torch.stack(kept) if kept else order


def _interpolate(plane: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Sample ``plane`` (channels, height, width) bilinearly at the grid ``y`` times ``x``; zero outside the image."""
    for axis, at in ((1, y), (2, x)):
        size = plane.shape[axis]
        inside = (at >= -1) & (at <= size)
        at = at.clamp(0, size - 1)
        low = at.floor().long()
        high = (low + 1).clamp(max=size - 1)
        shape = [-1 if i == axis else 1 for i in range(3)]
        share = (at - low).view(shape)
        mixed = plane.index_select(axis, low) * (1 - share) + plane.index_select(axis, high) * share
        plane = mixed * inside.view(shape)
    return plane


def roi_align(
    images: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Average bilinear samples of each region of interest over a grid of bins.

    Args:
        images: ``(batch, channels, height, width)``.
        rois: ``(n, 5)`` rows of batch index and ``x1, y1, x2, y2``.
        spatial_scale: factor from the coordinates of ``rois`` to those of ``images``.
        pooled_height: bins along the height.
        pooled_width: bins along the width.
        sampling_ratio: samples per bin and axis; zero or less chooses them by the region's size.
        aligned: shift by half a pixel.

    Returns:
        ``(n, channels, pooled_height, pooled_width)``.
    """
    pooled = []
    for roi in rois:
        x1, y1, x2, y2 = (roi[1:] * spatial_scale - (0.5 if aligned else 0.0)).unbind()
        points, counts = [], []
        for start, end, bins in ((y1, y2, pooled_height), (x1, x2, pooled_width)):
            length = end - start if aligned else (end - start).clamp(min=1.0)
            samples = sampling_ratio if sampling_ratio > 0 else max(int((length / bins).ceil()), 1)
            steps = (torch.arange(bins * samples, dtype=rois.dtype, device=rois.device) + 0.5) / samples
            points.append(start + steps * (length / bins))
            counts.append(samples)
        grid = _interpolate(images[int(roi[0])], *points)
        grid = grid.unflatten(2, (pooled_width, counts[1])).unflatten(1, (pooled_height, counts[0]))
        pooled.append(grid.mean((2, 4)))
    return torch.stack(pooled) if pooled else images.new_zeros(0, images.shape[1], pooled_height, pooled_width)


def _roi_align_shape(images, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio, aligned):
    return images.new_empty(rois.shape[0], images.shape[1], pooled_height, pooled_width)


def _roi_align_save(ctx, inputs, output):
    images, rois, *ctx.settings = inputs
    ctx.save_for_backward(images, rois)


def _roi_align_backward(ctx, grad):
    images, rois = ctx.saved_tensors
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        (images_grad,) = torch.autograd.grad(roi_align(images, rois, *ctx.settings), images, grad)
    return images_grad, *[None] * 6


def _extension_loads() -> bool:
    """Whether torchvision's own C extension can be loaded into this PyTorch."""
    from importlib.machinery import PathFinder
    from importlib.util import find_spec

    package = find_spec("torchvision")
    if package is None:
        raise ModuleNotFoundError("torchvision is not installed")
    extension = PathFinder.find_spec("_C", package.submodule_search_locations)
    try:
        torch.ops.load_library(extension.origin)
    except (AttributeError, OSError):
        return False
    return True


def _import_with_own_operators() -> None:
    """Declare the operators, import torchvision, and tell it that they are there."""
    for schema in _SCHEMAS:
        _LIBRARY.define(schema)
    _LIBRARY.impl("nms", nms, "CPU")
    _LIBRARY.impl("roi_align", roi_align, "CPU")
    torch.library.register_fake("torchvision::roi_align", _roi_align_shape, lib=_LIBRARY)
    torch.library.register_autograd(
        "torchvision::roi_align", _roi_align_backward, setup_context=_roi_align_save, lib=_LIBRARY
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its image reader does not load either; no model needs it
        import torchvision  # noqa: F401
    for module in ("torchvision.extension", "torchvision.ops.roi_align"):
        sys.modules[module]._has_ops = lambda: True


if "torchvision" not in sys.modules and not _extension_loads():
    _import_with_own_operators()
else:
    import torchvision  # noqa: F401
