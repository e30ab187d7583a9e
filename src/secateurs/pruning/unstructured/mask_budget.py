"""Budgets of `mask`: a share of the entries, their effective number, or an N:M pattern."""

from __future__ import annotations

import re
from typing import NamedTuple

from secateurs.budgets import Budget, parse_share
from secateurs.errors import BudgetError


class SparsityPattern(NamedTuple):
    """N:M sparsity: at most `kept` of every `of` consecutive inputs are kept.

    Where the number of inputs is no multiple of `of`, the last, shorter block has the same limit.
    """

    kept: int
    of: int

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"


def parse_mask_budget(budget: str) -> Budget | SparsityPattern:
    """Parse "keep:F", "effective", "effective:B" or "N:M".

    Raises:
        BudgetError: the text is none of these.
    """
    if match := re.fullmatch(r"(\d+):(\d+)", str(budget)):
        pattern = SparsityPattern(*map(int, match.groups()))
        if not 1 <= pattern.kept < pattern.of:
            raise BudgetError(f'budget {budget!r}: a pattern "N:M" such as "2:4" needs 1 ≤ N < M')
        return pattern
    return parse_share(budget, 'single weights, nor a pattern "N:M" such as "2:4"')
