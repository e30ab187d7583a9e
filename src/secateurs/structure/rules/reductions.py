"""Rules of pooling and reductions: some dimensions shrink or disappear, and the other axes are passed on."""

from __future__ import annotations

import re
from typing import Any

from secateurs.structure import axis as ax
from secateurs.structure.flow import Flow
from secateurs.structure.rules.registry import rule
from secateurs.structure.unify import unify

POOLS = (
    [f"aten::{kind}_pool{n}d" for kind in ("avg", "_adaptive_avg", "adaptive_avg") for n in (1, 2, 3)]
    + [f"aten::max_pool{n}d_with_indices" for n in (1, 2, 3)]
    + [f"aten::adaptive_max_pool{n}d" for n in (1, 2, 3)]
    + [f"aten::{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)]
)
UPSAMPLING = [
    f"aten::{name}"
    for name in (
        "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d "
        "_upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d "
        "_upsample_bilinear2d_aa _upsample_bicubic2d_aa"
    ).split()
]


@rule("aten::grid_sampler_2d", "aten::grid_sampler_3d")
def sample_grid(flow: Flow, out: Any, x: Any, grid: Any, *_: Any, **__: Any) -> Any:
    """Read values at the positions in a grid."""
    axes, grid_axes = flow.axes(x), flow.axes(grid)
    flow.freeze([*axes[2:], *grid_axes[1:]], "sampled positions")
    unify(axes[0], grid_axes[0])
    return (*axes[:2], *(ax.new(n, "sampled positions") for n in out.shape[2:]))


@rule(*POOLS, *UPSAMPLING)
def resample(flow: Flow, out: Any, x: Any, *_: Any, **__: Any) -> Any:
    """The last dimensions are positions and are frozen; the axes before them are passed on."""
    outs = out if isinstance(out, list) else [out]
    axes = flow.axes(x)
    spatial = int(re.findall(r"(\d)d", flow.operator)[0])
    reason = f"positions of {flow.operator}"
    flow.freeze(axes[-spatial:], reason)
    leading = axes[:-spatial]
    results = [(*leading, *ax.positions(t.shape[-spatial:], reason)) for t in outs]
    return results if isinstance(out, list) else results[0]


@rule("aten::sum", "aten::linalg_vector_norm")
def total(flow: Flow, out: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """A sum. Removal is exact if the values of removed units are zero; verification checks this."""
    dims = next((a for a in args if isinstance(a, (list, tuple))), None)
    return _reduce(flow, out, x, dims)[0]


@rule("aten::mean", "aten::var", "aten::std", "aten::var_mean")
def average(flow: Flow, out: Any, x: Any, dims: Any = None, *_: Any, **__: Any) -> Any:
    """An average. Removal changes the divisor, so it is inexact."""
    axes, reduced = _reduce(flow, out, x, dims)
    for axis in reduced:
        ax.mark_inexact(axis, f"{flow.operator} averages over these units")
    return [axes for _ in out] if isinstance(out, list) else axes


@rule(*(f"aten::{name}" for name in "amax amin max min argmax argmin prod any all logsumexp median".split()))
def extreme(flow: Flow, out: Any, x: Any, dims: Any = None, *args: Any, **kwargs: Any) -> Any:
    """The result may depend on any single unit, so the dimension is frozen."""
    if hasattr(dims, "shape"):  # max(x, other), an elementwise form that torch does not tag as pointwise
        return ()
    axes, reduced = _reduce(flow, out, x, dims)
    flow.freeze(reduced, f"{flow.operator} reduces this axis")
    return [axes for _ in out] if isinstance(out, list) else axes


@rule(
    "aten::_softmax",
    "aten::_safe_softmax",
    "aten::_log_softmax",
    "aten::cumsum",
    "aten::cumprod",
    "aten::logcumsumexp",
)
@rule("aten::sort", kind="selection")
def along(flow: Flow, out: Any, x: Any, dim: Any = -1, *_: Any, **__: Any) -> Any:
    """Values along the dimension depend on each other, so it is frozen unless it is an axis of experts."""
    axes = flow.axes(x)
    if axes:
        ax.mark_softmax_group(axes[dim], f"{flow.operator} runs along this axis")
    return [axes for _ in out] if isinstance(out, list) else axes


@rule("aten::histc", "aten::bincount")
def histogram(flow: Flow, out: Any, x: Any, *_: Any, **__: Any) -> Any:
    """Count equal values; if the values are indices of an axis, there is one count per index of that axis."""
    counted = flow.indexes_axis(x)
    if counted is None or counted.size != out.shape[0]:
        return ()
    flow.sized(counted)
    return (counted,)


def _reduce(flow: Flow, out: Any, x: Any, dims: Any) -> tuple[tuple[Any, ...], list[Any]]:
    """The axes of the result of a reduction over `dims` (all if None or empty), and the reduced axes."""
    axes = flow.axes(x)
    dims = [dims] if isinstance(dims, int) else dims or range(len(axes))
    reduced = {d % len(axes) for d in dims} if axes else set()
    first = out[0] if isinstance(out, list) else out
    if first.ndim == len(axes):
        result = tuple(ax.ONE if d in reduced else axis for d, axis in enumerate(axes))
    else:
        result = tuple(axis for d, axis in enumerate(axes) if d not in reduced)
    return result, [axes[d] for d in sorted(reduced)]
