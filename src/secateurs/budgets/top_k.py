"""Choose the scored entries to keep: single weights, or features of an input."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.budgets.budget import EFFECTIVE, Budget
from secateurs.budgets.effective import effective_counts
from secateurs.errors import BudgetError


def parse_share(budget: str | Budget, what: str) -> Budget:
    """Read a budget for entries: "keep:F", "effective" or "effective:B".

    Args:
        budget: the text, or a `Budget`.
        what: a name of the entries, for messages.

    Raises:
        BudgetError: the budget is invalid or has another quantity.
    """
    try:
        goal = Budget.parse(budget)
    except BudgetError:
        goal = None
    if goal is None or goal.quantity not in ("keep", EFFECTIVE):
        raise BudgetError(
            f'budget {str(budget)!r} cannot be used for {what}; give "keep:F" with the fraction F in (0, 1] to keep, '
            f'"{EFFECTIVE}", or "{EFFECTIVE}:B" with a factor B > 0'
        )
    return goal


def number(goal: Budget, scores: Tensor, where: str) -> int:
    """Compute the number of entries to keep for scores [N]; see `numbers`."""
    return int(numbers(goal, scores[None], where))


def numbers(goal: Budget, scores: Tensor, where: str) -> Tensor:
    """Compute the number of entries to keep in each pool.

    The number is max(⌊F · N⌋, 1) for "keep:F", and the effective number (arXiv 2509.25606) for "effective".

    Args:
        goal: a budget of the quantity "keep" or "effective".
        scores: [pools, N].
        where: a name of the entries, for messages.

    Returns:
        int64 [pools].

    Raises:
        CriterionError: see `effective_count`.
    """
    if goal.quantity == EFFECTIVE:
        return effective_counts(scores, goal.fraction, where)
    kept = max(int(goal.fraction * scores.shape[1] + 1e-9), 1)  # in floating point, 0.29 × 100 < 29
    return torch.full((len(scores),), kept, device=scores.device)


def best(scores: Tensor, counts: Tensor) -> Tensor:
    """Mark the entries with the highest scores of each pool; of equal scores, the lower index is marked first.

    Args:
        scores: [pools, entries].
        counts: the number of entries to mark in each pool, int64 [pools].

    Returns:
        bool [pools, entries], with exactly `counts` true entries per row.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    ranks = torch.arange(scores.shape[1], device=scores.device)
    chosen = ranks < counts.to(scores.device)[:, None]
    return torch.zeros_like(chosen).scatter_(1, order, chosen)
