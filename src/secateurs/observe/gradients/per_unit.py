"""From a tensor per parameter to one number per unit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from secateurs.structure import Group, Structure, take_units


def consumed_groups(structure: Structure) -> dict[str, Group]:
    """The groups whose units are used by a weight."""
    return {name: g for name, g in structure.groups.items() if any(member.consumed for member in g.members)}


def sum_over_consumers(structure: Structure, group: Group, tensors: Mapping[str, Tensor]) -> Tensor:
    """The sum per unit [units], over the entries of all weights that use the unit, of a tensor per parameter."""
    total = torch.zeros(group.size)
    for member in group.members:
        if member.consumed:
            axis = structure.axes[member.tensor][member.dim]
            units = take_units(tensors[member.tensor], member.dim, axis, group.var)
            total = total.to(units) + units.movedim(member.dim, 0).flatten(1).sum(1)
    return total
