"""Criteria that use the magnitude of the weights that produce and use a unit."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.criteria.evidence import Evidence
from secateurs.criteria.registry import criterion
from secateurs.criteria.weight_view import Weight


def _magnitude(weight: Weight) -> Tensor:
    return weight.value.abs()


def _square(weight: Weight) -> Tensor:
    return weight.value.square()


@criterion(
    "l1",
    source="Li et al. 2017 (arXiv 1608.08710), over all layers of the group",
    scope="relative",
    entries=_magnitude,
    limits="ignores data and all other units",
)
def l1(evidence: Evidence) -> Tensor:
    """Sum of absolute weights in all layers of the group, divided by the group's mean."""
    return relative(evidence.sums(_magnitude))


@criterion(
    "l2",
    source="Fang et al. 2023 (arXiv 2301.12900), group norm",
    scope="relative",
    entries=_square,
    limits="ignores data and all other units",
)
def l2(evidence: Evidence) -> Tensor:
    """Euclidean norm of the weights in all layers of the group, divided by the group's mean."""
    return relative(evidence.sums(_square).sqrt())


@criterion(
    "bn-scale",
    source="Liu et al. 2017 (arXiv 1708.06519), Eq. 1",
    scope="relative",
    limits="needs a normalisation with a scale; the paper trains the scales to be sparse",
)
def bn_scale(evidence: Evidence) -> Tensor:
    """Magnitude of the factor by which a normalisation scales the unit."""
    return evidence.combine([scale.abs() for scale in evidence.scales()])


@criterion(
    "fpgm",
    source="He et al. 2019 (arXiv 1811.00250), Eq. 6",
    scope="relative",
    limits="one exact copy of a unit hardly changes the sum of distances",
)
def fpgm(evidence: Evidence) -> Tensor:
    """Sum of the distances between the unit's weights and the weights of all other units."""
    return evidence.combine([torch.cdist(w.double(), w.double()).sum(1) for w in evidence.weights(consumed=False)])


def _lamp(weight: Weight) -> Tensor:
    return remaining_share(weight.value.double().square().flatten()).reshape(weight.value.shape)


@criterion(
    "lamp",
    source="Lee et al. 2021 (arXiv 2010.07611), Eq. 4, with squared norms of units in place of squared weights",
    scope="global",
    entries=_lamp,
    limits="ignores data",
)
def lamp(evidence: Evidence) -> Tensor:
    """Squared norm of the unit, divided by the sum of all equal or larger squared norms of the layer."""
    return evidence.combine([remaining_share(w.double().square().sum(1)) for w in evidence.weights()])


def remaining_share(values: Tensor) -> Tensor:
    """Divide each value by the sum of all equal or larger values.

    Args:
        values: [n], ≥ 0.

    Returns:
        [n], in [0, 1]; 0 for a value of 0.
    """
    order = values.argsort(descending=True)
    descending = values[order]
    sums = descending.cumsum(0)
    last = torch.searchsorted(-descending, -descending, right=True) - 1  # equal values share one sum
    shares = torch.where(descending > 0, descending / sums[last].clamp(min=torch.finfo(sums.dtype).tiny), 0)
    return torch.zeros_like(shares).scatter(0, order, shares)


def relative(values: Tensor) -> Tensor:
    """Divide values [n] ≥ 0 by their mean, unless the mean is zero."""
    mean = values.mean()
    return values / mean if mean > 0 else values
