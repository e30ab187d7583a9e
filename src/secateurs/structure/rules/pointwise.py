"""Rules of elementwise operators: aligned dimensions are unified."""

from __future__ import annotations

import math
from itertools import zip_longest
from typing import Any

from secateurs.structure import axis as ax
from secateurs.structure.axis import ONE, Axis
from secateurs.structure.flow import Flow
from secateurs.structure.rules.registry import POINTWISE, rule
from secateurs.structure.tensors import tensors_in
from secateurs.structure.unify import unify

SCALE = "the scale of the attention depends on the number of these units"
ACTIVATIONS = (
    "relu gelu silu mish tanh elu celu selu leaky_relu hardtanh hardswish hardshrink softshrink threshold "
    "log_sigmoid_forward _prelu_kernel clamp clamp_min clamp_max"
).split()
CREATORS = [f"{prefix}{name}" for prefix in ("", "new_") for name in "zeros ones empty full empty_strided".split()]


@rule(*(f"aten::{name}" for name in ACTIVATIONS), kind="activation")
@rule("aten::sigmoid", "aten::hardsigmoid", "aten::softplus", kind="positive_activation")
@rule("aten::add", "aten::sub", "aten::div", "aten::native_dropout", kind="affine")
@rule("aten::clone", "aten::_to_copy", kind="layout")
@rule(*(f"aten::{name}_like" for name in "zeros ones empty full rand randn".split()))
@rule("aten::copy", "aten::bernoulli", "aten::fill", "aten::zero", "aten::floor_divide")
@rule(POINTWISE)
def pointwise(flow: Flow, out: Any, *args: Any, **kwargs: Any) -> Any:
    """Align dimensions from the right, as broadcasting does, and unify all axes that are larger than one."""
    tensors = tensors_in(args, kwargs)
    result: list[Axis] = []
    for aligned in zip_longest(*(reversed(flow.axes(t)) for t in tensors), fillvalue=ONE):
        first, *rest = [axis for axis in aligned if axis.size > 1] or [ONE]
        for axis in rest:
            unify(first, axis)
        result.append(first)
    axes = tuple(reversed(result))
    return [axes for _ in out] if isinstance(out, list) else axes


@rule("aten::mul", kind="affine")
def multiply(flow: Flow, out: Any, x: Any, other: Any) -> Any:
    """An elementwise product; in unfused attention, a factor size ** -0.25 scales queries and keys."""
    axes = flow.axes(x)
    if isinstance(other, float) and axes and math.isclose(other, axes[-1].size ** -0.25, rel_tol=1e-12):
        ax.mark_inexact(axes[-1], SCALE)
    return pointwise(flow, out, x, other)


@rule(*(f"aten::{name}" for name in CREATORS))
def new_tensor(flow: Flow, out: Any, *_: Any, **__: Any) -> Any:
    """Create a tensor. Its sizes can change after a cut only if an attribute of the module stores them."""
    axes = []
    for size in out.shape:
        axes.append(ax.new(size, None if flow.holds(size) else f"the code sets the size in a call of {flow.operator}"))
        flow.sized(axes[-1])
    return tuple(axes)
