"""Operators that treat every element alike: aligned dimensions stand for the same indices."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from secateurs.structure import axis as ax
from secateurs.structure.axis import ONE, Axis
from secateurs.structure.rules.registry import rule
from secateurs.structure.tensors import tensors_in
from secateurs.structure.unify import unify

if TYPE_CHECKING:
    from secateurs.structure.flow import Flow


@rule(
    "pointwise",  # whatever carries torch.Tag.pointwise
    "aten::hardswish",
    "aten::_prelu_kernel",
    "aten::copy",
    "aten::_to_copy",
    "aten::native_dropout",
    "aten::zeros_like",
    "aten::ones_like",
    "aten::empty_like",
    "aten::full_like",
    "aten::rand_like",
    "aten::randn_like",
    "aten::bernoulli",
    "aten::fill",
    "aten::zero",
    "aten::log_sigmoid_forward",
    "aten::floor_divide",
)
def pointwise(flow: Flow, out: Any, *args: Any, **kwargs: Any) -> Any:
    """Align from the right, as broadcasting does; a dimension of size one yields to the other."""
    tensors = tensors_in(args, kwargs)
    result: list[Axis] = []
    for aligned in zip_longest(*(reversed(flow.axes(t)) for t in tensors), fillvalue=ONE):
        wide = [axis for axis in aligned if axis.size > 1] or [ONE]
        for other in wide[1:]:
            unify(wide[0], other)
        result.append(wide[0])
    axes = tuple(reversed(result))
    return [axes for _ in out] if isinstance(out, list) else axes


@rule(
    *(
        f"aten::{prefix}{name}"
        for prefix in ("", "new_")
        for name in ("zeros", "ones", "empty", "full", "empty_strided")
    )
)
def new_tensor(flow: Flow, out: Any, *_: Any, **__: Any) -> Any:
    """Its size is in the code that asks for it, which can follow a cut if it takes the size from an attribute."""
    axes = []
    for size in out.shape:
        axes.append(ax.new(size, None if flow.holds(size) else f"its size is set where {flow.operator} makes it"))
        flow.sized(axes[-1])
    return tuple(axes)
