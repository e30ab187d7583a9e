"""Scopes: the sets of units that compete, and the values by which units of several groups are ranked together."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import numpy as np

from secateurs.budgets.budget import EFFECTIVE, Budget
from secateurs.budgets.quantity import QUANTITIES
from secateurs.errors import BudgetError, CriterionError
from secateurs.structure import Structure


class Scope(str, Enum):
    """How units compete to be kept.

    Attributes:
        description: one line that describes the scope, for help texts.

    Example:
        >>> from secateurs.budgets import Scope
        >>> Scope.parse("per-cost") is Scope.PER_COST
        True
        >>> Scope.LOCAL == "local"
        True
    """

    GLOBAL = "global", "all units of the model are ranked together by score"
    PER_COST = "per-cost", "all units are ranked together by score per unit of cost that the removal saves"
    RELATIVE = "relative", "all units are ranked together by score relative to the mean of the group's remaining units"
    LOCAL = "local", "each group is ranked by itself, and all groups keep about the same share"

    description: str

    def __new__(cls, value: str, description: str):
        """Create a member with a description; the value alone is the text of the member."""
        member = str.__new__(cls, value)
        member._value_, member.description = value, description
        return member

    @classmethod
    def parse(cls, scope: str | Scope) -> Scope:
        """Look up a scope by name.

        Args:
            scope: "global", "per-cost", "relative" or "local", or a `Scope`, which is returned unchanged.

        Raises:
            BudgetError: the name is unknown.
        """
        try:
            return cls(scope)
        except ValueError:
            raise BudgetError(f"unknown scope {scope!r}; choose one of {', '.join(cls)}") from None

    def __str__(self) -> str:
        return self.value

    __format__ = str.__format__


def ranking_values(
    scope: Scope, structure: Structure, values: Mapping[str, np.ndarray], goal: Budget
) -> dict[str, np.ndarray]:
    """Turn scores into values that are comparable between groups in this scope.

    Args:
        scope: how units compete.
        structure: of the dense model.
        values: group name to one score per unit.
        goal: the budget.

    Returns:
        Group name to one value per unit, in the order of the scores.

    Raises:
        CriterionError: a score is negative, but the scope needs scores ≥ 0.
    """
    if scope in (Scope.GLOBAL, Scope.LOCAL):
        return dict(values)
    for name, scores in values.items():
        if (scores < 0).any():
            raise CriterionError(
                f"group {name!r}: a score is {scores.min():g}, but scope '{scope}' needs scores ≥ 0; "
                "choose 'global' or 'local'"
            )
    if goal.quantity == EFFECTIVE:  # the effective number of units depends on the scores only
        return dict(values)
    if scope is Scope.RELATIVE:
        return {name: _shares(scores) for name, scores in values.items()}
    return _rates(structure, values, goal)


def _rates(structure: Structure, values: Mapping[str, np.ndarray], goal: Budget) -> dict[str, np.ndarray]:
    """Divide scores by the amount that the removal of one unit saves; units that save nothing are removed last."""
    savings = QUANTITIES[goal.quantity].savings(structure, values)
    return {
        name: scores / savings[name] if savings[name] > 0 else np.full(len(scores), np.inf)
        for name, scores in values.items()
    }


def _shares(scores: np.ndarray) -> np.ndarray:
    """Divide each score by the mean score of the units that are left just before the removal of the unit, in [0, 1].

    The running maximum of the quotients keeps the units of the group in the order of their scores.
    """
    order = np.argsort(scores, kind="stable")  # lowest scores first
    worst_first = scores[order]
    means = worst_first[::-1].cumsum()[::-1] / np.arange(len(scores), 0, -1)
    quotients = np.divide(worst_first, means, out=np.zeros(len(scores)), where=means > 0)
    shares = np.empty(len(scores))
    shares[order] = np.maximum.accumulate(quotients)
    return shares
