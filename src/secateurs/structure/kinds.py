"""Kinds of units, such as channels and heads, and the kind of each variable."""

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
"""Kind to description. If groups of several kinds may cause a wrong size, the groups of the last kind are put back."""
DEFAULT_KINDS = ("channel", "neuron", "head", "kv_group", "expert")
"""The kinds that are pruned by default."""


class AttentionRoles(NamedTuple):
    """The variables of attentions, by role.

    Attributes:
        heads: variables of heads.
        head_dims: variables of the vectors inside heads.
        shared: axes that occur together with a repetition in a product, such as key/value heads that several query
            heads share.
    """

    heads: Collection[Var]
    head_dims: Collection[Var]
    shared: Collection[Axis]


def parse_kinds(kinds: Sequence[str] | str | None) -> tuple[str, ...]:
    """Read the kinds that a user gives.

    Args:
        kinds: a kind, several kinds, or "all"; None means `DEFAULT_KINDS`.

    Raises:
        NoMatchError: a kind is unknown.
    """
    if kinds is None:
        return DEFAULT_KINDS
    names = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for name in names:
        if name != "all" and name not in UNIT_KINDS:
            raise NoMatchError(f"unknown kind {name!r}; choose from {', '.join(UNIT_KINDS)}, all")
    return tuple(UNIT_KINDS) if "all" in names else names


def attention_roles(record: TraceRecord, tensor_axes: Mapping[str, Sequence[Axis]]) -> AttentionRoles:
    """Find the roles of variables in attentions.

    Args:
        record: the record of the trace.
        tensor_axes: name to the resolved axes of each parameter and buffer.
    """
    repeated = {walk(axis) for axis in record.repeated}
    products = [axis for axes in tensor_axes.values() for axis in axes if isinstance(axis, Product)]
    return AttentionRoles(
        heads={var for axis in record.heads for var in leaves(axis)},
        head_dims={var for axis in record.head_dims for var in leaves(axis)},
        shared={f for axis in products if not repeated.isdisjoint(axis.factors) for f in axis.factors},
    )


def kind_of(var: Var, axes: Sequence[Axis], producers: int, roles: AttentionRoles, experts: Collection[Var]) -> str:
    """Determine the kind of the units of a variable.

    Args:
        var: the variable.
        axes: the axes of the parameter that the group is named after.
        producers: the number of weights that produce the units.
        roles: the variables of attentions.
        experts: the variables of experts.
    """
    if var in experts:
        return "expert"
    if var in roles.heads:
        return "kv_group" if var in roles.shared else "head"
    if var in roles.head_dims:
        return "head_dim"
    if var.inexact and producers > 1:
        return "hidden"
    stacked = any(leaf in experts for axis in axes for leaf in leaves(axis))
    return "channel" if len(axes) - stacked > 2 else "neuron"
