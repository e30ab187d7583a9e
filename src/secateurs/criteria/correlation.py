"""Correlations between units over samples, and the share of a unit's variance that the other units explain."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SHRINKAGE = 0.001
"""The share s of the identity in the shrunk correlation matrix R_s = (1 − s)R + sI."""
ROUNDING = 1e-7
"""Units whose standard deviation is at most this share of their largest magnitude count as constant."""


def varies(z: Tensor) -> Tensor:
    """Find the units that are not constant over the samples.

    Args:
        z: activations, [samples, units].

    Returns:
        bool [units]: True for each unit that varies.
    """
    largest = z.abs().amax(0) + torch.finfo(torch.float32).tiny
    return (z - z.mean(0)).norm(dim=0) > ROUNDING * math.sqrt(len(z)) * largest


def correlation(z: Tensor) -> Tensor:
    """Compute the correlation matrix R of the units.

    Args:
        z: activations, [samples, units]; no unit is constant.

    Returns:
        The symmetric matrix R, [units, units], with a diagonal of ones.
    """
    centred = z - z.mean(0)
    standardized = centred / centred.norm(dim=0)
    return (standardized.T @ standardized).fill_diagonal_(1)


def unexplained(z: Tensor) -> Tensor:
    """Compute the share of each unit's variance that the other units do not explain linearly.

    The share of unit c is 1 / (R_s⁻¹)_cc with R_s = (1 − s)R + sI, where R is the correlation matrix and s is
    `SHRINKAGE`. Suppose that a share s of the variance of each unit were independent noise. Then the result would be
    one minus the coefficient of determination in the regression of unit c on all other units.

    Args:
        z: activations, [samples, units]; no unit is constant.

    Returns:
        The share of each unit, [units], in [s, 1].
    """
    identity = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return 1 / torch.linalg.inv((1 - SHRINKAGE) * correlation(z) + SHRINKAGE * identity).diagonal()


def largest_correlation(z: Tensor) -> Tensor:
    """Compute the largest absolute correlation of each unit with any other unit.

    Args:
        z: activations, [samples, units]; no unit is constant.

    Returns:
        The largest |r| of each unit, [units], in [0, 1].
    """
    return correlation(z).fill_diagonal_(0).abs().amax(1).clamp(max=1)


def spectral_gap(z: Tensor) -> float:
    """Compute the spectral gap γ = λ_k − λ_{k+1} of the correlation matrix, with k = ⌊units / 2⌋ (NDI, Eq. 26).

    Args:
        z: activations, [samples, units], at least 2 units; no unit is constant.

    Returns:
        γ ≥ 0, where λ_1 ≥ λ_2 ≥ … are the eigenvalues of the correlation matrix.
    """
    values = torch.linalg.eigvalsh(correlation(z)).flip(0)
    k = len(values) // 2
    return float(values[k - 1] - values[k])


def sampling_error(z: Tensor) -> float:
    """Estimate the sampling error ‖R̂ − R‖₂ of the correlation matrix (NDI, Eq. 25).

    The estimate is ‖R₁ − R₂‖₂ / 2. R₁ is the correlation matrix of the samples of even index, and R₂ that of the
    samples of odd index. The errors of R₁ and R₂ are independent, so the difference of the errors is about as large as
    the sum of the errors. The sum is twice the error of (R₁ + R₂) / 2.

    Args:
        z: activations, [samples, units]; no unit is constant in either half of the samples.

    Returns:
        The estimated spectral norm of the error, ≥ 0.
    """
    return float(torch.linalg.matrix_norm(correlation(z[::2]) - correlation(z[1::2]), 2)) / 2


def correlation_bounds(r: Tensor, k: int) -> Tensor:
    """Bound each |r_cj| by the eigenvalues and the leading eigenvectors (a correction of NDI, Lemma 3.5).

    Let the mass μ_c be the sum of squares of the entries of unit c in the k leading eigenvectors. The bound is
    λ_1 √(μ_c μ_j) + λ_{k+1} √((1 − μ_c)(1 − μ_j)). It follows from the Cauchy–Schwarz inequality for the leading part
    and for the remaining part of R. The paper prints √(μ_c μ_j) as the bound. A counterexample are two equal units that
    are uncorrelated with a larger block of correlated units: for both units μ = 0, but r = 1.

    Args:
        r: a correlation matrix, [units, units].
        k: the number of leading eigenvectors, at least 1 and smaller than the number of units.

    Returns:
        The bounds, [units, units].
    """
    values, vectors = torch.linalg.eigh(r)
    mass = vectors[:, -k:].square().sum(1).clamp(0, 1)
    inside, outside = mass.sqrt(), (1 - mass).sqrt()
    return values[-1] * inside[:, None] * inside + values[-k - 1] * outside[:, None] * outside
