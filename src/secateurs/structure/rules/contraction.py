"""Rules of convolutions and matrix products: the axes that an operator sums over are unified."""

from __future__ import annotations

from typing import Any

from secateurs.structure import axis as ax
from secateurs.structure.flow import Flow
from secateurs.structure.rules.registry import rule
from secateurs.structure.unify import split, unify
from secateurs.structure.window import window

ALIGNED = 16
"""The rows of matrices in a grouped product must take a multiple of this number of bytes."""


@rule("aten::convolution")
def convolution(
    flow: Flow, out: Any, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int,
) -> Any:  # fmt: skip
    """Input [N, G × I, ...]; weight [G × O, I, taps], or [G × I, O, taps] transposed; output [N, G × O, ...]."""
    inputs, weights = flow.axes(x), flow.axes(weight)
    flow.freeze(weights[2:], "kernel tap")
    flow.freeze(inputs[2:], "spatial dimension of a convolution")
    group, inside = split(weights[0], groups) or _fixed(flow, weights[0], groups)
    contracted, produced = (inside, weights[1]) if transposed else (weights[1], inside)
    unify(inputs[1], ax.product([group, contracted]))
    outputs = ax.product([group, produced])
    if bias is not None:
        unify(flow.axes(bias)[0], outputs)
    geometry = None if transposed else window(weight.shape[2:], stride, padding, dilation)
    flow.contract(x, 1, weight, contracted, weights[0] if transposed else weights[1], geometry)
    spatial = ax.positions(out.shape[2:], "spatial dimension of a convolution")
    kernel_positions = inputs[2:] if transposed else spatial
    flow.add_macs(inputs[0], *kernel_positions, *weights)
    flow.produce(inputs[0], outputs, *spatial)
    for name, axis in (("in_channels", inputs[1]), ("out_channels", outputs), ("groups", group)):
        flow.sized(axis, name, weight)
    return inputs[0], outputs, *spatial


@rule("aten::mm", "aten::bmm")
def matrix_product(flow: Flow, out: Any, a: Any, b: Any) -> Any:
    """[..., n, k] × [..., k, m], with at most one batch dimension."""
    (*batch, n, k), (*batch_b, k_b, m) = flow.axes(a), flow.axes(b)
    for axis_a, axis_b in zip(batch, batch_b, strict=True):
        unify(axis_a, axis_b)
    unify(k, k_b)
    flow.contract(a, a.ndim - 1, b, k_b)
    flow.contract(b, b.ndim - 2, a, k)
    flow.add_macs(*batch, n, k, m)
    result = (*batch, n, m)
    if flow.is_constant(a) or flow.is_constant(b):
        flow.produce(*result)
        _sized_linear(flow, a, b, k, m)
    elif batch and batch[0].size > 1:  # unfused attention: queries × keys, or attention weights × values
        flow.mark_heads(*batch)
        flow.mark_head_dims(k, n, m)
    return result


@rule("aten::mv")
def matrix_vector(flow: Flow, out: Any, a: Any, x: Any) -> Any:
    """[n, k] × [k]."""
    (n, k), (k_x,) = flow.axes(a), flow.axes(x)
    unify(k, k_x)
    flow.contract(a, 1, x, k_x)
    flow.contract(x, 0, a, k)
    return (n,)


@rule("aten::addmm", "aten::baddbmm")
def matrix_product_and_sum(flow: Flow, out: Any, bias: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """A matrix product plus a tensor that broadcasts."""
    result = matrix_product(flow, out, a, b)
    for bias_axis, axis in zip(reversed(flow.axes(bias)), reversed(result), strict=False):
        if bias_axis.size > 1:
            unify(bias_axis, axis)
    return result


@rule("aten::_grouped_mm")
def grouped_product(flow: Flow, out: Any, a: Any, b: Any, offsets: Any = None, *_: Any, **__: Any) -> Any:
    """Rows [t, k] × one of the matrices [e, k, m] of experts; data determine the matrix of each row."""
    if a.ndim != 2 or b.ndim != 3:
        return ()
    (rows, k), (groups, k_b, m) = flow.axes(a), flow.axes(b)
    flow.freeze(rows, "the expert of each row depends on the data")
    if offsets is not None:
        unify(groups, flow.axes(offsets)[0])
    flow.mark_experts(groups)
    for axis in (k, m):
        flow.mark_multiple(axis, ALIGNED // b.element_size())
    unify(k, k_b)
    flow.contract(a, 1, b, k_b)
    flow.add_macs(rows, k, m)
    flow.produce(rows, m)
    return rows, m


def _sized_linear(flow: Flow, a: Any, b: Any, k: Any, m: Any) -> None:
    """Report the sizes that a linear layer stores in attributes."""
    weight = b if flow.is_constant(b) else a
    flow.sized(k, "in_features", weight)
    flow.sized(m, "out_features", weight)


def _fixed(flow: Flow, axis: Any, groups: int) -> tuple[Any, Any]:
    """Freeze channels that cannot be split into groups; two frozen factors."""
    reason = f"the channels cannot be split into {groups} equal groups"
    flow.freeze(axis, reason)
    return ax.new(groups, reason), ax.new(axis.size // groups, reason)
