"""The components of NDI: the diversity, informativeness and sensitivity of a unit."""

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
STABLE, NORM = 1e-5, 1e-8  # ε_stab, ε_norm
BINS, SMOOTHING = 16, 1.0  # B, α


@criterion(
    "diversity",
    source=f"{PAPER}, after Eq. 8, with the precision matrix in the place of Eq. 9",
    scope="global",
    requests=(POOLED,),
    limits="needs more samples than units; near-duplicates hide each other less than exact ones",
)
def diversity(evidence: Evidence) -> Tensor:
    """Share of the unit's variance that its peers do not explain linearly: 1 / (R_s⁻¹)_cc, R_s = (1 − s)R + sI.

    Constant units score 0.
    """
    return evidence.combine([_guarded(unexplained, z) for z in _samples(evidence, linear=True)])


@criterion(
    "max-correlation",
    source="ours: 1 − max |r|²",
    scope="global",
    requests=(POOLED,),
    limits="blind to combinations of several units",
)
def max_correlation(evidence: Evidence) -> Tensor:
    """One minus the largest squared correlation with another unit; constant units score 0."""
    return evidence.combine([_guarded(_alone, z) for z in _samples(evidence)])


@criterion(
    "diversity-literal",
    source=f"{PAPER}, Eq. 5-11",
    scope="global",
    requests=(POOLED,),
    limits="φ is R_cc / tr R, the same for all but for ε: it ranks by falling variance, and dead units first",
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
    """As diversity-literal, over the leading half of the eigenmodes."""
    return evidence.combine([_printed_diversity(z, max(len(z[0]) // 2, 1)) for z in _samples(evidence)])


@criterion(
    "informativeness",
    source=f"{PAPER}, Eq. 17-18, with bins pooled over the layer",
    scope="global",
    requests=(POOLED,),
    limits="blind to the use of the information",
)
def informativeness(evidence: Evidence) -> Tensor:
    """Entropy of the unit's pooled activations over bins that hold equal shares of the layer's, in [0, 1].

    Constant units score 0 and do not affect the bins.
    """
    return evidence.combine([_guarded(_relative_entropy, z) for z in _samples(evidence)])


@criterion(
    "informativeness-literal",
    source=f"{PAPER}, Eq. 17-18",
    scope="global",
    requests=(POOLED,),
    limits="about 1 for every unit whose values differ: quantiles of its own hold equal shares",
)
def informativeness_literal(evidence: Evidence) -> Tensor:
    """Entropy over bins between the unit's own quantiles, as printed; not clipped."""
    return evidence.combine([_entropy(z, _edges(z)) for z in _samples(evidence)])


@criterion(
    "sensitivity-literal",
    source=f"{PAPER}, Eq. 19-21",
    scope="global",
    gradients=(HESSIAN_DIAGONAL,),
    limits="on networks of ReLUs the diagonal is mostly noise, of either sign",
)
def sensitivity_literal(evidence: Evidence) -> Tensor:
    """Mean of the Hessian's diagonal over the parameters that make the unit, min–max normalised."""
    layers = evidence.entries(lambda w: w.gradient(HESSIAN_DIAGONAL), consumed=False, vectors=True)
    return _spread(torch.cat([layer.double() for layer in layers], 1).mean(1))


def _samples(evidence: Evidence, linear: bool = False) -> list[Tensor]:
    """Mean-pooled activations (Eq. 2), float64 [samples, units], one per place where the units are seen."""
    pooled = [statistic.values.double() for statistic in evidence.statistics(POOLED)]
    samples, units = pooled[0].shape
    if samples < 2:
        raise CriterionError("diversity and informativeness need at least 2 samples; the paper takes about 1,000")
    if linear and samples <= units:
        warn_user(
            f"group {evidence.group.name!r} has {units} units, but {samples} samples can show at most {samples - 1} of "
            "them to be independent: every unit will seem to be explained by its peers; give more samples",
            FewSamplesWarning,
        )
    return pooled


def _guarded(score: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Scores of the units that vary over samples; constant units score 0."""
    live = varies(z)
    scores = torch.zeros_like(z[0])
    if live.any():
        scores[live] = score(z[:, live])
    return scores


def _alone(z: Tensor) -> Tensor:
    return 1 - largest_correlation(z).square()


def _relative_entropy(z: Tensor) -> Tensor:
    return _entropy(z, _edges(z.flatten())[:, None]).clamp(0, 1)


def _printed_diversity(z: Tensor, modes: int) -> Tensor:
    centred = z - z.mean(0)
    covariance = centred.T @ centred / (len(z) - 1)
    scale = (covariance.diagonal() + STABLE).rsqrt()
    values, vectors = torch.linalg.eigh(scale[:, None] * covariance * scale)
    loadings = vectors.square()[:, -modes:]
    return 1 - _spread((loadings * values[-modes:]).sum(1) / (values.sum() + STABLE))


def _spread(values: Tensor) -> Tensor:
    """Min–max normalised (Eq. 10, 21)."""
    return (values - values.min()) / (values.max() - values.min() + NORM)


def _edges(z: Tensor) -> Tensor:
    """Inner quantiles between bins that hold equal shares: [bins − 1, ...]."""
    shares = torch.arange(1, BINS, dtype=z.dtype, device=z.device) / BINS
    ordered = z.sort(0).values
    return ordered[(shares * (len(z) - 1)).round().long()]


def _entropy(z: Tensor, edges: Tensor) -> Tensor:
    """Smoothed entropy plus the Miller–Madow term, divided by ln B, per unit."""
    samples, units = z.shape
    inner = edges.expand(BINS - 1, units).T.contiguous()
    bins = torch.searchsorted(inner, z.T.contiguous(), right=True)
    counts = torch.zeros(units, BINS, dtype=z.dtype, device=z.device).scatter_add_(1, bins, torch.ones_like(z.T))
    share = (counts + SMOOTHING) / (samples + SMOOTHING * BINS)
    return (-(share * share.log()).sum(1) + (BINS - 1) / (2 * samples)) / math.log(BINS)
