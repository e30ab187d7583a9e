"""SynFlow's iteration: units go a few at a time, and the flow is measured anew after each time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from secateurs.observe import synaptic_flow
from secateurs.structure import Group, Structure, kept_entries, take_units
from secateurs.utils import Progress, silent

ROUNDS = 100
LEFT = 0.01
"""The share of units that the last round leaves; n of the rounds leave this share to the power n / ROUNDS."""


def synaptic_order(model: nn.Module, structure: Structure, progress: Progress = silent) -> dict[str, Tensor]:
    """When each unit is eliminated, per group [units]: whole numbers are rounds, fractions ranks within a round.

    A unit's flow is summed over the weights that use it. Every group keeps its strongest unit (SynFlow, arXiv
    2006.05467, Algorithm 1, on units instead of weights).
    """
    groups = {name: g for name, g in structure.groups.items() if any(m.consumed for m in g.members)}
    if not groups:
        return {}
    order = {name: torch.full((group.size,), float("inf")) for name, group in groups.items()}
    units = sum(group.size for group in groups.values())
    for number in progress(range(1, ROUNDS + 1), "eliminating by synaptic flow"):
        masks = _masks(structure, {name: its.isinf() for name, its in order.items()})
        flow = synaptic_flow(model, structure.inputs, masks)
        through = {name: through_units(structure, group, flow).cpu() for name, group in groups.items()}
        flat = torch.cat(list(through.values()))
        alive = torch.cat(list(order.values())).isinf()
        strongest = torch.cat([its == its.max() for its in through.values()])
        left = max(int(units * LEFT ** (number / ROUNDS)), len(groups)) if number < ROUNDS else 0
        going = (alive & ~strongest if left else alive).nonzero().flatten()
        going = going[flat[going].argsort(stable=True)][: int(alive.sum()) - left]
        ranks = torch.cat(list(order.values()))
        ranks[going] = number + torch.arange(len(going)) / max(len(going), 1)
        order = dict(zip(groups, ranks.split([group.size for group in groups.values()]), strict=True))
    return order


def through_units(structure: Structure, group: Group, tensors: Mapping[str, Tensor]) -> Tensor:
    """The sum per unit [units], over the entries of all weights that use the unit, of a tensor per parameter."""
    total = torch.zeros(group.size)
    for member in group.members:
        if member.consumed:
            axis = structure.axes[member.tensor][member.dim]
            units = take_units(tensors[member.tensor], member.dim, axis, group.var)
            total = total.to(units) + units.movedim(member.dim, 0).flatten(1).sum(1)
    return total


def _masks(structure: Structure, alive: Mapping[str, Tensor]) -> dict[str, Tensor]:
    keep = {name: tuple(its.nonzero().flatten().tolist()) for name, its in alive.items() if not its.all()}
    return {
        name: kept_entries(masks)
        for name, masks in structure.keep_masks(keep).items()
        if name in structure.parameters and not all(mask.all() for mask in masks)
    }
