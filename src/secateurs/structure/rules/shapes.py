"""Operators that move elements about without changing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from secateurs.structure import axis as ax
from secateurs.structure.rules.registry import rule
from secateurs.structure.unify import pieces, reshape, split, unify

if TYPE_CHECKING:
    from secateurs.structure.flow import Flow


@rule("aten::detach", "aten::alias", "aten::lift_fresh", "aten::contiguous", "aten::positive")
def same(flow: Flow, out: Any, x: Any, *_: Any, **__: Any) -> Any:
    """Nothing moves."""
    return flow.axes(x)


@rule("aten::view", "aten::_unsafe_view", "aten::reshape", "aten::_reshape_alias")
def view(flow: Flow, out: Any, x: Any, size: Any, *_: Any) -> Any:
    """Row-major merge and split; where the factors do not fit, everything is frozen by the tracer."""
    axes = reshape(flow.axes(x), out.shape)
    for axis in axes or ():
        flow.sized(axis)
    return tuple(axes or ())


@rule("aten::as_strided")
def as_strided(flow: Flow, out: Any, x: Any, *_: Any) -> Any:
    """Only where it changes nothing but the strides of dimensions of size one."""
    same = [s for s, n in zip(out.stride(), out.shape, strict=True) if n > 1] == [
        s for s, n in zip(x.stride(), x.shape, strict=True) if n > 1
    ]
    return flow.axes(x) if same and out.shape == x.shape and out.storage_offset() == x.storage_offset() else ()


@rule("aten::t")
def transpose_matrix(flow: Flow, out: Any, x: Any) -> Any:
    """Reverse at most two dimensions."""
    return flow.axes(x)[::-1]


@rule("aten::transpose")
def transpose(flow: Flow, out: Any, x: Any, first: int, second: int) -> Any:
    """Swap two dimensions."""
    axes = list(flow.axes(x))
    axes[first], axes[second] = axes[second], axes[first]
    return tuple(axes)


@rule("aten::permute")
def permute(flow: Flow, out: Any, x: Any, dims: Any) -> Any:
    """Reorder dimensions."""
    return tuple(flow.axes(x)[dim] for dim in dims)


@rule("aten::unsqueeze")
def unsqueeze(flow: Flow, out: Any, x: Any, dim: int) -> Any:
    """Insert a dimension of size one."""
    axes = list(flow.axes(x))
    axes.insert(dim % (len(axes) + 1), ax.ONE)
    return tuple(axes)


@rule("aten::squeeze")
def squeeze(flow: Flow, out: Any, x: Any, dim: Any = None) -> Any:
    """Drop dimensions of size one."""
    axes = flow.axes(x)
    dims = range(len(axes)) if dim is None else [dim] if isinstance(dim, int) else dim
    gone = {d % len(axes) for d in dims if axes and axes[d].size == 1}
    return tuple(axis for d, axis in enumerate(axes) if d not in gone)


@rule("aten::expand")
def expand(flow: Flow, out: Any, x: Any, size: Any, **_: Any) -> Any:
    """Repeat dimensions of size one: a fresh axis, to follow whatever it is combined with as a whole."""
    axes = flow.axes(x)
    axes = (ax.ONE,) * (out.ndim - len(axes)) + axes
    result = tuple(a if a.size == n else ax.new(n) for a, n in zip(axes, out.shape, strict=True))
    for axis, old in zip(result, axes, strict=True):
        flow.sized(axis)
        if axis is not old:
            flow.repeated.append(axis)
    return result


@rule("aten::repeat")
def repeat(flow: Flow, out: Any, x: Any, times: Any) -> Any:
    """Tile: index (repetition, original)."""
    axes = flow.axes(x)
    axes = (ax.ONE,) * (out.ndim - len(axes)) + axes
    return tuple(ax.product([ax.new(n, "number of repetitions"), axis]) for n, axis in zip(times, axes, strict=True))


@rule("aten::cat")
def cat(flow: Flow, out: Any, tensors: Any, dim: int = 0) -> Any:
    """Join along one dimension; the others are the same."""
    every = [flow.axes(t) for t in tensors if t.ndim == out.ndim]  # torch lets 1-D empty tensors pass
    dim %= out.ndim
    for other in every[1:]:
        for d, axis in enumerate(other):
            if d != dim:
                unify(axis, every[0][d])
    joined = ax.concat([axes[dim] for axes in every])
    return (*every[0][:dim], joined, *every[0][dim + 1 :])


@rule("aten::stack")
def stack(flow: Flow, out: Any, tensors: Any, dim: int = 0) -> Any:
    """Join along a new dimension, which stays whole."""
    every = [flow.axes(t) for t in tensors]
    for other in every[1:]:
        for axis, first in zip(other, every[0], strict=True):
            unify(axis, first)
    axes = list(every[0])
    axes.insert(dim % out.ndim, ax.new(len(every), "a stack of tensors"))
    return tuple(axes)


@rule("aten::split", "aten::split_with_sizes", "aten::chunk", "aten::unsafe_split", "aten::unsafe_chunk")
def split_apart(flow: Flow, out: Any, x: Any, size: Any, dim: int = 0) -> Any:
    """Cut one dimension into pieces; code that asks for equal pieces will ask so again, so they shrink alike."""
    outs = out if isinstance(out, list) else [out]
    axes = flow.axes(x)
    dim %= len(axes)
    parts = pieces(axes[dim], [t.shape[dim] for t in outs])
    if parts is None:
        return [()]
    if not isinstance(size, int):
        flow.split_into(parts)
    for part in parts:
        flow.sized(part)
        if isinstance(size, int) and part.size == parts[0].size:
            unify(part, parts[0])
    return [(*axes[:dim], part, *axes[dim + 1 :]) for part in parts]


@rule("aten::slice")
def slice_(flow: Flow, out: Any, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    """A range of one dimension; with a step, that dimension stays whole."""
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


@rule("aten::select", "aten::unbind")
def select(flow: Flow, out: Any, x: Any, dim: int = 0, index: int = 0) -> Any:
    """Single indices of one dimension, which stays whole."""
    axes = list(flow.axes(x))
    flow.freeze(axes.pop(dim), "single indices of it are selected")
    return [tuple(axes) for _ in out] if isinstance(out, list) else tuple(axes)


@rule("aten::flip", "aten::roll")
def shuffle_indices(flow: Flow, out: Any, x: Any, *args: Any) -> Any:
    """Reorder the indices of some dimensions, which stay whole."""
    axes = flow.axes(x)
    for dim in args[-1]:
        flow.freeze(axes[dim], "its indices are reordered")
    return axes


@rule("aten::channel_shuffle")
def channel_shuffle(flow: Flow, out: Any, x: Any, groups: int) -> Any:
    """[groups × inside] becomes [inside × groups]."""
    axes = flow.axes(x)
    both = split(axes[1], groups)
    return (axes[0], ax.product([both[1], both[0]]), *axes[2:]) if both else ()


@rule("aten::pixel_shuffle")
def pixel_shuffle(flow: Flow, out: Any, x: Any, factor: int) -> Any:
    """[..., C × r × r, H, W] becomes [..., C, H × r, W × r]."""
    (*batch, channels, height, width) = flow.axes(x)
    both = split(channels, channels.size // factor**2)
    if both is None:
        return ()
    flow.freeze([both[1], height, width], "pixel shuffle")
    return (*batch, both[0], *(ax.new(n, "pixel shuffle") for n in out.shape[-2:]))


@rule("aten::pixel_unshuffle")
def pixel_unshuffle(flow: Flow, out: Any, x: Any, factor: int) -> Any:
    """[..., C, H × r, W × r] becomes [..., C × r × r, H, W]."""
    (*batch, channels, height, width) = flow.axes(x)
    flow.freeze([height, width], "pixel shuffle")
    merged = ax.product([channels, ax.new(factor**2, "pixel shuffle")])
    return (*batch, merged, *(ax.new(n, "pixel shuffle") for n in out.shape[-2:]))


@rule("aten::constant_pad_nd")
def constant_pad(flow: Flow, out: Any, x: Any, pad: Any, value: float = 0) -> Any:
    """Fixed indices on either side of a dimension."""
    axes = list(flow.axes(x))
    for d, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True), start=1):
        if before < 0 or after < 0:
            return ()
        axes[-d] = ax.concat([ax.new(before, "padding"), axes[-d], ax.new(after, "padding")])
    return tuple(axes)


@rule("aten::glu")
def glu(flow: Flow, out: Any, x: Any, dim: int = -1) -> Any:
    """The first half of a dimension gated by the second: both halves go together."""
    axes = list(flow.axes(x))
    halves = pieces(axes[dim], [out.shape[dim]] * 2)
    if halves is None:
        return ()
    unify(*halves)
    axes[dim] = halves[0]
    return tuple(axes)


@rule("aten::im2col")
def im2col(flow: Flow, out: Any, x: Any, *_: Any) -> Any:
    """Patches: [N, C, H, W] becomes [N, C × taps, positions]."""
    axes = flow.axes(x)
    flow.freeze(axes[2:], "spatial dimension of patches")
    taps = out.shape[1] // axes[1].size
    return axes[0], ax.product([axes[1], ax.new(taps, "kernel tap")]), ax.new(out.shape[2], "positions of patches")


@rule("aten::col2im")
def col2im(flow: Flow, out: Any, x: Any, *_: Any) -> Any:
    """Patches put together: [N, C × taps, positions] becomes [N, C, H, W]."""
    axes = flow.axes(x)
    both = split(axes[1], out.shape[1])
    if both is None:
        return ()
    flow.freeze([both[1], axes[2]], "kernel tap")
    return axes[0], both[0], *(ax.new(n, "spatial dimension of patches") for n in out.shape[2:])
