"""The best of scored entries: single weights, or features of an input."""

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
        BudgetError: the text is no such budget.
    """
    try:
        goal = Budget.parse(budget)
    except BudgetError:
        goal = None
    if goal is None or goal.quantity not in ("keep", EFFECTIVE):
        raise BudgetError(
            f'budget {str(budget)!r} cannot be used for {what}: give "keep:F" with the fraction F in (0, 1] that is '
            f'kept, "{EFFECTIVE}", or "{EFFECTIVE}:B" with a factor B > 0'
        )
    return goal


def number(goal: Budget, scores: Tensor, where: str) -> int:
    """The number of entries that are kept, of scores [N]; see `numbers`."""
    return int(numbers(goal, scores[None], where))


def numbers(goal: Budget, scores: Tensor, where: str) -> Tensor:
    """The number of entries of each pool that are kept: max(⌊F · N⌋, 1), or the effective number (arXiv 2509.25606).

    Args:
        goal: a budget for "keep" or "effective".
        scores: [pools, N].
        where: a name of the entries, for messages.

    Returns:
        int64 [pools].

    Raises:
        CriterionError: see `effective_count`.
    """
    if goal.quantity == EFFECTIVE:
        return effective_counts(scores, goal.fraction, where)
    kept = max(int(goal.fraction * scores.shape[1] + 1e-9), 1)  # 0.29 × 100 is a little less than 29
    return torch.full((len(scores),), kept, device=scores.device)


def best(scores: Tensor, counts: Tensor) -> Tensor:
    """Mark the entries with the highest scores of each pool; equal scores are resolved for the lower index.

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
