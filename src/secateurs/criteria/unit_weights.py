"""The entries of weights, sorted by the units of a group that they belong to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from secateurs.criteria.weight_view import Entries, Sources, Weight
from secateurs.errors import UnscorableError
from secateurs.structure import Group, Member, take_units

WeightOf = Callable[[str], Weight]
"""Maps the name of a parameter to the `Weight` that criteria see."""


def entries_of_units(
    group: Group, sources: Sources, weight_of: WeightOf, score: Entries, consumed: bool | None, vectors: bool
) -> list[Tensor]:
    """The scores of the entries of each weight, [units, entries per unit]; see `Evidence.entries`."""
    members = [
        member
        for member in group.members
        if member.tensor in sources.structure.parameters
        and (vectors or sources.tensors[member.tensor].ndim > 1)
        and (consumed is None or member.consumed == consumed)
    ]
    if not members:
        roles = {None: "produces or uses", True: "uses", False: "produces"}
        raise UnscorableError(f"no weight {roles[consumed]} the units")
    layers: list[list[Tensor]] = []
    producer: list[Tensor] = []  # the last weight that produces the units, and the vectors after it
    for member in members:
        slices = _by_unit(group, sources, member, score(weight_of(member.tensor)))
        if sources.tensors[member.tensor].ndim == 1 and producer:
            producer.append(slices)
        else:
            layers.append([slices])
            producer = producer if member.consumed else layers[-1]
    return [torch.cat(parts, 1) for parts in layers]


def scales_of_units(group: Group, sources: Sources, weight_of: WeightOf) -> list[Tensor]:
    """The scales [units] of each normalisation of the units; see `Evidence.scales`."""
    members = [m for m in group.members if m.tensor.rpartition(".")[0] in sources.norms]
    members = [m for m in members if m.tensor.endswith("weight")]
    if not members:
        raise UnscorableError("no normalisation scales the units")
    return [_by_unit(group, sources, member, weight_of(member.tensor).value).mean(1) for member in members]


def _by_unit(group: Group, sources: Sources, member: Member, tensor: Tensor) -> Tensor:
    """The entries of a tensor of the member's shape as [units, entries per unit]."""
    axis = sources.structure.axes[member.tensor][member.dim]
    return take_units(tensor, member.dim, axis, group.var).movedim(member.dim, 0).flatten(1)
