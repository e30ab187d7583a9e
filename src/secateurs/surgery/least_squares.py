"""Least squares: what the features of a weight that stay give in the place of those that go."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from secateurs.structure import Contraction


class Solution(NamedTuple):
    """What takes over, and mean squares of what the layer puts out.

    Attributes:
        weight: of the dense shape, whose kept features do the work of all.
        constant: what they miss on average, per feature.
        whole: of all that the dense features put out.
        lost: of what is missing without those that go.
        left: of what is still missing then.
    """

    weight: Tensor
    constant: Tensor
    whole: float
    lost: float
    left: float


class Layer:
    """One weight [features, outputs] in float64, with the second moments of its features and of the constant 1."""

    def __init__(self, contraction: Contraction, weight: Tensor, kept: Tensor, moments: Tensor):
        self._contraction, self._like = contraction, weight
        self._weight = contraction.matrix(weight).double()
        self._mean, self._products = moments[:-1, -1], moments[:-1, :-1]
        self._blocks = kept.to(weight.device).reshape(contraction.blocks, -1)

    def solve(self, rows: int, centre: bool, mean_only: bool) -> Solution:
        """Let kept features take over; each block of a grouped convolution has its own."""
        weight, constant = self._weight.clone(), torch.zeros_like(self._mean)
        lost = left = whole = 0.0
        products = self._products - torch.outer(self._mean, self._mean) if centre else self._products
        start = 0
        for kept in self._blocks:
            stay, go = (start + mask.nonzero().flatten() for mask in (kept, ~kept))
            start += len(kept)
            if not len(stay):  # the block goes whole, with all that it puts out
                continue
            its = torch.cat([stay, go])
            whole += _energy(self._weight[its], self._products[its[:, None], its])
            lost += _energy(self._weight[go], self._products[go[:, None], go])
            share = torch.zeros(len(stay), len(go), dtype=weight.dtype, device=weight.device)
            if not mean_only:
                parts = (products[stay[:, None], stay], products[stay[:, None], go], products[go[:, None], go])
                share = _shares(*parts, self._weight[go], rows - centre)  # the mean takes a degree of freedom
            weight[stay] += share @ self._weight[go]
            if centre:
                constant[go] = self._mean[go] - share.T @ self._mean[stay]
            miss = torch.cat([-share, torch.eye(len(go), dtype=weight.dtype, device=weight.device)])
            left += _energy(miss @ self._weight[go], products[its[:, None], its])
        return Solution(self._contraction.fold(weight, self._like), constant, whole, lost, left)


def _energy(weight: Tensor, products: Tensor) -> float:
    return float((weight * (products @ weight)).sum().clamp(min=0))


def _shares(stay: Tensor, cross: Tensor, whole: Tensor, weight: Tensor, rows: int) -> Tensor:
    """How much of each removed feature falls to each that stays: (C_SS + λI)⁻¹ C_SR, [stay, go].

    λ minimises the generalised cross-validation error (Golub, Heath & Wahba 1979) of what the removed features gave
    to the outputs: the unexplained energy by the square of the share of degrees of freedom left.
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
    kept_back = ridges / (values + ridges)
    error = unexplained + (explicable * kept_back.square()).sum(1)
    determined = values > 0
    freedom = (rows - determined.sum()).clamp(min=0) + (kept_back * determined).sum(1)
    best = (error / freedom.square()).argmin()
    return vectors @ (rotated / (values[:, None] + ridges[best]))
