"""The components of NDI: diversity, informativeness and sensitivity, as printed in the paper and repaired."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from secateurs.criteria.correlation import largest_correlation, unexplained, varies
from secateurs.criteria.evidence import Evidence
from secateurs.criteria.registry import criterion
from secateurs.criteria.request import Request
from secateurs.errors import CriterionError, FewSamplesWarning
from secateurs.observe import HESSIAN_DIAGONAL, Pooled
from secateurs.utils import warn_user

POOLED = Request("after", Pooled)
PAPER = "NDI (neural differentiation)"
STABLE, NORM = 1e-5, 1e-8
"""ε_stab and ε_norm of the paper."""
BINS, SMOOTHING = 16, 1.0
"""The number of bins B and the smoothing α of the paper's entropy."""


@criterion(
    "diversity",
    source=f"{PAPER}, Eq. 8, with the precision matrix in place of Eq. 9",
    scope="global",
    requests=(POOLED,),
    limits="needs more samples than units; detects near-duplicates less reliably than exact duplicates",
)
def diversity(evidence: Evidence) -> Tensor:
    """Share of the unit's variance that the other units do not explain linearly; constant units score 0.

    The share is 1 / (R_s⁻¹)_cc with the correlation matrix R and R_s = (1 − s)R + sI.
    """
    return evidence.combine([_guarded(unexplained, z) for z in _samples(evidence, linear=True)])


@criterion(
    "max-correlation",
    source="this library: 1 − max |r|²",
    scope="global",
    requests=(POOLED,),
    limits="ignores combinations of several units",
)
def max_correlation(evidence: Evidence) -> Tensor:
    """One minus the largest squared correlation with another unit; constant units score 0."""
    return evidence.combine([_guarded(_distinctness, z) for z in _samples(evidence)])


@criterion(
    "diversity-literal",
    source=f"{PAPER}, Eq. 5-11",
    scope="global",
    requests=(POOLED,),
    limits="φ = R_cc / tr R is equal for all units except for ε: small variances score high, and dead units highest",
)
def diversity_literal(evidence: Evidence) -> Tensor:
    """One minus the min–max normalised loadings on all eigenmodes of the correlation matrix, as printed."""
    return evidence.combine([_printed_diversity(z, len(z[0])) for z in _samples(evidence)])


@criterion(
    "diversity-topk",
    source=f"{PAPER}, Eq. 38 with k = C / 2",
    scope="global",
    requests=(POOLED,),
    limits="depends on k",
)
def diversity_topk(evidence: Evidence) -> Tensor:
    """Same as diversity-literal, over the leading half of the eigenmodes."""
    return evidence.combine([_printed_diversity(z, max(len(z[0]) // 2, 1)) for z in _samples(evidence)])


@criterion(
    "informativeness",
    source=f"{PAPER}, Eq. 17-18, with bins pooled over the layer",
    scope="global",
    requests=(POOLED,),
    limits="ignores whether the next layers use the information",
)
def informativeness(evidence: Evidence) -> Tensor:
    """Entropy of the unit's pooled activations over bins with equal shares of the layer's activations, in [0, 1].

    Constant units score 0 and do not affect the bins.
    """
    return evidence.combine([_guarded(_relative_entropy, z) for z in _samples(evidence)])


@criterion(
    "informativeness-literal",
    source=f"{PAPER}, Eq. 17-18",
    scope="global",
    requests=(POOLED,),
    limits="about 1 for every unit that is not constant, because the bins hold equal shares of the unit's own values",
)
def informativeness_literal(evidence: Evidence) -> Tensor:
    """Entropy of the unit's pooled activations over bins between the unit's own quantiles, as printed; not clipped."""
    return evidence.combine([_entropy(z, _edges(z)) for z in _samples(evidence)])


@criterion(
    "sensitivity-literal",
    source=f"{PAPER}, Eq. 19-21",
    scope="global",
    gradients=(HESSIAN_DIAGONAL,),
    limits="in ReLU networks the diagonal is mostly noise of either sign",
)
def sensitivity_literal(evidence: Evidence) -> Tensor:
    """Mean of the Hessian's diagonal over the parameters that produce the unit, min–max normalised."""
    layers = evidence.entries(lambda w: w.gradient(HESSIAN_DIAGONAL), consumed=False, vectors=True)
    return _min_max(torch.cat([layer.double() for layer in layers], 1).mean(1))


def _samples(evidence: Evidence, linear: bool = False) -> list[Tensor]:
    """Mean-pooled activations (Eq. 2), float64 [samples, units], for each place where the units are observed.

    `linear` warns if linear regression on the other units would explain every unit.
    """
    pooled = [statistic.values.double() for statistic in evidence.statistics(POOLED)]
    samples, units = pooled[0].shape
    if samples < 2:
        raise CriterionError("diversity and informativeness need at least 2 samples; the paper uses about 1,000")
    if linear and samples <= units:
        warn_user(
            f"group {evidence.group.name!r} has {units} units, but {samples} samples can show at most {samples - 1} "
            "independent units: the diversity of all units is underestimated; give more samples",
            FewSamplesWarning,
        )
    return pooled


def _guarded(score: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Score the units that vary over samples [samples, units]; constant units score 0."""
    live = varies(z)
    scores = torch.zeros_like(z[0])
    if live.any():
        scores[live] = score(z[:, live])
    return scores


def _distinctness(z: Tensor) -> Tensor:
    return 1 - largest_correlation(z).square()


def _relative_entropy(z: Tensor) -> Tensor:
    """The entropy of each unit over bins of the values of all units, clipped to [0, 1]."""
    return _entropy(z, _edges(z.flatten())[:, None]).clamp(0, 1)


def _printed_diversity(z: Tensor, modes: int) -> Tensor:
    """One minus the min–max normalised loadings of the units on the leading eigenmodes (Eq. 5-11)."""
    centred = z - z.mean(0)
    covariance = centred.T @ centred / (len(z) - 1)
    scale = (covariance.diagonal() + STABLE).rsqrt()
    values, vectors = torch.linalg.eigh(scale[:, None] * covariance * scale)
    loadings = vectors.square()[:, -modes:]
    return 1 - _min_max((loadings * values[-modes:]).sum(1) / (values.sum() + STABLE))


def _min_max(values: Tensor) -> Tensor:
    """Normalise values to [0, 1) by the minimum and maximum (Eq. 10, 21)."""
    return (values - values.min()) / (values.max() - values.min() + NORM)


def _edges(z: Tensor) -> Tensor:
    """The inner edges of bins that hold equal shares of the samples: [bins − 1, ...] for z [samples, ...]."""
    shares = torch.arange(1, BINS, dtype=z.dtype, device=z.device) / BINS
    ordered = z.sort(0).values
    return ordered[(shares * (len(z) - 1)).round().long()]


def _entropy(z: Tensor, edges: Tensor) -> Tensor:
    """The smoothed entropy of each unit with the Miller–Madow correction, divided by ln B: [units] (Eq. 17-18)."""
    samples, units = z.shape
    inner = edges.expand(BINS - 1, units).T.contiguous()
    bins = torch.searchsorted(inner, z.T.contiguous(), right=True)
    counts = torch.zeros(units, BINS, dtype=z.dtype, device=z.device).scatter_add_(1, bins, torch.ones_like(z.T))
    share = (counts + SMOOTHING) / (samples + SMOOTHING * BINS)
    return (-(share * share.log()).sum(1) + (BINS - 1) / (2 * samples)) / math.log(BINS)
