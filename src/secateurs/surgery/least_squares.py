"""Least squares: how much of each removed feature of a weight falls to each kept feature."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from secateurs.structure import Contraction


class Solution(NamedTuple):
    """The updated weight, and mean squares of parts of the layer's output.

    Attributes:
        weight: of the dense shape; the kept features compensate for the removed ones.
        constant: per feature, the mean that the compensation misses.
        whole: the mean square of the dense output.
        missing: of the part that the removed features gave.
        residual: of the part that is missing after compensation.
    """

    weight: Tensor
    constant: Tensor
    whole: float
    missing: float
    residual: float


class LayerProblem:
    """One weight [features, outputs] in float64, with the second moments of its features and of the constant 1."""

    def __init__(self, contraction: Contraction, weight: Tensor, kept: Tensor, moments: Tensor):
        self._contraction, self._like = contraction, weight
        self._weight = contraction.matrix(weight).double()
        self._mean, self._products = moments[:-1, -1], moments[:-1, :-1]
        self._blocks = kept.to(weight.device).reshape(contraction.blocks, -1)

    def solve(self, rows: int, centre: bool, mean_only: bool) -> Solution:
        """Compensate by the kept features, in each block of a grouped convolution separately.

        Args:
            rows: the number of observations behind the moments.
            centre: take moments about the mean, which a bias absorbs.
            mean_only: leave the weights, and replace removed features by their means.
        """
        weight, constant = self._weight.clone(), torch.zeros_like(self._mean)
        missing = residual = whole = 0.0
        products = self._products - torch.outer(self._mean, self._mean) if centre else self._products
        start = 0
        for kept in self._blocks:
            stay, go = (start + mask.nonzero().flatten() for mask in (kept, ~kept))
            start += len(kept)
            if not len(stay):  # the whole block is removed, with its outputs
                continue
            both = torch.cat([stay, go])
            whole += _energy(self._weight[both], self._products[both[:, None], both])
            missing += _energy(self._weight[go], self._products[go[:, None], go])
            share = torch.zeros(len(stay), len(go), dtype=weight.dtype, device=weight.device)
            if not mean_only:
                parts = (products[stay[:, None], stay], products[stay[:, None], go], products[go[:, None], go])
                share = _shares(*parts, self._weight[go], rows - centre)  # the mean takes a degree of freedom
            weight[stay] += share @ self._weight[go]
            if centre:
                constant[go] = self._mean[go] - share.T @ self._mean[stay]
            error = torch.cat([-share, torch.eye(len(go), dtype=weight.dtype, device=weight.device)])
            residual += _energy(error @ self._weight[go], products[both[:, None], both])
        return Solution(self._contraction.fold(weight, self._like), constant, whole, missing, residual)


def _energy(weight: Tensor, products: Tensor) -> float:
    """The mean square of the output of a weight whose features have these second moments."""
    return float((weight * (products @ weight)).sum().clamp(min=0))


def _shares(stay: Tensor, cross: Tensor, whole: Tensor, weight: Tensor, rows: int) -> Tensor:
    """The share of each removed feature that falls to each kept feature: (C_SS + λI)⁻¹ C_SR, [kept, removed].

    λ minimises the generalised cross-validation error (Golub, Heath & Wahba 1979) of the outputs of the removed
    features: the unexplained energy divided by the square of the share of degrees of freedom that remain.
    """
    values, vectors = torch.linalg.eigh(stay)
    floor = len(values) * torch.finfo(values.dtype).eps * values[-1]
    values = torch.where(values > floor, values, 0)
    if values[-1] == 0:
        return torch.zeros_like(cross)
    rotated = vectors.T @ cross
    explicable = (rotated @ weight).square().sum(1) / values.clamp(min=floor)  # per direction, with λ = 0
    unexplained = (_energy(weight, whole) - explicable.sum()).clamp(min=0)
    ridges = torch.logspace(-14, 1, 61, dtype=values.dtype, device=values.device) * values.mean()
    ridges = ridges.clamp(min=floor)[:, None]
    shrinkage = ridges / (values + ridges)
    error = unexplained + (explicable * shrinkage.square()).sum(1)
    determined = values > 0
    freedom = (rows - determined.sum()).clamp(min=0) + (shrinkage * determined).sum(1)
    best = (error / freedom.square()).argmin()
    return vectors @ (rotated / (values[:, None] + ridges[best]))
