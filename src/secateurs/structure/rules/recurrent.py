"""Rules of recurrent layers that run as one operator. Others run as matrix products and elementwise operators."""

from __future__ import annotations

from typing import Any

from secateurs.structure import axis as ax
from secateurs.structure.flow import Flow
from secateurs.structure.rules.registry import rule
from secateurs.structure.unify import split, unify


@rule("aten::mkldnn_rnn_layer")
def recurrent_layer(
    flow: Flow, out: Any, x: Any, w_input: Any, w_hidden: Any, b_input: Any, b_hidden: Any, h: Any, c: Any,
    reverse: bool, batch_sizes: Any, mode: int, size: int, layers: int, has_biases: bool, *_: Any,
) -> Any:  # fmt: skip
    """One layer in one direction: input [L, N, I]; weights [gates × H, I] and [gates × H, H]; output [L, N, H].

    If all weights of a unit are zero, the state of the unit remains zero, so removal is exact.
    """
    steps, batch, inputs = flow.axes(x)
    both = split(flow.axes(w_hidden)[0], w_hidden.shape[0] // size)
    if both is None:
        return ()
    gates, hidden = both
    flow.freeze([gates, steps], "gates and steps of a recurrent layer")
    unify(inputs, flow.axes(w_input)[1])
    unify(hidden, flow.axes(w_hidden)[1])
    for tensor in (w_input, b_input, b_hidden) if has_biases else (w_input,):
        unify(flow.axes(tensor)[0], flow.axes(w_hidden)[0])
    for tensor in (h, c):
        unify(flow.axes(tensor)[-1], hidden)
    flow.contract(x, 2, w_input, flow.axes(w_input)[1])
    flow.contract(h, h.ndim - 1, w_hidden, flow.axes(w_hidden)[1])
    for weight in (w_input, w_hidden):
        flow.add_macs(steps, batch, *flow.axes(weight))
    flow.produce(steps, batch, hidden)
    flow.sized(hidden, "hidden_size", w_hidden)
    flow.sized(inputs)
    states = [(*(ax.new(n, "state of a recurrent layer") for n in t.shape[:-1]), hidden) for t in out[1:3]]
    return [(steps, batch, hidden), *states, *(tuple(ax.new(n, "workspace") for n in t.shape) for t in out[3:])]
