"""Kinds of units: what a unit that is removed whole is called, and which kind a variable is of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from secateurs.errors import NoMatchError
from secateurs.structure.axis import Axis, Product, Var, leaves, walk
from secateurs.structure.trace_record import TraceRecord

UNIT_KINDS = {
    "channel": "of a convolution",
    "neuron": "of a linear layer",
    "head": "of an attention, with its queries, keys and values",
    "kv_group": "of a grouped-query attention: one key/value head with all queries that share it",
    "expert": "of a mixture: a sub-network that a router sends rows to, with its row of the router",
    "hidden": "dimension of a residual stream that is normalised as a whole",
    "head_dim": "dimension of the vectors of every head of an attention",
}
DEFAULT_KINDS = ("channel", "neuron", "head", "kv_group", "expert")


class AttentionRoles(NamedTuple):
    """Variables by the role that they have in an attention.

    Attributes:
        heads: variables of heads.
        head_dims: variables of the vectors of heads.
        shared: factors of the axes of parameters that also hold a number of repetitions, as shared key/value heads do.
    """

    heads: Collection[Var]
    head_dims: Collection[Var]
    shared: Collection[Axis]


def parse_kinds(kinds: Sequence[str] | str | None) -> tuple[str, ...]:
    """The kinds that a user names; "all" means all, None those that are pruned by default.

    Raises:
        NoMatchError: a name is not that of a kind.
    """
    if kinds is None:
        return DEFAULT_KINDS
    names = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for name in names:
        if name != "all" and name not in UNIT_KINDS:
            raise NoMatchError(f"kind {name!r} is not one of {', '.join(UNIT_KINDS)}, all")
    return tuple(UNIT_KINDS) if "all" in names else names


def attention_roles(record: TraceRecord, tensor_axes: Mapping[str, Sequence[Axis]]) -> AttentionRoles:
    """The roles of variables in attentions.

    Args:
        record: what the tracer wrote down.
        tensor_axes: the resolved axes of each parameter and buffer.
    """
    repeated = {walk(axis) for axis in record.repeated}
    products = [axis for axes in tensor_axes.values() for axis in axes if isinstance(axis, Product)]
    return AttentionRoles(
        heads={var for axis in record.heads for var in leaves(axis)},
        head_dims={var for axis in record.head_dims for var in leaves(axis)},
        shared={f for axis in products if not repeated.isdisjoint(axis.factors) for f in axis.factors},
    )


def kind_of(var: Var, axes: Sequence[Axis], makers: int, roles: AttentionRoles, experts: Collection[Var]) -> str:
    """The kind of a variable.

    Args:
        var: the variable.
        axes: the axes of the parameter that its group is named after.
        makers: the number of weights that make its units.
        roles: the variables of attentions.
        experts: the variables of experts.
    """
    if var in experts:
        return "expert"
    if var in roles.heads:
        return "kv_group" if var in roles.shared else "head"
    if var in roles.head_dims:
        return "head_dim"
    if var.inexact and makers > 1:
        return "hidden"
    stacked = any(leaf in experts for axis in axes for leaf in leaves(axis))
    return "channel" if len(axes) - stacked > 2 else "neuron"
