"""The effective number of components: the effective sample size of the scores (EMP, arXiv 2509.25606)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from secateurs.budgets.certificate import Certificate
from secateurs.errors import AllZeroWarning, CriterionError
from secateurs.utils import warn_user

PART = 2**17
"""The number of scores that are processed together, chosen to fit into a processor cache."""


def magnitudes(scores: Tensor, where: str) -> Tensor:
    """Make scores non-negative, as EMP requires: a pool with a negative score is shifted by the minimum.

    Args:
        scores: [pools, N].
        where: a name of the components, for messages.

    Returns:
        float64 [pools, N].

    Raises:
        CriterionError: there are no scores, or one is not finite.
    """
    values = scores.detach().double()
    if not values.numel() or not torch.isfinite(values).all():
        problem = "some scores are not finite" if values.numel() else "there are no scores"
        raise CriterionError(f"the effective number of {where} cannot be computed: {problem}")
    return values - values.amin(1, keepdim=True).clamp(max=0)


def effective_count(scores: Tensor, beta: float = 1.0, where: str = "these components") -> int:
    """Compute the number of components to keep, ν = ⌊β · N_eff⌋, at least 1 and at most N (EMP, Algorithm 1).

    Args:
        scores: [N]. If all scores are zero, all components are kept and an `AllZeroWarning` is issued.
        beta: the factor β > 0.
        where: a name of the components, for messages.

    Returns:
        ν.

    Raises:
        CriterionError: there are no scores, or one is not finite.
    """
    return int(effective_counts(scores.reshape(1, -1), beta, where))


def effective_counts(scores: Tensor, beta: float = 1.0, where: str = "these components") -> Tensor:
    """Compute `effective_count` for each of several pools.

    Args:
        scores: [pools, N].
        beta: see `effective_count`.
        where: see `effective_count`.

    Returns:
        int64 [pools].

    Raises:
        CriterionError: see `effective_count`.
    """
    counts, all_zero = [], 0
    for part in _parts(scores):
        values = magnitudes(part, where)
        all_zero += int((values.amax(1) == 0).sum())
        # The factor undoes rounding: N equal scores must have N_eff = N.
        target = torch.floor(beta * effective_number(values) * (1 + 1e-12)).clamp(1, values.shape[1])
        counts.append(torch.where(values.amax(1) == 0, values.shape[1], target).long())
    if all_zero:
        share = "" if len(scores) == 1 else f" ({all_zero} of {len(scores)})"
        warn_user(
            f"all scores of {where}{share} are zero, or equal and negative, so all components are kept",
            AllZeroWarning,
        )
    return torch.cat(counts)


def effective_number(values: Tensor) -> Tensor:
    """Compute N_eff = 1 / Σ ω², with ω = values / Σ values (EMP).

    Args:
        values: magnitudes [pools, N], ≥ 0.

    Returns:
        [pools]; N for a pool of zeros.
    """
    largest = values.amax(1, keepdim=True)
    values = torch.where(largest > 0, values / largest, 1)
    return values.sum(1).square() / values.square().sum(1)


def certificate(scores: Tensor, beta: float, kept: int, where: str = "these components") -> Certificate:
    """Compute the certificate for keeping the `kept` components with the highest scores.

    Args:
        scores: [N].
        beta: the factor that was given to `effective_count`.
        kept: the result of `effective_count`, or the number of components within the limits.
        where: a name of the components, for messages.
    """
    return certificates(scores.reshape(1, -1), beta, torch.tensor([kept]), where)[0]


def certificates(scores: Tensor, beta: float, kept: Tensor, where: str = "these components") -> list[Certificate]:
    """Compute the `certificate` of each of several pools.

    Args:
        scores: [pools, N].
        beta: the factor that was given to `effective_counts`.
        kept: the number of kept components of each pool, int64 [pools].
        where: a name of the components, for messages.
    """
    result: list[Certificate] = []
    total, kept_counts = scores.shape[1], iter(kept.tolist())
    for part in _parts(scores):
        values = magnitudes(part.sort(dim=1, descending=True).values, where)
        counts = torch.tensor([next(kept_counts) for _ in values], device=values.device)
        kept_sum = (values * (torch.arange(total, device=values.device) < counts[:, None])).sum(1)
        mean, deviation = values.mean(1), values.std(1, correction=0)
        columns = (counts, effective_number(values), mean, deviation, kept_sum / (mean * total))
        rows = zip(*(column.tolist() for column in columns), strict=True)
        result += [_certificate_of_pool(total, beta, *row) for row in rows]
    return result


def _certificate_of_pool(
    total: int, beta: float, kept: int, n_eff: float, mean: float, deviation: float, mass: float
) -> Certificate:
    """The certificate of one pool; the bounds are None unless Prop. 1 applies."""
    proven = beta == 1 and kept == math.floor(n_eff * (1 + 1e-12)) and 2 <= kept < total
    return Certificate(
        components=total,
        n_eff=n_eff,
        cv=deviation / mean if mean > 0 else 0.0,
        beta=float(beta),
        kept=kept,
        mass=mass if mean > 0 else kept / total,
        bound=_bound(total, kept, kept + 1) if proven else None,
        sharper_bound=_bound(total, kept, n_eff) if proven else None,
    )


def _parts(scores: Tensor) -> tuple[Tensor, ...]:
    """Split scores [pools, N] along the pools into parts of about `PART` entries."""
    return scores.split(max(PART // max(scores.shape[1], 1), 1))


def _bound(total: int, kept: int, n_eff: float) -> float:
    """The lower bound of Prop. 1: the mass of the `kept` largest of `total` weights with the given N_eff.

    The bound is attained if one weight is large and all others are equal.
    """
    rest = max(total - n_eff, 0) / (n_eff * (total - 1))
    return kept / total + (total - kept) / total * math.sqrt(rest)
