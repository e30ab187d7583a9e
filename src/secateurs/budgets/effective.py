"""The effective number of components by EMP: the effective sample size of their scores (arXiv 2509.25606)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from secateurs.budgets.certificate import Certificate
from secateurs.errors import AllZeroWarning, CriterionError
from secateurs.utils import warn_user

PART = 2**17
"""Entries that are processed together: as many as fit into the cache of a processor."""


def magnitudes(scores: Tensor, where: str) -> Tensor:
    """The scores that EMP works on, float64 [pools, N]: a pool with a negative score is shifted by its minimum.

    Raises:
        CriterionError: there are no scores, or one is not finite.
    """
    values = scores.detach().double()
    if not values.numel() or not torch.isfinite(values).all():
        raise CriterionError(f"the effective number of {where} needs finite scores; {values.numel()} were given")
    return values - values.amin(1, keepdim=True).clamp(max=0)


def effective_count(scores: Tensor, beta: float = 1.0, where: str = "these components") -> int:
    """The number of components to keep: ν = ⌊β · N_eff⌋, at least 1 and at most all (EMP, Algorithm 1).

    Args:
        scores: [N]; if all are zero, all are kept, with an `AllZeroWarning`.
        beta: the factor β > 0.
        where: a name of the components, for messages.

    Raises:
        CriterionError: there are no scores, or one is not finite.
    """
    return int(effective_counts(scores.reshape(1, -1), beta, where))


def effective_counts(scores: Tensor, beta: float = 1.0, where: str = "these components") -> Tensor:
    """`effective_count` of each of several pools: int64 [pools], for scores [pools, N]."""
    counts, undecided = [], 0
    for part in _parts(scores):
        values = magnitudes(part, where)
        undecided += int((values.amax(1) == 0).sum())
        # N equal scores have N_eff = N up to rounding.
        wanted = torch.floor(beta * effective_number(values) * (1 + 1e-12)).clamp(1, values.shape[1])
        counts.append(torch.where(values.amax(1) == 0, values.shape[1], wanted).long())
    if undecided:
        several = "" if len(scores) == 1 else f" ({undecided} of {len(scores)})"
        warn_user(
            f"all scores of {where}{several} are zero, or equal and negative, and do not distinguish the components: "
            "all are kept",
            AllZeroWarning,
        )
    return torch.cat(counts)


def effective_number(values: Tensor) -> Tensor:
    """N_eff = 1 / Σ ω² of magnitudes [pools, N], with ω = values / Σ values: [pools]; N if all are zero."""
    largest = values.amax(1, keepdim=True)
    values = torch.where(largest > 0, values / largest, 1)
    return values.sum(1).square() / values.square().sum(1)


def certificate(scores: Tensor, beta: float, kept: int, where: str = "these components") -> Certificate:
    """The evidence for keeping the best `kept` components.

    Args:
        scores: [N].
        beta: the factor that was given to `effective_count`.
        kept: the number that `effective_count` returned, or the number within the limits.
        where: a name of the components, for messages.
    """
    return certificates(scores.reshape(1, -1), beta, torch.tensor([kept]), where)[0]


def certificates(scores: Tensor, beta: float, kept: Tensor, where: str = "these components") -> list[Certificate]:
    """`certificate` of each of several pools, from scores [pools, N] and the numbers kept, int64 [pools]."""
    result: list[Certificate] = []
    total, remaining = scores.shape[1], iter(kept.tolist())
    for part in _parts(scores):
        values = magnitudes(part.sort(dim=1, descending=True).values, where)
        counts = torch.tensor([next(remaining) for _ in values], device=values.device)
        best = (values * (torch.arange(total, device=values.device) < counts[:, None])).sum(1)
        mean, spread = values.mean(1), values.std(1, correction=0)
        columns = (counts, effective_number(values), mean, spread, best / (mean * total))
        result += [_certified(total, beta, *row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    return result


def _certified(
    total: int, beta: float, kept: int, n_eff: float, mean: float, spread: float, mass: float
) -> Certificate:
    proven = beta == 1 and kept == math.floor(n_eff * (1 + 1e-12)) and 2 <= kept < total
    return Certificate(
        components=total,
        n_eff=n_eff,
        cv=spread / mean if mean > 0 else 0.0,
        beta=float(beta),
        kept=kept,
        mass=mass if mean > 0 else kept / total,
        bound=_bound(total, kept, kept + 1) if proven else None,
        sharper_bound=_bound(total, kept, n_eff) if proven else None,
    )


def _parts(scores: Tensor) -> tuple[Tensor, ...]:
    return scores.split(max(PART // max(scores.shape[1], 1), 1))


def _bound(total: int, kept: int, n_eff: float) -> float:
    """The mass of the largest `kept` of `total` weights, given N_eff, if one is large and all others are equal."""
    rest = max(total - n_eff, 0) / (n_eff * (total - 1))
    return kept / total + (total - kept) / total * math.sqrt(rest)
