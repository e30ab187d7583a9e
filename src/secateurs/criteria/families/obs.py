"""OBS on units: the error that remains when a unit is removed and the remaining units compensate for it."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.criteria.evidence import Evidence, Operand
from secateurs.criteria.registry import criterion
from secateurs.criteria.request import Request
from secateurs.criteria.weight_view import Places, Weight
from secateurs.errors import FewSamplesWarning
from secateurs.observe import Moments, Totals
from secateurs.structure import Contraction
from secateurs.utils import warn_user

MOMENTS = Request("maps", Moments)
ARRIVAL = Request("arrival", Totals)
RIDGE = 1e-6
"""Added to the diagonal of the second moments, relative to each of its entries; see `shrinkage`."""
STEPS = 256
"""Greedy removal takes at most about so many steps; wider groups lose several units in each."""
COMPACT_BELOW = 0.8
"""Removed units stay in the matrices, as rows of the identity, until less than this share of the rows remains."""


def _entries(weight: Weight) -> Tensor:
    def scores(matrix: Tensor, places: Places) -> Tensor:
        bias = weight.sources.structure.bias_of(places[0][0]) is not None
        inverses = [torch.linalg.inv(_products(place, moments, bias)).diagonal() for place, moments in places]
        return matrix.double().square() / torch.stack(inverses).mean(0)[:, None]

    return weight.by_matrix(MOMENTS, scores)


@criterion(
    "obs",
    source="structured OBS (Hassibi & Stork 1993; Kurtić et al. 2023, arXiv 2302.04089), greedy, with compensation",
    scope="per-cost",
    requests=(MOMENTS, ARRIVAL),
    entries=_entries,
    entry_requests=(MOMENTS,),
    limits="needs more samples × positions than units; considers the next layer alone",
)
def obs(evidence: Evidence) -> Tensor:
    """Error of the next layers when units are removed up to this one and the remaining ones compensate.

    The error of removing the features R is tr(W_Rᵀ (P_RR)⁻¹ W_R), where P is the inverse of the second moments C of the
    inputs of the weights W (about the mean, where there is a bias): ‖W_c‖² / (C⁻¹)_cc for one feature. The unit with
    the least error is removed, P and W are updated, and so on; a score is the largest error so far, summed over the
    layers that use the unit (or their mean, or the largest).

    Errors are relative to the sum that the layer's outputs become a part of: the share of energy that an output loses
    is weighted by the share of the output in the variance of the residual stream that it is added to, or of all
    outputs, where they enter a non-linearity; batch norm and other scaling before that point counts. Elsewhere errors
    are relative to all outputs of the layer. So a layer that adds little to its stream can lose more.

    Units that several layers write and several read form a stream, which goes on past each of them: there the error of
    the features themselves, relative to all features, is added to the error of the outputs.
    """
    stream = _is_stream(evidence)
    layers = [_Layer(operand, evidence, stream) for operand in evidence.operands(MOMENTS)]
    units = evidence.group.size
    scores, worst = torch.zeros(units, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    rows, alive = torch.arange(units), torch.ones(units, dtype=torch.bool)  # the units in the matrices; not removed yet
    step = -(-units // STEPS)
    while alive.any():
        errors = evidence.combine([layer.errors() for layer in layers]).cpu()
        remaining = alive.nonzero().flatten()
        removed = remaining[errors[remaining].argsort(stable=True)][:step]
        for unit in removed:
            worst = torch.maximum(worst, errors[unit])
            scores[rows[unit]] = worst
        alive[removed] = False
        sparse = alive.sum() < COMPACT_BELOW * len(alive)
        for layer in layers if alive.any() else ():
            layer.remove(removed)
            if sparse:
                layer.compact(alive)
        if sparse:
            rows, alive = rows[alive], alive[alive]
    return scores


def _is_stream(evidence: Evidence) -> bool:
    """Whether several layers write to the units and several read them."""
    members = [m for m in evidence.group.members if evidence.sources.tensors[m.tensor].ndim > 1]
    reading = len([m for m in members if m.consumed])
    return reading > 1 and len(members) - reading > 1


class _Layer:
    """One weight that uses the units, updated after each removal."""

    def __init__(self, operand: Operand, evidence: Evidence, stream: bool):
        moments = _products(operand.contraction, operand.statistic, operand.bias)
        features = len(moments) // operand.contraction.blocks
        if operand.statistic.rows <= features:
            warn_user(
                f"group {evidence.group.name!r}: {operand.statistic.rows} samples × positions cannot tell {features} "
                "features apart, so that too many of them seem to be redundant; give more samples",
                FewSamplesWarning,
            )
        self._units = operand.units.to(moments.device)
        self._inverse = torch.linalg.inv(moments)
        weight = _relative(operand, moments, evidence)
        if stream:
            same = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
            weight = torch.cat([weight, same / moments.trace().sqrt()], 1)
        if weight.shape[1] > len(moments):  # only its products with itself matter
            values, vectors = torch.linalg.eigh(weight @ weight.T)
            weight = vectors * values.clamp(min=0).sqrt()
        self._weight = weight

    def errors(self) -> Tensor:
        """The error of removing each unit next, relative to the sum that the outputs become a part of: [units]."""
        rows = self._weight[self._units]  # [units, features per unit, outputs]
        blocks = self._inverse[self._units[:, :, None], self._units[:, None, :]]
        if blocks.shape[1] == 1:
            return rows.square().sum((1, 2)) / blocks[:, 0, 0]
        return (rows * torch.linalg.solve(blocks, rows)).sum((1, 2))

    def remove(self, units: Tensor) -> None:
        """Let the other features compensate for these units, whose rows of the inverse become those of the identity."""
        gone = self._units[units.to(self._units.device)].flatten()
        share = torch.linalg.solve(self._inverse[gone[:, None], gone], self._inverse[gone])  # [gone, features]
        self._weight -= share.T @ self._weight[gone]
        self._inverse -= self._inverse[:, gone] @ share
        self._weight[gone] = 0
        self._inverse[gone], self._inverse[:, gone] = 0, 0
        self._inverse[gone, gone] = 1

    def compact(self, alive: Tensor) -> None:
        """Drop all rows but those of these units (bool [units]), and renumber these."""
        stays = torch.ones(len(self._inverse), dtype=torch.bool, device=self._units.device)
        alive = alive.to(stays.device)
        stays[self._units[~alive]] = False
        self._units = (stays.cumsum(0) - 1)[self._units[alive]]
        self._weight, self._inverse = self._weight[stays], self._inverse[stays][:, stays]


def _relative(operand: Operand, moments: Tensor, evidence: Evidence) -> Tensor:
    """The weight, scaled so that the error of each output is a share of the sum that the outputs become a part of.

    The share of energy that an output loses is weighted by the share of the output in the variance of that sum.
    """
    weight, contraction = operand.weight.to(moments.device), operand.contraction
    tiny = torch.finfo(weight.dtype).tiny
    energies = weight * (moments @ weight)  # summed over the features, those of the outputs
    arrival = evidence.arrival(contraction, Totals)
    if arrival is None:
        return weight / energies.sum().clamp(min=tiny).sqrt()
    part, whole = (totals.variance.to(weight) for totals in arrival)
    outputs = contraction.per_output(energies, operand.value).clamp(min=tiny)
    scales = (part / outputs / whole.sum().clamp(min=tiny)).sqrt()
    return weight * contraction.by_output(scales, operand.value)


def shrinkage(features: int, rows: int) -> float:
    """The additional ridge where samples are few: with few rows, features seem to predict each other."""
    return features / max(rows, 1)


def _products(contraction: Contraction, moments: Moments, bias: bool) -> Tensor:
    """Mean products of the features, about their means if a bias can absorb these, ridge included.

    Between blocks of a grouped convolution they are 0: features cannot replace those of another block.
    """
    whole, mean = moments.mean[:-1, :-1], moments.mean[-1, :-1]
    products = whole - torch.outer(mean, mean) if bias else whole
    block = torch.arange(len(products), device=products.device) * contraction.blocks // len(products)
    least = RIDGE * whole.diagonal().mean() or 1.0  # a feature that does not vary has no energy of its own
    few = shrinkage(len(products) // contraction.blocks, moments.rows)
    ridge = (RIDGE + few) * products.diagonal().clamp(min=least)
    return torch.where(block[:, None] == block, products, 0) + torch.diag(ridge)
