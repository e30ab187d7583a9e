"""Structured OBS: the error that remains when a unit is removed and the remaining units compensate for it."""

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
"""Added to the diagonal of the second moments, as a share of each diagonal entry; see `shrinkage`."""
STEPS = 256
"""The largest number of greedy steps; groups with more units lose several units in each step."""
COMPACT_BELOW = 0.8
"""Removed units stay in the matrices, as rows of the identity, until the share of remaining rows is below this."""


def _entries(weight: Weight) -> Tensor:
    """Squared weights, divided by the diagonal of the inverse second moments of the inputs."""

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
    limits="needs more samples × positions than units; considers the next layers only",
)
def obs(evidence: Evidence) -> Tensor:
    """Error of the next layers after greedy removal up to this unit, if the remaining units compensate.

    Let W be a weight that uses the units, C the second moments of its inputs (about the mean if the layer has a bias)
    and P = C⁻¹. Removing the features R costs the error tr(W_Rᵀ (P_RR)⁻¹ W_R), which is ‖W_c‖² / P_cc for one feature.
    Greedy removal takes the unit with the smallest error, updates P and W, and repeats. The score of a unit is the
    largest error up to its removal. `aggregate` combines the errors of the layers that use the unit.

    Errors are relative. If the outputs of the layer are added to a residual stream or enter a non-linearity, the share
    of energy that an output loses is weighted by the share of this output in the variance at that point, after batch
    norm or other scaling. So a layer that adds little to its residual stream may lose more. At all other places errors
    are relative to the energy of all outputs of the layer.

    Units that several layers write and several layers read form a residual stream. For these units the error of the
    features, relative to all features, is added to the error of the outputs.
    """
    stream = _is_stream(evidence)
    layers = [_Layer(operand, evidence, stream) for operand in evidence.operands(MOMENTS)]
    units = evidence.group.size
    scores, worst = torch.zeros(units, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    rows = torch.arange(units)  # the unit of each row of the matrices
    alive = torch.ones(units, dtype=torch.bool)  # whether each row is not removed yet
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
    """Whether several layers write the units and several layers read them."""
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
                f"group {evidence.group.name!r}: {operand.statistic.rows} samples × positions are too few for "
                f"{features} features, so obs overestimates the redundancy; give more samples",
                FewSamplesWarning,
            )
        self._units = operand.units.to(moments.device)
        self._inverse = torch.linalg.inv(moments)
        weight = _relative(operand, moments, evidence)
        if stream:
            identity = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
            weight = torch.cat([weight, identity / moments.trace().sqrt()], 1)
        if weight.shape[1] > len(moments):  # the errors depend on W Wᵀ only, so a square root of it saves columns
            values, vectors = torch.linalg.eigh(weight @ weight.T)
            weight = vectors * values.clamp(min=0).sqrt()
        self._weight = weight

    def errors(self) -> Tensor:
        """The relative error if each of the units were removed next: [units]."""
        rows = self._weight[self._units]  # [units, features per unit, outputs]
        blocks = self._inverse[self._units[:, :, None], self._units[:, None, :]]
        if blocks.shape[1] == 1:
            return rows.square().sum((1, 2)) / blocks[:, 0, 0]
        return (rows * torch.linalg.solve(blocks, rows)).sum((1, 2))

    def remove(self, units: Tensor) -> None:
        """Remove units and let the other features compensate; removed rows of the inverse become identity rows."""
        removed = self._units[units.to(self._units.device)].flatten()
        share = torch.linalg.solve(self._inverse[removed[:, None], removed], self._inverse[removed])
        self._weight -= share.T @ self._weight[removed]
        self._inverse -= self._inverse[:, removed] @ share
        self._weight[removed] = 0
        self._inverse[removed], self._inverse[:, removed] = 0, 0
        self._inverse[removed, removed] = 1

    def compact(self, alive: Tensor) -> None:
        """Keep only the rows of the units in the mask `alive` (bool [units]), and renumber the features."""
        kept = torch.ones(len(self._inverse), dtype=torch.bool, device=self._units.device)
        alive = alive.to(kept.device)
        kept[self._units[~alive]] = False
        self._units = (kept.cumsum(0) - 1)[self._units[alive]]
        self._weight, self._inverse = self._weight[kept], self._inverse[kept][:, kept]


def _relative(operand: Operand, moments: Tensor, evidence: Evidence) -> Tensor:
    """Scale the columns of the weight [features, outputs] so that errors become relative; see `obs`."""
    weight, contraction = operand.weight.to(moments.device), operand.contraction
    tiny = torch.finfo(weight.dtype).tiny
    energies = weight * (moments @ weight)  # their sums over the features are the energies of the outputs
    arrival = evidence.arrival(contraction, Totals)
    if arrival is None:
        return weight / energies.sum().clamp(min=tiny).sqrt()
    part, whole = (totals.variance.to(weight) for totals in arrival)
    outputs = contraction.per_output(energies, operand.value).clamp(min=tiny)
    scales = (part / outputs / whole.sum().clamp(min=tiny)).sqrt()
    return weight * contraction.by_output(scales, operand.value)


def shrinkage(features: int, rows: int) -> float:
    """The additional ridge for few samples, which make features seem to predict each other.

    Args:
        features: the number of features.
        rows: the number of samples × positions.

    Returns:
        The ridge, as a share of each diagonal entry of the second moments.
    """
    return features / max(rows, 1)


def _products(contraction: Contraction, moments: Moments, bias: bool) -> Tensor:
    """The second moments [features, features] plus the ridge; about the mean if a bias can absorb the mean.

    Entries between different blocks of a grouped convolution are 0, because features of one block cannot replace
    features of another block.
    """
    second_moments, mean = moments.mean[:-1, :-1], moments.mean[-1, :-1]
    products = second_moments - torch.outer(mean, mean) if bias else second_moments
    block = torch.arange(len(products), device=products.device) * contraction.blocks // len(products)
    floor = RIDGE * second_moments.diagonal().mean() or 1.0  # constant features would get a ridge of zero
    few_samples = shrinkage(len(products) // contraction.blocks, moments.rows)
    ridge = (RIDGE + few_samples) * products.diagonal().clamp(min=floor)
    return torch.where(block[:, None] == block, products, 0) + torch.diag(ridge)
