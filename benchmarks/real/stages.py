"""What is measured of a pruned network without training it."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

import secateurs as sc
from benchmarks.real.data import Batches
from benchmarks.real.record import Figures
from secateurs.observe.observe import Observations


def recalibrated(model: nn.Module, images: Batches, test: Batches, name: str, *by: Any) -> Figures:
    """Accuracies of a network as it is, and with its batch norm recalibrated, which it is then.

    Args:
        model: that was pruned.
        images: to recalibrate on.
        test: to measure on.
        name: of the stage before.
        by: the dense network, the plan and the structure, if it is to be recalibrated by these.
    """
    before = sc.accuracy(model, test)
    sc.recalibrate(model, images, *by)
    return {name: before, f"{name}, recalibrated": sc.accuracy(model, test)}


def compensated(
    model: nn.Module,
    plan: sc.Plan,
    dense: nn.Module,
    images: Batches,
    structure: sc.Structure,
    observed: Observations | None = None,
) -> nn.Module:
    """A copy with the units that stay taking over for those that went."""
    model = copy.deepcopy(model)
    sc.compensate(model, dense, plan, images, structure, observed=observed)
    return model
