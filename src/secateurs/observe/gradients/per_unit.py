"""Sum tensors in the shapes of parameters over the entries of each unit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from secateurs.structure import Group, Structure, take_units


def consumed_groups(structure: Structure) -> dict[str, Group]:
    """The groups whose units are used by a weight."""
    return {name: g for name, g in structure.groups.items() if any(member.consumed for member in g.members)}


def sum_over_consumers(structure: Structure, group: Group, tensors: Mapping[str, Tensor]) -> Tensor:
    """Sum tensors over the entries of all weights that use each unit.

    Args:
        structure: of the model.
        group: the group of the units.
        tensors: parameter name to a tensor in the shape of the parameter.

    Returns:
        One sum per unit, [units].
    """
    total = torch.zeros(group.size)
    for member in group.members:
        if member.consumed:
            axis = structure.axes[member.tensor][member.dim]
            units = take_units(tensors[member.tensor], member.dim, axis, group.var)
            total = total.to(units) + units.movedim(member.dim, 0).flatten(1).sum(1)
    return total
