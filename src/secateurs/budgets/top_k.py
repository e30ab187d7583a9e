"""Choosing the best of scored entries: single weights, or features of an input."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.budgets.budget import EFFECTIVE, Budget
from secateurs.budgets.effective import effective_counts
from secateurs.errors import BudgetError


def parse_share(budget: str, what: str) -> Budget:
    """Read "keep:F", "effective" or "effective:B".

    Args:
        budget: the text.
        what: is kept, for messages.

    Raises:
        BudgetError: the text is no such budget.
    """
    try:
        goal = Budget.parse(budget)
    except BudgetError:
        goal = None
    if goal is None or goal.quantity not in ("keep", EFFECTIVE):
        raise BudgetError(
            f'budget {budget!r} is not one for {what}: give "keep:F" with the fraction F in (0, 1] that is kept, '
            f'"{EFFECTIVE}", or "{EFFECTIVE}:B" with a factor B > 0'
        )
    return goal


def number(goal: Budget, scores: Tensor, where: str) -> int:
    """How many of these entries [N] are kept; see `numbers`."""
    return int(numbers(goal, scores[None], where))


def numbers(goal: Budget, scores: Tensor, where: str) -> Tensor:
    """How many entries of each pool are kept: ⌊F · N⌋, at least one, or the effective number (EMP, arXiv 2509.25606).

    Args:
        goal: "keep" or "effective".
        scores: [pools, N].
        where: of what, for messages.

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
    """The highest scores of each pool; of equal ones those with the lower index.

    Args:
        scores: [pools, entries].
        counts: how many of each pool, int64 [pools].

    Returns:
        bool [pools, entries], with exactly `counts` true entries in each row.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    ranks = torch.arange(scores.shape[1], device=scores.device)
    chosen = ranks < counts.to(scores.device)[:, None]
    return torch.zeros_like(chosen).scatter_(1, order, chosen)
