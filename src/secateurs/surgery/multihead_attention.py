"""The replacement of `nn.MultiheadAttention` in cut models.

`nn.MultiheadAttention` computes the size of a head as `embed_dim` divided by `num_heads`. This is wrong after heads or
entries of the embedding were removed.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = ("embed_dim", "kdim", "vdim")
"""Attributes of an `nn.MultiheadAttention` that `adapt_attention` sets."""


class PrunedMultiheadAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` where `num_heads` × `head_dim` may differ from `embed_dim`.

    Parameters, arguments and results are the same as those of `nn.MultiheadAttention`.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """See `nn.MultiheadAttention.forward`."""
        batched = query.dim() == 3
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = self._project(query, key, value)
        mask = self._mask(q, k, attn_mask, key_padding_mask)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
            weights = F.dropout((scores if mask is None else scores + mask).softmax(-1), dropout)
            attended = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            causal = is_causal and key_padding_mask is None
            attended = F.scaled_dot_product_attention(q, k, v, None if causal else mask, dropout, causal)
        output = self.out_proj(attended.transpose(1, 2).flatten(2))
        if not batched:
            return output.squeeze(0), None if weights is None else weights.squeeze(0)
        return (output if self.batch_first else output.transpose(0, 1)), weights

    def _project(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values as [N, heads, positions, head size]."""
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = (F.linear(x, w, b) for x, w, b in zip(inputs, self._weights(), biases, strict=True))
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (_append(x, bias) for x, bias in ((k, self.bias_k), (v, self.bias_v)))
        if self.add_zero_attn:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        return tuple(x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for x in (q, k, v))

    def _weights(self) -> tuple[Tensor, ...]:
        """The weights of the projections of queries, keys and values, which may be packed into one."""
        if self.in_proj_weight is not None:
            return self.in_proj_weight.chunk(3)
        return self.q_proj_weight, self.k_proj_weight, self.v_proj_weight  # type: ignore[return-value]

    def _mask(self, q: Tensor, k: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor | None:
        """The term added to the scores [N, heads, L, S], or None; appended keys are never masked."""
        added = None
        for argument in (mask, padding):
            if argument is None:
                continue
            floating = argument.dtype.is_floating_point
            term = argument if floating else q.new_zeros(argument.shape).masked_fill(argument, -math.inf)
            term = F.pad(term, (0, k.shape[-2] - term.shape[-1]))
            if argument is padding:
                term = term.reshape(-1, 1, 1, term.shape[-1])
            elif term.dim() == 3:
                term = term.unflatten(0, (-1, self.num_heads))
            added = term if added is None else added + term
        return added


def _append(x: Tensor, bias: Tensor) -> Tensor:
    return F.pad(x, (0, 0, 0, 1)) + F.pad(bias, (0, 0, x.shape[1], 0))


def adapt_attention(model: nn.Module) -> None:
    """Replace `nn.MultiheadAttention` by `PrunedMultiheadAttention` where necessary, and disable fused operators.

    This function sets the widths. The number and size of the heads are updated as stale attributes (see
    `secateurs.surgery.stale_attributes`), as in all other modules.
    """
    for module in model.modules():
        if not isinstance(module, nn.MultiheadAttention):
            continue
        if type(module) is nn.MultiheadAttention and module.out_proj.weight.shape != (module.embed_dim,) * 2:
            module.__class__ = PrunedMultiheadAttention
            module._qkv_same_embed_dim = False  # the condition of `nn.TransformerEncoderLayer` for its fused form
        if isinstance(module, PrunedMultiheadAttention):
            module.embed_dim, module.kdim, module.vdim = (weight.shape[1] for weight in module._weights())
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor &= not any(isinstance(m, PrunedMultiheadAttention) for m in module.modules())
