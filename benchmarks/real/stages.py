"""What is measured of a pruned network without training it."""

from __future__ import annotations

import copy

from torch import nn

import secateurs as sc
from benchmarks.real.data import Batches
from benchmarks.real.record import Figures
from secateurs.observe import Observations


def recalibrated(model: nn.Module, images: Batches, test: Batches, name: str) -> Figures:
    """Accuracies of a network as it is, and with its batch norm recalibrated, which it is then."""
    before = sc.accuracy(model, test)
    sc.recalibrate(model, images)
    return {name: before, f"{name}, recalibrated": sc.accuracy(model, test)}


def compensated(
    result: sc.Result,
    dense: nn.Module,
    images: Batches,
    structure: sc.Structure | None = None,
    observed: Observations | None = None,
) -> nn.Module:
    """The pruned network with the units that stay taking over for those that went; the result's own is left alone."""
    model = copy.deepcopy(result.model)
    sc.compensate(model, dense, result.plan, images, structure or result.structure, observed=observed)
    return model
