"""Rules of joining, splitting, selecting and padding along a dimension."""

from __future__ import annotations

from typing import Any

from secateurs.structure import axis as ax
from secateurs.structure.flow import Flow
from secateurs.structure.rules.registry import rule
from secateurs.structure.unify import pieces, unify


@rule("aten::cat")
def cat(flow: Flow, out: Any, tensors: Any, dim: int = 0) -> Any:
    """Join along one dimension; the others are unified."""
    first, *rest = (flow.axes(t) for t in tensors if t.ndim == out.ndim)  # torch also accepts 1-D empty tensors
    dim %= out.ndim
    for axes in rest:
        for d, axis in enumerate(axes):
            if d != dim:
                unify(axis, first[d])
    joined = ax.concat([axes[dim] for axes in (first, *rest)])
    return (*first[:dim], joined, *first[dim + 1 :])


@rule("aten::stack")
def stack(flow: Flow, out: Any, tensors: Any, dim: int = 0) -> Any:
    """Join along a new dimension, which is frozen."""
    first, *rest = (flow.axes(t) for t in tensors)
    for axes in rest:
        for axis, first_axis in zip(axes, first, strict=True):
            unify(axis, first_axis)
    result = list(first)
    result.insert(dim % out.ndim, ax.new(len(tensors), "a stack of tensors"))
    return tuple(result)


@rule("aten::split", "aten::split_with_sizes", "aten::chunk", "aten::unsafe_split", "aten::unsafe_chunk")
def split_apart(flow: Flow, out: Any, x: Any, size: Any, dim: int = 0) -> Any:
    """Split one dimension into pieces; if the code gives one size for all pieces, they must keep equal sizes."""
    outs = out if isinstance(out, list) else [out]
    axes = flow.axes(x)
    dim %= len(axes)
    parts = pieces(axes[dim], [t.shape[dim] for t in outs])
    if parts is None:
        return [()]
    if not isinstance(size, int):
        flow.sized_together(parts)
    for part in parts:
        flow.sized(part)
        if isinstance(size, int) and part.size == parts[0].size:
            unify(part, parts[0])
    return [(*axes[:dim], part, *axes[dim + 1 :]) for part in parts]


@rule("aten::slice", kind="selection")
def slice_(flow: Flow, out: Any, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    """Take a range of one dimension; with a step, the dimension is frozen."""
    axes = flow.axes(x)
    size = axes[dim].size
    first = min(max((start or 0) + (size if (start or 0) < 0 else 0), 0), size)
    if out.shape[dim] == size:
        return axes
    parts = None if step != 1 else pieces(axes[dim], [first, out.shape[dim], size - first - out.shape[dim]])
    if parts is None:
        flow.freeze(axes[dim], "sliced with a step or across units")
        parts = [ax.NONE, ax.new(out.shape[dim], "a slice with a step or across units")]
    result = list(axes)
    result[dim] = parts[1]
    return tuple(result)


@rule("aten::unbind")
@rule("aten::select", kind="selection")
def select(flow: Flow, out: Any, x: Any, dim: int = 0, index: int = 0) -> Any:
    """Take single indices of one dimension, which is frozen."""
    axes = list(flow.axes(x))
    flow.freeze(axes.pop(dim), "single indices of this axis are selected")
    return [tuple(axes) for _ in out] if isinstance(out, list) else tuple(axes)


@rule("aten::flip")
@rule("aten::roll", kind="selection")
def shuffle_indices(flow: Flow, out: Any, x: Any, *args: Any) -> Any:
    """Reorder the indices of some dimensions, which are frozen."""
    axes = flow.axes(x)
    for dim in args[-1]:
        flow.freeze(axes[dim], "the indices of this axis are reordered")
    return axes


@rule("aten::constant_pad_nd")
def constant_pad(flow: Flow, out: Any, x: Any, pad: Any, value: float = 0) -> Any:
    """Add constant indices on both sides of a dimension."""
    axes = list(flow.axes(x))
    for d, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True), start=1):
        if before < 0 or after < 0:
            return ()
        axes[-d] = ax.concat([ax.new(before, "padding"), axes[-d], ax.new(after, "padding")])
    return tuple(axes)


@rule("aten::glu", kind="activation")
def glu(flow: Flow, out: Any, x: Any, dim: int = -1) -> Any:
    """Multiply the first half of a dimension by a gate of the second half: both halves are unified."""
    axes = list(flow.axes(x))
    halves = pieces(axes[dim], [out.shape[dim]] * 2)
    if halves is None:
        return ()
    unify(*halves)
    axes[dim] = halves[0]
    return tuple(axes)
