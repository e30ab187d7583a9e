"""EMP: how many components are effective, by the effective sample size of their scores (arXiv 2509.25606)."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from secateurs.certificate import Certificate
from secateurs.errors import AllZeroWarning, CriterionError


def magnitudes(scores: Tensor, where: str) -> Tensor:
    """Scores as EMP takes them, float64 [N]: shifted by their minimum if any is negative.

    Raises:
        CriterionError: there are none, or one is not finite.
    """
    values = scores.detach().double().flatten().cpu()
    if not len(values) or not torch.isfinite(values).all():
        raise CriterionError(f"the effective number of {where} needs finite scores; {len(values)} were given")
    return values - values.min() if values.min() < 0 else values


def effective_count(scores: Tensor, beta: float = 1.0, where: str = "these components") -> int:
    """How many components to keep: ν = ⌊β · N_eff⌋, at least 1 and at most all (EMP, Algorithm 1).

    Args:
        scores: [N]; if all are zero, all are kept, with an `AllZeroWarning`.
        beta: scales the number.
        where: of what, for messages.

    Raises:
        CriterionError: there are no scores, or one is not finite.
    """
    values = magnitudes(scores, where)
    if values.max() == 0:
        warnings.warn(
            f"all scores of {where} are zero, or equal and negative: nothing tells them apart, so all are kept",
            AllZeroWarning,
            stacklevel=3,
        )
        return len(values)
    # N equal scores have N_eff = N but for rounding.
    return min(max(math.floor(beta * effective_number(values) * (1 + 1e-12)), 1), len(values))


def effective_number(values: Tensor) -> float:
    """N_eff = 1 / Σ ω² of magnitudes [N], with ω = values / Σ values; N if all are zero."""
    if values.max() == 0:
        return float(len(values))
    values = values / values.max()
    return float(values.sum() ** 2 / values.square().sum())


def certificate(scores: Tensor, beta: float, kept: int, where: str = "these components") -> Certificate:
    """What keeping the best `kept` components rests on.

    Args:
        scores: [N].
        beta: as for `effective_count`.
        kept: what that gave, or limits made of it.
        where: of what, for messages.
    """
    values = magnitudes(scores, where).sort(descending=True).values
    total, mean, n_eff = len(values), values.mean(), effective_number(values)
    proven = beta == 1 and kept == math.floor(n_eff * (1 + 1e-12)) and 2 <= kept < total
    return Certificate(
        components=total,
        n_eff=n_eff,
        cv=float(values.std(correction=0) / mean) if mean > 0 else 0.0,
        beta=float(beta),
        kept=kept,
        mass=float(values[:kept].sum() / values.sum()) if mean > 0 else kept / total,
        bound=_bound(total, kept, kept + 1) if proven else None,
        sharper_bound=_bound(total, kept, n_eff) if proven else None,
    )


def _bound(total: int, kept: int, n_eff: float) -> float:
    """The mass of the largest `kept` of `total` weights of which one is large and all others are equal, given N_eff."""
    rest = max(total - n_eff, 0) / (n_eff * (total - 1))
    return kept / total + (total - kept) / total * math.sqrt(rest)
