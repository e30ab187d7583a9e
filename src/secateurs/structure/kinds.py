"""Kinds of units: what people call what is removed."""

from __future__ import annotations

from collections.abc import Sequence

from secateurs.errors import NoMatchError

KINDS = {
    "channel": "of a convolution",
    "neuron": "of a linear layer",
    "head": "of an attention, with its queries, keys and values",
    "kv_group": "of a grouped-query attention: one key/value head with all queries that share it",
    "expert": "of a mixture: a sub-network that a router sends rows to, with its row of the router",
    "hidden": "dimension of a residual stream that is normalised as a whole",
    "head_dim": "dimension of the vectors of every head of an attention",
}
DEFAULT = ("channel", "neuron", "head", "kv_group", "expert")


def parse(kinds: Sequence[str] | str | None) -> tuple[str, ...]:
    """The kinds that a user names; "all" means all, None those that are pruned by default.

    Raises:
        NoMatchError: a name is not that of a kind.
    """
    if kinds is None:
        return DEFAULT
    names = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for name in names:
        if name != "all" and name not in KINDS:
            raise NoMatchError(f"kind {name!r} is not one of {', '.join(KINDS)}, all")
    return tuple(KINDS) if "all" in names else names
