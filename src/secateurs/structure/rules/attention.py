"""Fused attention: heads are shared by queries, keys and values; positions stay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from secateurs.structure import axis as ax
from secateurs.structure.rules.pointwise import pointwise
from secateurs.structure.rules.registry import rule
from secateurs.structure.unify import unify

if TYPE_CHECKING:
    from secateurs.structure.flow import Flow


SCALE = "the scale of attention is taken from the number of these units"


@rule("aten::mul")
def multiply(flow: Flow, out: Any, x: Any, other: Any) -> Any:
    """Elementwise.  Attention that is not fused multiplies queries and keys each by the fourth root of their size."""
    axes = flow.axes(x)
    if isinstance(other, float) and axes and math.isclose(other, axes[-1].size ** -0.25, rel_tol=1e-12):
        ax.mark_inexact(axes[-1], SCALE)
    return pointwise(flow, out, x, other)


@rule(
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
    "aten::_scaled_dot_product_fused_attention_overrideable",
)
def attention(
    flow: Flow, out: Any, q: Any, k: Any, v: Any, *args: Any, attn_mask: Any = None, scale: Any = None, **_: Any
) -> Any:
    """Queries [N, G × R, L, D], keys [N, G, S, D], values [N, G, S, E]; output [N, G × R, L, E].

    R heads of the queries share one of the keys and values; often R is one.
    """
    (batch, heads, length, inner), keys, values = flow.axes(q), flow.axes(k), flow.axes(v)
    flow.freeze([length, keys[2], values[2]], "positions of an attention")
    for other in (keys[0], values[0]):
        unify(batch, other)
    unify(keys[1], values[1])
    repeats = ax.new(heads.size // keys[1].size)
    flow.repeated.append(repeats)
    unify(heads, ax.product([keys[1], repeats]))
    unify(keys[2], values[2])
    unify(inner, keys[3])
    if scale is None:
        ax.mark_inexact(inner, SCALE)
    flow.heads.append(heads)
    flow.head_dims += [inner, values[3]]
    mask = next((a for a in (attn_mask, *args) if hasattr(a, "shape")), None)
    masked = reversed(flow.axes(mask) if mask is not None else ())
    for axis, other in zip((keys[2], length, heads, batch), masked, strict=False):
        if other.size > 1:
            unify(axis, other)
    flow.macs.append((batch, heads, length, keys[2], inner))
    flow.macs.append((batch, heads, length, keys[2], values[3]))
    result = (batch, heads, length, values[3])
    flow.attend(v)
    frozen = [tuple(ax.new(n, "statistics of an attention") for n in t.shape) for t in out[1:]]
    return [result, *frozen]
