"""The iteration of SynFlow: each round removes a few units and computes the synaptic flow again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from secateurs.observe.gradients.gradient import Gradient, Setting, Values
from secateurs.observe.gradients.per_unit import consumed_groups, sum_over_consumers
from secateurs.observe.gradients.synaptic_flow import synaptic_flow
from secateurs.structure import Structure, kept_entries
from secateurs.utils import Progress, silent

ROUNDS = 100
"""The number of rounds."""
REMAINING_SHARE = 0.01
"""The target share of remaining units: after round n, the share `REMAINING_SHARE` ** (n / `ROUNDS`) remains."""


class SynapticOrder(Gradient):
    """The order in which SynFlow removes units, [units] for each group; see `synaptic_order`."""

    name = "synaptic-order"
    summary = "the round in which each unit is removed, when each round removes a few units with the least flow"
    needs_data = needs_loss = False

    def compute(self, setting: Setting, computed: Mapping[Gradient, Values]) -> Values:
        """Run all rounds; the model is not changed."""
        return synaptic_order(setting.model, setting.structure, setting.progress)


SYNAPTIC_ORDER = SynapticOrder()


def synaptic_order(model: nn.Module, structure: Structure, progress: Progress = silent) -> dict[str, Tensor]:
    """Compute the round in which SynFlow removes each unit (arXiv 2006.05467, Algorithm 1, on units).

    The flow of a unit is the sum of the flow over the weights that use the unit. Each group keeps the unit with the
    largest flow until the last round, which removes all units.

    Args:
        model: in evaluation mode; not changed.
        structure: of the model.
        progress: wraps the iteration over the rounds.

    Returns:
        Group name to one number per unit, [units]. The integer part is the round, the fraction the rank in the round.
    """
    groups = consumed_groups(structure)
    if not groups:
        return {}
    sizes = [group.size for group in groups.values()]
    order = {name: torch.full((group.size,), float("inf")) for name, group in groups.items()}
    for number in progress(range(1, ROUNDS + 1), "eliminating by synaptic flow"):
        masks = _masks(structure, {name: rounds.isinf() for name, rounds in order.items()})
        flow = synaptic_flow(model, structure.inputs, masks)
        per_unit = {name: sum_over_consumers(structure, group, flow).cpu() for name, group in groups.items()}
        rounds = torch.cat(list(order.values()))
        alive = rounds.isinf()
        strongest = torch.cat([values == values.max() for values in per_unit.values()])
        remaining = max(int(sum(sizes) * REMAINING_SHARE ** (number / ROUNDS)), len(groups)) if number < ROUNDS else 0
        removed = (alive & ~strongest if remaining else alive).nonzero().flatten()
        flat = torch.cat(list(per_unit.values()))
        removed = removed[flat[removed].argsort(stable=True)][: int(alive.sum()) - remaining]
        rounds[removed] = number + torch.arange(len(removed)) / max(len(removed), 1)
        order = dict(zip(groups, rounds.split(sizes), strict=True))
    return order


def _masks(structure: Structure, alive: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameter name to mask, for the parameters that lose entries."""
    keep = {name: tuple(units.nonzero().flatten().tolist()) for name, units in alive.items() if not units.all()}
    return {
        name: kept_entries(masks)
        for name, masks in structure.keep_masks(keep).items()
        if name in structure.parameters and not all(mask.all() for mask in masks)
    }
