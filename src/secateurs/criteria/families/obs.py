"""OBS on units: the error that is left when a unit goes and its peers take over as well as they can."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.criteria.evidence import Evidence, Operand
from secateurs.criteria.registry import criterion
from secateurs.criteria.weight_view import Places, Request, Weight
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
HELD = 0.8
"""Removed units are kept in the matrices, as rows of the identity, for as long as no fewer than these are left."""


def _entries(weight: Weight) -> Tensor:
    def scores(matrix: Tensor, places: Places) -> Tensor:
        bias = weight.sources.structure.bias_of(places[0][0]) is not None
        inverses = [torch.linalg.inv(_products(its, moments, bias)).diagonal() for its, moments in places]
        return matrix.double().square() / torch.stack(inverses).mean(0)[:, None]

    return weight.by_matrix(MOMENTS, scores)


@criterion(
    "obs",
    source="structured OBS (Hassibi & Stork 1993; Kurtić et al. 2023, arXiv 2302.04089), greedy, with compensation",
    scope="per-cost",
    requests=(MOMENTS, ARRIVAL),
    entries=_entries,
    limits="needs more samples × positions than units; looks at the next layer alone",
)
def obs(evidence: Evidence) -> Tensor:
    """Error of the next layers when the unit goes, after those worse than it, and the remaining ones take over.

    The error of removing the features R is tr(W_Rᵀ (P_RR)⁻¹ W_R), with P the inverse second moments of what the
    weights W are multiplied with (about the mean, where there is a bias): ‖W_c‖² / (C⁻¹)_cc for one. The unit with the
    least error goes, P and W are updated, and so on; a score is the largest error so far, summed over the layers that
    use the unit (or their mean, or the largest).

    Errors are relative to what the layer's outputs become a part of: the share of its energy that an output loses is
    weighted by its share of the variance of the sum, where they are added to a residual stream, or of them all, where
    they go into a non-linearity; by then they may have been scaled, by batch norm for example. Else errors are
    relative to all that the layer puts out. A layer that adds little to its stream can so lose more.

    What several layers write to and several read is a stream, which goes on past each of them: there the error of the
    features themselves, relative to all of them, is added to that of what the layer puts out.
    """
    stream = _is_stream(evidence)
    layers = [_Layer(operand, evidence, stream) for operand in evidence.operands(MOMENTS)]
    units = evidence.group.size
    scores, worst = torch.zeros(units, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    held, left = torch.arange(units), torch.ones(units, dtype=torch.bool)  # by the layers; of those, not removed yet
    step = -(-units // STEPS)
    while left.any():
        errors = evidence.combine([layer.errors() for layer in layers]).cpu()
        remaining = left.nonzero().flatten()
        going = remaining[errors[remaining].argsort(stable=True)][:step]
        for unit in going:
            worst = torch.maximum(worst, errors[unit])
            scores[held[unit]] = worst
        left[going] = False
        sparse = left.sum() < HELD * len(left)
        for layer in layers if left.any() else ():
            layer.remove(going)
            if sparse:
                layer.hold(left)
        if sparse:
            held, left = held[left], left[left]
    return scores


def _is_stream(evidence: Evidence) -> bool:
    """Whether several layers write to the units and several read them."""
    members = [m for m in evidence.group.members if evidence.sources.tensors[m.tensor].ndim > 1]
    reading = len([m for m in members if m.consumed])
    return reading > 1 and len(members) - reading > 1


class _Layer:
    """One weight that uses the units, as removal goes on."""

    def __init__(self, operand: Operand, evidence: Evidence, stream: bool):
        moments = _products(operand.contraction, operand.statistic, operand.bias)
        features = len(moments) // operand.contraction.blocks
        if operand.statistic.rows <= features:
            warn_user(
                f"group {evidence.group.name!r}: {operand.statistic.rows} samples × positions cannot tell {features} "
                "features apart, so that more of them seem to be redundant than are; give more samples",
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
        """What removing each unit next would cost, relative to what the layer's outputs become a part of: [units]."""
        rows = self._weight[self._units]  # [units, features per unit, outputs]
        blocks = self._inverse[self._units[:, :, None], self._units[:, None, :]]
        if blocks.shape[1] == 1:
            return rows.square().sum((1, 2)) / blocks[:, 0, 0]
        return (rows * torch.linalg.solve(blocks, rows)).sum((1, 2))

    def remove(self, units: Tensor) -> None:
        """Let the other features take over; those of these units keep the identity's place in the inverse."""
        gone = self._units[units.to(self._units.device)].flatten()
        share = torch.linalg.solve(self._inverse[gone[:, None], gone], self._inverse[gone])  # [gone, features]
        self._weight -= share.T @ self._weight[gone]
        self._inverse -= self._inverse[:, gone] @ share
        self._weight[gone] = 0
        self._inverse[gone], self._inverse[:, gone] = 0, 0
        self._inverse[gone, gone] = 1

    def hold(self, left: Tensor) -> None:
        """Forget all units but these [units], which are numbered anew."""
        stays = torch.ones(len(self._inverse), dtype=torch.bool, device=self._units.device)
        left = left.to(stays.device)
        stays[self._units[~left]] = False
        self._units = (stays.cumsum(0) - 1)[self._units[left]]
        self._weight, self._inverse = self._weight[stays], self._inverse[stays][:, stays]


def _relative(operand: Operand, moments: Tensor, evidence: Evidence) -> Tensor:
    """The weight, scaled so that the error of each output is a share of what the outputs become a part of.

    The share that an output loses of its energy counts as much as it brings to the variance there.
    """
    weight, contraction = operand.weight.to(moments.device), operand.contraction
    tiny = torch.finfo(weight.dtype).tiny
    energies = weight * (moments @ weight)  # summed over the features, those of the outputs
    arrival = evidence.arrival(contraction, Totals)
    if arrival is None:
        return weight / energies.sum().clamp(min=tiny).sqrt()
    part, whole = (its.variance.to(weight) for its in arrival)
    outputs = contraction.per_output(energies, operand.value).clamp(min=tiny)
    scales = (part / outputs / whole.sum().clamp(min=tiny)).sqrt()
    return weight * contraction.by_output(scales, operand.value)


def shrinkage(features: int, rows: int) -> float:
    """How much is added for want of samples: features for which there are few rows seem to predict each other."""
    return features / max(rows, 1)


def _products(contraction: Contraction, moments: Moments, bias: bool) -> Tensor:
    """Mean products of the features, about their means if a bias can take these up, ridge included.

    Between blocks of a grouped convolution they are 0: features cannot stand in for those of another block.
    """
    whole, mean = moments.mean[:-1, :-1], moments.mean[-1, :-1]
    products = whole - torch.outer(mean, mean) if bias else whole
    block = torch.arange(len(products), device=products.device) * contraction.blocks // len(products)
    least = RIDGE * whole.diagonal().mean() or 1.0  # a feature that does not vary has no energy of its own
    few = shrinkage(len(products) // contraction.blocks, moments.rows)
    ridge = (RIDGE + few) * products.diagonal().clamp(min=least)
    return torch.where(block[:, None] == block, products, 0) + torch.diag(ridge)
