"""How units vary together over samples: correlations, and the share of a unit that its peers explain."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SHRINKAGE = 0.001
ROUNDING = 1e-7
"""What varies by less, relative to its largest value, is constant but for rounding."""


def varies(z: Tensor) -> Tensor:
    """Which units are not constant over the samples z [samples, units]: bool [units]."""
    largest = z.abs().amax(0) + torch.finfo(torch.float32).tiny
    return (z - z.mean(0)).norm(dim=0) > ROUNDING * math.sqrt(len(z)) * largest


def correlation(z: Tensor) -> Tensor:
    """The correlation matrix [units, units] over the samples z [samples, units], all of whose units vary."""
    centred = z - z.mean(0)
    normal = centred / centred.norm(dim=0)
    return (normal.T @ normal).fill_diagonal_(1)


def unexplained(z: Tensor) -> Tensor:
    """Share of each unit's variance that the others do not explain linearly, [units] in [s, 1]; all units vary.

    It is 1 / (R_s⁻¹)_cc with R_s = (1 − s)R + sI, which is 1 − R² of the regression of unit c on all others when a
    share s of each is noise of its own.
    """
    identity = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return 1 / torch.linalg.inv((1 - SHRINKAGE) * correlation(z) + SHRINKAGE * identity).diagonal()


def largest_correlation(z: Tensor) -> Tensor:
    """The largest |r| of each unit with another, [units] in [0, 1]; all units vary."""
    return correlation(z).fill_diagonal_(0).abs().amax(1).clamp(max=1)


def spectral_gap(z: Tensor) -> float:
    """γ = λ_k − λ_{k+1} of the correlation matrix of z [samples, units], at k = units / 2 (NDI, Eq. 26)."""
    values = torch.linalg.eigvalsh(correlation(z)).flip(0)
    k = len(values) // 2
    return float(values[k - 1] - values[k])


def sampling_error(z: Tensor) -> float:
    """An estimate of ‖R̂ − R‖₂ (NDI, Eq. 25): half of ‖R₁ − R₂‖₂, each of every second sample of z [samples, units].

    The errors of both are independent, so that their difference is as large as their sum, twice the error of the mean.
    """
    return float(torch.linalg.matrix_norm(correlation(z[::2]) - correlation(z[1::2]), 2)) / 2


def correlation_bounds(r: Tensor, k: int) -> Tensor:
    """Bounds of |r_cj| by the mass μ of each unit in the leading k eigenvectors: Lemma 3.5 of NDI, put right.

    λ_1 √(μ_c μ_j) + λ_{k+1} √((1 − μ_c)(1 − μ_j)), by Cauchy–Schwarz on both parts of R. As printed, √(μ_c μ_j) alone,
    it is false: two equal units outside a larger block of correlated ones have μ = 0 and r = 1.

    Args:
        r: a correlation matrix [units, units].
        k: how many eigenvectors, at least 1 and fewer than units.
    """
    values, vectors = torch.linalg.eigh(r)
    mass = vectors[:, -k:].square().sum(1).clamp(0, 1)
    inside, outside = mass.sqrt(), (1 - mass).sqrt()
    return values[-1] * inside[:, None] * inside + values[-k - 1] * outside[:, None] * outside
