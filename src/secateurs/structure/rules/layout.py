"""Rules of views, transpositions and repetitions, which change the layout of values."""

from __future__ import annotations

from typing import Any

from secateurs.structure import axis as ax
from secateurs.structure.flow import Flow
from secateurs.structure.rules.registry import rule
from secateurs.structure.unify import reshape


@rule("aten::lift_fresh", "aten::positive")
@rule("aten::detach", "aten::alias", "aten::contiguous", kind="layout")
def same(flow: Flow, out: Any, x: Any, *_: Any, **__: Any) -> Any:
    """The result has the axes of the argument."""
    return flow.axes(x)


@rule("aten::view", "aten::_unsafe_view", "aten::reshape", "aten::_reshape_alias", kind="layout")
def view(flow: Flow, out: Any, x: Any, size: Any, *_: Any) -> Any:
    """Merge and split dimensions in row-major order; if the factors do not fit, the tracer freezes all axes."""
    axes = reshape(flow.axes(x), out.shape)
    for axis in axes or ():
        flow.sized(axis)
    return tuple(axes or ())


@rule("aten::as_strided")
def as_strided(flow: Flow, out: Any, x: Any, *_: Any) -> Any:
    """Supported only if nothing changes except the strides of dimensions of size one."""
    equal_strides = [s for s, n in zip(out.stride(), out.shape, strict=True) if n > 1] == [
        s for s, n in zip(x.stride(), x.shape, strict=True) if n > 1
    ]
    return flow.axes(x) if equal_strides and out.shape == x.shape and out.storage_offset() == x.storage_offset() else ()


@rule("aten::t", kind="layout")
def transpose_matrix(flow: Flow, out: Any, x: Any) -> Any:
    """Reverse at most two dimensions."""
    return flow.axes(x)[::-1]


@rule("aten::transpose", kind="layout")
def transpose(flow: Flow, out: Any, x: Any, first: int, second: int) -> Any:
    """Swap two dimensions."""
    axes = list(flow.axes(x))
    axes[first], axes[second] = axes[second], axes[first]
    return tuple(axes)


@rule("aten::permute", kind="layout")
def permute(flow: Flow, out: Any, x: Any, dims: Any) -> Any:
    """Reorder dimensions."""
    return tuple(flow.axes(x)[dim] for dim in dims)


@rule("aten::unsqueeze", kind="layout")
def unsqueeze(flow: Flow, out: Any, x: Any, dim: int) -> Any:
    """Insert a dimension of size one."""
    axes = list(flow.axes(x))
    axes.insert(dim % (len(axes) + 1), ax.ONE)
    return tuple(axes)


@rule("aten::squeeze", kind="layout")
def squeeze(flow: Flow, out: Any, x: Any, dim: Any = None) -> Any:
    """Drop dimensions of size one."""
    axes = flow.axes(x)
    dims = range(len(axes)) if dim is None else [dim] if isinstance(dim, int) else dim
    dropped = {d % len(axes) for d in dims if axes and axes[d].size == 1}
    return tuple(axis for d, axis in enumerate(axes) if d not in dropped)


@rule("aten::expand", kind="layout")
def expand(flow: Flow, out: Any, x: Any, size: Any, **_: Any) -> Any:
    """Repeat dimensions of size one: each becomes a new axis, which later operators may unify with another axis."""
    axes = flow.axes(x)
    axes = (ax.ONE,) * (out.ndim - len(axes)) + axes
    result = tuple(a if a.size == n else ax.new(n) for a, n in zip(axes, out.shape, strict=True))
    for axis, old in zip(result, axes, strict=True):
        flow.sized(axis)
        if axis is not old:
            flow.mark_repeated(axis)
    return result


@rule("aten::repeat")
def repeat(flow: Flow, out: Any, x: Any, times: Any) -> Any:
    """Tile: each index becomes a pair (repetition, original index)."""
    axes = flow.axes(x)
    axes = (ax.ONE,) * (out.ndim - len(axes)) + axes
    return tuple(ax.product([ax.new(n, "number of repetitions"), axis]) for n, axis in zip(times, axes, strict=True))
