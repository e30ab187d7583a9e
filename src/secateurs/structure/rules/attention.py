"""Rules of fused attention: queries, keys and values share heads; positions are frozen."""

from __future__ import annotations

from typing import Any

from secateurs.structure import axis as ax
from secateurs.structure.flow import Flow
from secateurs.structure.rules.pointwise import SCALE
from secateurs.structure.rules.registry import rule
from secateurs.structure.unify import unify


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

    R query heads share one key/value head; R is one without grouped-query attention.
    """
    (batch, heads, length, inner), keys, values = flow.axes(q), flow.axes(k), flow.axes(v)
    flow.freeze([length, keys[2], values[2]], "positions of an attention")
    for axis in (keys[0], values[0]):
        unify(batch, axis)
    unify(keys[1], values[1])
    repeats = ax.new(heads.size // keys[1].size)
    flow.mark_repeated(repeats)
    unify(heads, ax.product([keys[1], repeats]))
    unify(keys[2], values[2])
    unify(inner, keys[3])
    if scale is None:
        ax.mark_inexact(inner, SCALE)
    flow.mark_heads(heads)
    flow.mark_head_dims(inner, values[3])
    mask = next((a for a in (attn_mask, *args) if hasattr(a, "shape")), None)
    masked = reversed(flow.axes(mask) if mask is not None else ())
    for axis, mask_axis in zip((keys[2], length, heads, batch), masked, strict=False):
        if mask_axis.size > 1:
            unify(axis, mask_axis)
    flow.add_macs(batch, heads, length, keys[2], inner)
    flow.add_macs(batch, heads, length, keys[2], values[3])
    result = (batch, heads, length, values[3])
    flow.attend(v)
    frozen = [tuple(ax.new(n, "statistics of an attention") for n in t.shape) for t in out[1:]]
    return [result, *frozen]
