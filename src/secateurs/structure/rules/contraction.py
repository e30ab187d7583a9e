"""Convolutions and matrix products: the axes that are summed over are unified."""

from __future__ import annotations

from typing import Any

from secateurs.structure import axis as ax
from secateurs.structure.flow import Flow
from secateurs.structure.rules.registry import rule
from secateurs.structure.unify import split, unify
from secateurs.structure.window import window

ALIGNED = 16
"""The rows of matrices of a grouped product take a multiple of this number of bytes."""


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
    contracted, made = (inside, weights[1]) if transposed else (weights[1], inside)
    unify(inputs[1], ax.product([group, contracted]))
    outputs = ax.product([group, made])
    if bias is not None:
        unify(flow.axes(bias)[0], outputs)
    seen = None if transposed else window(weight.shape[2:], stride, padding, dilation)
    flow.contract(x, 1, weight, contracted, weights[0] if transposed else weights[1], seen)
    spatial = ax.positions(out.shape[2:], "spatial dimension of a convolution")
    swept = inputs[2:] if transposed else spatial
    flow.add_macs(inputs[0], *swept, *weights)
    flow.produce(inputs[0], outputs, *spatial)
    for name, axis in (("in_channels", inputs[1]), ("out_channels", outputs), ("groups", group)):
        flow.sized(axis, name, weight)
    return inputs[0], outputs, *spatial


@rule("aten::mm", "aten::bmm")
def matrix_product(flow: Flow, out: Any, a: Any, b: Any) -> Any:
    """[..., n, k] × [..., k, m], with at most one batch dimension."""
    (*batch, n, k), (*batch_b, k_b, m) = flow.axes(a), flow.axes(b)
    for mine, other in zip(batch, batch_b, strict=True):
        unify(mine, other)
    unify(k, k_b)
    flow.contract(a, a.ndim - 1, b, k_b)
    flow.contract(b, b.ndim - 2, a, k)
    flow.add_macs(*batch, n, k, m)
    result = (*batch, n, m)
    if flow.is_constant(a) or flow.is_constant(b):
        flow.produce(*result)
        _sized_linear(flow, a, b, k, m)
    elif batch and batch[0].size > 1:  # an attention: scores of queries and keys, or values weighted by them
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
    """A matrix product plus something that broadcasts against it."""
    result = matrix_product(flow, out, a, b)
    for mine, other in zip(reversed(flow.axes(bias)), reversed(result), strict=False):
        if mine.size > 1:
            unify(mine, other)
    return result


@rule("aten::_grouped_mm")
def grouped_product(flow: Flow, out: Any, a: Any, b: Any, offsets: Any = None, *_: Any, **__: Any) -> Any:
    """Rows [t, k] times the matrix of their group [e, k, m], as in a mixture of experts; the data assign the rows."""
    if a.ndim != 2 or b.ndim != 3:
        return ()
    (rows, k), (groups, k_b, m) = flow.axes(a), flow.axes(b)
    flow.freeze(rows, "which expert a row goes to depends on the data")
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
    weight = b if flow.is_constant(b) else a
    flow.sized(k, "in_features", weight)
    flow.sized(m, "out_features", weight)


def _fixed(flow: Flow, axis: Any, groups: int) -> tuple[Any, Any]:
    reason = f"its channels do not divide into {groups} groups of one kind"
    flow.freeze(axis, reason)
    return ax.new(groups, reason), ax.new(axis.size // groups, reason)
