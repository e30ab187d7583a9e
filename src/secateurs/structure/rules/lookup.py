"""Reading and writing by index: the indexed dimensions stay whole, the axes of the others flow on."""

from __future__ import annotations

from typing import Any

from secateurs.structure import axis as ax
from secateurs.structure.flow import Flow
from secateurs.structure.rules.registry import rule
from secateurs.structure.unify import unify

INDEXED = "looked up by index"
CHOSEN = "the largest values along it are chosen"


@rule("aten::embedding")
def embedding(flow: Flow, out: Any, weight: Any, indices: Any, *_: Any, **__: Any) -> Any:
    """Rows of a table; the rows are a vocabulary and stay."""
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
    passed = [axis for dim, axis in enumerate(axes) if dim not in used]
    adjacent = used == list(range(used[0], used[-1] + 1))
    first = used[0] if adjacent else 0
    size = out.ndim - len(passed)
    fresh = [ax.new(n, INDEXED) for n in out.shape[first : first + size]]
    batches = flow.axes(indices[used[0]]) if len(used) == 1 else ()
    if len(batches) == size and [a.size for a in batches] == [a.size for a in fresh]:
        fresh = list(batches)
    return (*passed[:first], *fresh, *passed[first:])


@rule("aten::index_put")
def index_put(flow: Flow, out: Any, x: Any, indices: Any, values: Any, *_: Any) -> Any:
    """`x[i] = values`: the dimensions that are not indexed are the last ones of the values."""
    axes = flow.axes(x)
    used = _indexed(flow, x, indices)
    others = [axis for dim, axis in enumerate(axes) if dim not in used]
    value_axes = flow.axes(values)
    if used != list(range(len(used))):
        flow.freeze([*others, *value_axes], "written by index")
    tail = value_axes[max(len(value_axes) - len(others), 0) :]
    for axis, other in zip(reversed(others), reversed(tail), strict=False):
        if other.size > 1:
            unify(axis, other)
    return axes


@rule("aten::index_select", kind="selection")
def index_select(flow: Flow, out: Any, x: Any, dim: int, indices: Any) -> Any:
    """Select indices of one dimension, which stays whole."""
    axes = list(flow.axes(x))
    flow.freeze(axes[dim], INDEXED)
    axes[dim] = ax.new(out.shape[dim], INDEXED)
    return tuple(axes)


@rule("aten::index_add", "aten::index_copy", "aten::index_reduce")
def index_add(flow: Flow, out: Any, x: Any, dim: int, indices: Any, source: Any, *_: Any, **__: Any) -> Any:
    """Write rows at indices of one dimension, which stays whole; the other dimensions are unified."""
    axes, source_axes = flow.axes(x), flow.axes(source)
    dim %= len(axes)
    flow.freeze([axes[dim], source_axes[dim]], "written by index")
    for d, (axis, other) in enumerate(zip(axes, source_axes, strict=True)):
        if d != dim:
            unify(axis, other)
    return axes


@rule("aten::topk")
def topk(flow: Flow, out: Any, x: Any, k: int, dim: int = -1, *_: Any) -> Any:
    """Choose the largest values along one dimension, which stays whole unless it is the one of experts."""
    axes = list(flow.axes(x))
    ax.mark_softmax_group(axes[dim], CHOSEN)
    flow.mark_indices(out[1], axes[dim], least=k)
    axes[dim] = ax.new(k, CHOSEN)
    return [tuple(axes), tuple(axes)]


@rule("aten::gather")
def gather(flow: Flow, out: Any, x: Any, dim: int, indices: Any, *_: Any, **__: Any) -> Any:
    """Select indices of one dimension, which stays whole unless a router chose them; the others are unified."""
    axes, index_axes = flow.axes(x), flow.axes(indices)
    dim %= max(len(axes), 1)
    _looked_up(flow, x, dim, indices)
    for d, (axis, other) in enumerate(zip(axes, index_axes, strict=True)):
        if d != dim and axis.size == other.size:
            unify(axis, other)
        elif d != dim:
            flow.freeze([axis, other], INDEXED)
    return index_axes


@rule("aten::nonzero")
def nonzero(flow: Flow, out: Any, x: Any) -> Any:
    """The positions of values that are not zero; they depend on the data."""
    flow.freeze(flow.axes(x), "its values choose places")
    return tuple(ax.new(n, "its values choose places") for n in out.shape)


def _looked_up(flow: Flow, x: Any, dim: int, indices: Any) -> None:
    """Freeze an indexed dimension, unless the indices were chosen from it: then fewer can be chosen from."""
    axis, pointed = flow.axes(x)[dim], flow.indexes_axis(indices)
    if pointed is None or pointed.size != axis.size:
        flow.freeze(axis, INDEXED)
        return
    unify(axis, pointed)
    if flow.is_constant(x):
        flow.mark_experts(axis)


def _indexed(flow: Flow, x: Any, indices: Any) -> list[int]:
    """The dimensions that are indexed; a boolean mask indexes as many as it has itself."""
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
