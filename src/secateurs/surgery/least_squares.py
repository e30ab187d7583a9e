"""Least squares: express each removed feature of a weight by the kept features."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from secateurs.structure import Contraction


class Solution(NamedTuple):
    """The updated weight, and mean squares of parts of the layer's output.

    Attributes:
        weight: the updated weight in the dense shape, where the kept features compensate for the removed ones.
        constant: the part of the mean of each removed feature that the kept features do not reproduce, [features].
        whole: the mean square of the output of the dense layer.
        missing: the mean square of the output of the removed features.
        residual: the mean square of the output that is missing after compensation.
    """

    weight: Tensor
    constant: Tensor
    whole: float
    missing: float
    residual: float


class LayerProblem:
    """The least squares problem of one weight.

    Args:
        contraction: the operator call that multiplies the weight.
        weight: the weight, in the dense shape.
        kept: the features that are kept, bool [features].
        moments: the second moments of the features and of a constant 1, float64 [features + 1, features + 1].
    """

    def __init__(self, contraction: Contraction, weight: Tensor, kept: Tensor, moments: Tensor):
        self._contraction, self._like = contraction, weight
        self._weight = contraction.matrix(weight).double()
        self._mean, self._products = moments[:-1, -1], moments[:-1, :-1]
        self._blocks = kept.to(weight.device).reshape(contraction.blocks, -1)

    def solve(self, rows: int, centre: bool, mean_only: bool) -> Solution:
        """Compensate by the kept features, in each block of a grouped convolution separately.

        Args:
            rows: the number of observations in the moments.
            centre: whether moments are taken about the mean, which a bias absorbs.
            mean_only: whether removed features are replaced by their means, without a change of the weight.
        """
        weight, constant = self._weight.clone(), torch.zeros_like(self._mean)
        missing = residual = whole = 0.0
        products = self._products - torch.outer(self._mean, self._mean) if centre else self._products
        start = 0
        for kept in self._blocks:
            s, r = (start + mask.nonzero().flatten() for mask in (kept, ~kept))  # kept and removed features
            start += len(kept)
            if not len(s):  # the whole block is removed, together with the outputs of the block
                continue
            both = torch.cat([s, r])
            whole += _energy(self._weight[both], self._products[both[:, None], both])
            missing += _energy(self._weight[r], self._products[r[:, None], r])
            coefficients = torch.zeros(len(s), len(r), dtype=weight.dtype, device=weight.device)
            if not mean_only:
                parts = (products[s[:, None], s], products[s[:, None], r], products[r[:, None], r])
                # Estimating the mean uses one degree of freedom.
                coefficients = _ridge_coefficients(*parts, self._weight[r], rows - centre)
            weight[s] += coefficients @ self._weight[r]
            if centre:
                constant[r] = self._mean[r] - coefficients.T @ self._mean[s]
            error = torch.cat([-coefficients, torch.eye(len(r), dtype=weight.dtype, device=weight.device)])
            residual += _energy(error @ self._weight[r], products[both[:, None], both])
        return Solution(self._contraction.fold(weight, self._like), constant, whole, missing, residual)


def _energy(weight: Tensor, products: Tensor) -> float:
    """The mean square of the output of a weight [features, outputs] for second moments [features, features]."""
    return float((weight * (products @ weight)).sum().clamp(min=0))


def _ridge_coefficients(c_ss: Tensor, c_sr: Tensor, c_rr: Tensor, weight: Tensor, rows: int) -> Tensor:
    """The coefficients (C_SS + λI)⁻¹ C_SR that express the removed features by the kept ones, [kept, removed].

    λ minimises the generalised cross-validation error (Golub, Heath & Wahba 1979) of the outputs of the removed
    features: the unexplained energy, divided by the square of the remaining degrees of freedom.
    """
    seen = c_ss.diagonal() > 0  # kernel taps that only see padding are always zero, and explain nothing
    coefficients = torch.zeros_like(c_sr)
    if not seen.any():
        return coefficients
    features = len(c_ss)
    c_ss, c_sr = c_ss[seen][:, seen], c_sr[seen]
    values, vectors = _eigenvectors(c_ss)
    floor = features * torch.finfo(values.dtype).eps * values[-1]
    values = torch.where(values > floor, values, 0)
    rotated = vectors.T @ c_sr
    explained = (rotated @ weight).square().sum(1) / values.clamp(min=floor)  # per eigenvector, for λ = 0
    unexplained = (_energy(weight, c_rr) - explained.sum()).clamp(min=0)
    ridges = torch.logspace(-14, 1, 61, dtype=values.dtype, device=values.device) * (values.sum() / features)
    ridges = ridges.clamp(min=floor)[:, None]
    shrinkage = ridges / (values + ridges)
    error = unexplained + (explained * shrinkage.square()).sum(1)
    nonzero = values > 0
    freedom = (rows - nonzero.sum()).clamp(min=0) + (shrinkage * nonzero).sum(1)
    best = (error / freedom.square()).argmin()
    coefficients[seen] = vectors @ (rotated / (values[:, None] + ridges[best]))
    return coefficients


def _eigenvectors(moments: Tensor) -> tuple[Tensor, Tensor]:
    """The eigenvalues in ascending order, and the eigenvectors, of a symmetric positive semidefinite matrix."""
    try:
        return torch.linalg.eigh(moments)
    except RuntimeError:  # torch.linalg.LinAlgError: divide and conquer fails on some matrices of low rank
        _, values, vectors = torch.linalg.svd(moments)
        return values.flip(0), vectors.T.flip(1)
