"""SynFlow's iteration: units are removed a few at a time, and the flow is measured again after each round."""

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
REMAINING_SHARE = 0.01
"""The share of units that the last round leaves; after n rounds, this share to the power n / ROUNDS remains."""


class SynapticOrder(Gradient):
    """The order in which units are removed if those with the least synaptic flow go first: [units] per group."""

    name = "synaptic-order"
    summary = "when each unit goes if those with the least flow go first, a few at a time"
    needs_data = needs_loss = False

    def compute(self, setting: Setting, computed: Mapping[Gradient, Values]) -> Values:
        """Run SynFlow's rounds; the model's own values stay."""
        return synaptic_order(setting.model, setting.structure, setting.progress)


SYNAPTIC_ORDER = SynapticOrder()


def synaptic_order(model: nn.Module, structure: Structure, progress: Progress = silent) -> dict[str, Tensor]:
    """When each unit is eliminated, per group [units]: whole numbers are rounds, fractions ranks within a round.

    A unit's flow is summed over the weights that use it. Every group keeps its strongest unit (SynFlow, arXiv
    2006.05467, Algorithm 1, on units instead of weights).
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
    """Masks of the parameters that lose units."""
    keep = {name: tuple(units.nonzero().flatten().tolist()) for name, units in alive.items() if not units.all()}
    return {
        name: kept_entries(masks)
        for name, masks in structure.keep_masks(keep).items()
        if name in structure.parameters and not all(mask.all() for mask in masks)
    }
