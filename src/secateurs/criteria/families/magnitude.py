"""Magnitude: the size of the weights that make a unit and that use it."""

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
    limits="blind to data, and to what other units do",
)
def l1(evidence: Evidence) -> Tensor:
    """Sum of absolute weights in all layers of the group, divided by the group's mean."""
    return relative(evidence.sums(_magnitude))


@criterion(
    "l2",
    source="Fang et al. 2023 (arXiv 2301.12900), group norm",
    scope="relative",
    entries=_square,
    limits="blind to data, and to what other units do",
)
def l2(evidence: Evidence) -> Tensor:
    """Euclidean norm of the weights in all layers of the group, divided by the group's mean."""
    return relative(evidence.sums(_square).sqrt())


@criterion(
    "bn-scale",
    source="Liu et al. 2017 (arXiv 1708.06519), Eq. 1",
    scope="relative",
    limits="needs a normalisation with a scale, trained to be sparse in the paper",
)
def bn_scale(evidence: Evidence) -> Tensor:
    """Magnitude of the factor by which a normalisation scales the unit."""
    return evidence.combine([scale.abs() for scale in evidence.scales()])


@criterion(
    "fpgm",
    source="He et al. 2019 (arXiv 1811.00250), Eq. 6",
    scope="relative",
    limits="one copy hardly counts among the distances to all others",
)
def fpgm(evidence: Evidence) -> Tensor:
    """Sum of the distances of the unit's weights (with their signs) from those of all other units."""
    return evidence.combine([torch.cdist(w.double(), w.double()).sum(1) for w in evidence.weights(consumed=False)])


def _lamp(weight: Weight) -> Tensor:
    return remaining_share(weight.value.double().square().flatten()).reshape(weight.value.shape)


@criterion(
    "lamp",
    source="Lee et al. 2021 (arXiv 2010.07611), Eq. 4; on units, their squared norms take the place of squared weights",
    scope="global",
    entries=_lamp,
    limits="blind to data",
)
def lamp(evidence: Evidence) -> Tensor:
    """Squared norm, divided by the sum over all units of the layer with an equal or larger one."""
    return evidence.combine([remaining_share(w.double().square().sum(1)) for w in evidence.weights()])


def remaining_share(values: Tensor) -> Tensor:
    """v_c / Σ of all v ≥ v_c, for values ≥ 0 [n]; 0 for zeros."""
    order = values.argsort(descending=True)
    falling = values[order]
    sums = falling.cumsum(0)
    last = torch.searchsorted(-falling, -falling, right=True) - 1  # equal values share one sum
    shares = torch.where(falling > 0, falling / sums[last].clamp(min=torch.finfo(sums.dtype).tiny), 0)
    return torch.zeros_like(shares).scatter(0, order, shares)


def relative(values: Tensor) -> Tensor:
    """Values divided by their mean, where that is not zero."""
    mean = values.mean()
    return values / mean if mean > 0 else values
