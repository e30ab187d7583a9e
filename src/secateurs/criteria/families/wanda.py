"""Criteria that combine weights with the activations that they multiply: Wanda, FLAP."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.criteria.evidence import Evidence
from secateurs.criteria.registry import criterion
from secateurs.criteria.request import Request
from secateurs.criteria.weight_view import Places, Weight
from secateurs.observe import Totals

TOTALS = Request("operand", Totals)


def _wanda(weight: Weight) -> Tensor:
    """|weight| × root mean square of the input, for each entry."""

    def scores(matrix: Tensor, places: Places) -> Tensor:
        return matrix.abs() * torch.stack([totals.mean_square for _, totals in places]).mean(0).sqrt()[:, None]

    return weight.by_matrix(TOTALS, scores)


@criterion(
    "wanda",
    source="Sun et al. 2023 (arXiv 2306.11695), Eq. 1, summed over the weights that use the unit",
    scope="local",
    requests=(TOTALS,),
    entries=_wanda,
    limits="ignores other units; designed for single weights that compete within one output",
)
def wanda(evidence: Evidence) -> Tensor:
    """Sum of |weight| × root mean square of the input, over all weights that use the unit."""
    scores = []
    for weight, units, totals, *_ in evidence.operands(TOTALS):
        features = weight.abs().sum(1) * totals.mean_square.sqrt()
        scores.append(features[units].sum(1))
    return evidence.combine(scores)


@criterion(
    "flap",
    source="An et al. 2023 (arXiv 2312.11983), Eq. 4-5, standardised within the group",
    scope="global",
    requests=(TOTALS,),
    limits="assumes that compensation adds the mean of a removed unit to the bias",
)
def flap(evidence: Evidence) -> Tensor:
    """Variance of the unit × squared norm of the weights that use it, standardised within the group."""
    scores = []
    for weight, units, totals, *_ in evidence.operands(TOTALS):
        features = weight.square().sum(1) * totals.variance
        scores.append(features[units].sum(1))
    joint = evidence.combine(scores)
    deviation = joint.std()
    return (joint - joint.mean()) / deviation if deviation > 0 else torch.zeros_like(joint)
