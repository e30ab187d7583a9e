"""Rules of reading and writing by index: indexed dimensions are frozen, and the other axes are passed on."""

from __future__ import annotations

from typing import Any

from secateurs.structure import axis as ax
from secateurs.structure.flow import Flow
from secateurs.structure.rules.registry import rule
from secateurs.structure.unify import unify

INDEXED = "looked up by index"
CHOSEN = "the largest values along this axis are chosen"


@rule("aten::embedding")
def embedding(flow: Flow, out: Any, weight: Any, indices: Any, *_: Any, **__: Any) -> Any:
    """Look up rows of a table; the rows are a vocabulary and are frozen."""
    rows, width = flow.axes(weight)
    flow.freeze(rows, "vocabulary rows")
    flow.mark_table(weight)
    flow.produce(*flow.axes(indices), width)
    flow.sized(width, "embedding_dim", weight)
    return (*flow.axes(indices), width)


@rule("aten::_unsafe_index")
@rule("aten::index", kind="selection")
def index(flow: Flow, out: Any, x: Any, indices: Any) -> Any:
    """`x[i, :, j]` with integer tensors: their broadcast shape replaces the indexed dimensions."""
    axes = flow.axes(x)
    used = _indexed(flow, x, indices)
    unindexed = [axis for dim, axis in enumerate(axes) if dim not in used]
    adjacent = used == list(range(used[0], used[-1] + 1))
    first = used[0] if adjacent else 0
    size = out.ndim - len(unindexed)
    indexed = [ax.new(n, INDEXED) for n in out.shape[first : first + size]]
    index_axes = flow.axes(indices[used[0]]) if len(used) == 1 else ()
    if len(index_axes) == size and [a.size for a in index_axes] == [a.size for a in indexed]:
        indexed = list(index_axes)
    return (*unindexed[:first], *indexed, *unindexed[first:])


@rule("aten::index_put")
def index_put(flow: Flow, out: Any, x: Any, indices: Any, values: Any, *_: Any) -> Any:
    """`x[i] = values`: the dimensions without an index are the last dimensions of the values."""
    axes = flow.axes(x)
    used = _indexed(flow, x, indices)
    unindexed = [axis for dim, axis in enumerate(axes) if dim not in used]
    value_axes = flow.axes(values)
    if used != list(range(len(used))):
        flow.freeze([*unindexed, *value_axes], "written by index")
    tail = value_axes[max(len(value_axes) - len(unindexed), 0) :]
    for axis, value_axis in zip(reversed(unindexed), reversed(tail), strict=False):
        if value_axis.size > 1:
            unify(axis, value_axis)
    return axes


@rule("aten::index_select", kind="selection")
def index_select(flow: Flow, out: Any, x: Any, dim: int, indices: Any) -> Any:
    """Select indices of one dimension, which is frozen."""
    axes = list(flow.axes(x))
    flow.freeze(axes[dim], INDEXED)
    axes[dim] = ax.new(out.shape[dim], INDEXED)
    return tuple(axes)


@rule("aten::index_add", "aten::index_copy", "aten::index_reduce")
def index_add(flow: Flow, out: Any, x: Any, dim: int, indices: Any, source: Any, *_: Any, **__: Any) -> Any:
    """Write rows at indices of one dimension, which is frozen; the other dimensions are unified."""
    axes, source_axes = flow.axes(x), flow.axes(source)
    dim %= len(axes)
    flow.freeze([axes[dim], source_axes[dim]], "written by index")
    for d, (axis, source_axis) in enumerate(zip(axes, source_axes, strict=True)):
        if d != dim:
            unify(axis, source_axis)
    return axes


@rule("aten::topk")
def topk(flow: Flow, out: Any, x: Any, k: int, dim: int = -1, *_: Any) -> Any:
    """Choose the largest values along one dimension, which is frozen unless it is an axis of experts."""
    axes = list(flow.axes(x))
    ax.mark_softmax_group(axes[dim], CHOSEN)
    flow.mark_indices(out[1], axes[dim], least=k)
    axes[dim] = ax.new(k, CHOSEN)
    return [tuple(axes), tuple(axes)]


@rule("aten::gather")
def gather(flow: Flow, out: Any, x: Any, dim: int, indices: Any, *_: Any, **__: Any) -> Any:
    """Select indices of one dimension, which is frozen unless a router chose them; the others are unified."""
    axes, index_axes = flow.axes(x), flow.axes(indices)
    dim %= max(len(axes), 1)
    _looked_up(flow, x, dim, indices)
    for d, (axis, index_axis) in enumerate(zip(axes, index_axes, strict=True)):
        if d != dim and axis.size == index_axis.size:
            unify(axis, index_axis)
        elif d != dim:
            flow.freeze([axis, index_axis], INDEXED)
    return index_axes


@rule("aten::nonzero")
def nonzero(flow: Flow, out: Any, x: Any) -> Any:
    """List the positions of values that are not zero, which depend on the data."""
    reason = "the positions of nonzero values depend on the data"
    flow.freeze(flow.axes(x), reason)
    return tuple(ax.new(n, reason) for n in out.shape)


def _looked_up(flow: Flow, x: Any, dim: int, indices: Any) -> None:
    """Freeze an indexed dimension, unless the indices were chosen from an axis that can lose indices as well."""
    axis, index_axis = flow.axes(x)[dim], flow.indexes_axis(indices)
    if index_axis is None or index_axis.size != axis.size:
        flow.freeze(axis, INDEXED)
        return
    unify(axis, index_axis)
    if flow.is_constant(x):
        flow.mark_experts(axis)


def _indexed(flow: Flow, x: Any, indices: Any) -> list[int]:
    """List the indexed dimensions; a boolean mask indexes one dimension for each dimension of the mask."""
    used: list[int] = []
    dim = 0
    for i in indices:
        width = 1 if i is None or i.dtype.itemsize > 1 else i.ndim
        if i is not None:
            used += range(dim, dim + width)
            for d in used[-width:]:
                _looked_up(flow, x, d, i)
        dim += width
    return used
