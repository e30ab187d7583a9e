"""How units compete: what their scores become where those of several groups are ranked together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from secateurs.budgets.budget import EFFECTIVE, Budget
from secateurs.errors import BudgetError, CriterionError
from secateurs.structure import IncrementalCost, Structure

SCOPES = ("global", "per-cost", "relative", "local")
"""All units of the model compete, or all for what they cost, or all relative to their group, or those of each group."""


def compared(scope: str, structure: Structure, values: Mapping[str, np.ndarray], goal: Budget) -> dict[str, np.ndarray]:
    """What units are ranked by, in the order of their scores within each group.

    Args:
        scope: one of `SCOPES`.
        structure: of the dense model.
        values: the scores of each group.
        goal: what the budget limits.

    Raises:
        BudgetError: there is no such scope.
        CriterionError: a score is negative, and the scope is for scores that are not.
    """
    if scope not in SCOPES:
        raise BudgetError(f"scope {scope!r} is none of {', '.join(SCOPES)}")
    if scope in ("global", "local"):
        return dict(values)
    for name, its in values.items():
        if (its < 0).any():
            raise CriterionError(
                f"group {name!r}: a score is {its.min():g}, but scope {scope!r} is for scores of 0 or more; "
                "choose 'global' or 'local'"
            )
    if goal.quantity == EFFECTIVE:  # a number of units, by their scores alone
        return dict(values)
    if scope == "relative":
        return {name: _shares(its) for name, its in values.items()}
    return _rates(structure, values, goal)


def _rates(structure: Structure, values: Mapping[str, np.ndarray], goal: Budget) -> dict[str, np.ndarray]:
    """Scores for each unit of cost that is saved when one unit goes; what saves nothing goes last."""
    if goal.quantity == "keep":  # every unit saves the same
        return dict(values)
    pricing, rates = IncrementalCost(structure, {name: structure.group(name).size for name in structure.groups}), {}
    for name, its in values.items():
        fewer = pricing.at({name: structure.group(name).size - 1})
        saved = goal.amount(pricing.cost, 0) - goal.amount(fewer, 0)
        rates[name] = its / saved if saved else np.full(len(its), np.inf)
    return rates


def _shares(scores: np.ndarray) -> np.ndarray:
    """Each score over the mean of those that are left of its group when it is its turn to go; in [0, 1].

    Where that would fall as the group thins, it stays as it is, so that units keep their order.
    """
    order = np.argsort(scores, kind="stable")  # worst first
    worst_first = scores[order]
    left = worst_first[::-1].cumsum()[::-1] / np.arange(len(scores), 0, -1)
    shares = np.divide(worst_first, left, out=np.zeros(len(scores)), where=left > 0)
    found = np.empty(len(scores))
    found[order] = np.maximum.accumulate(shares)
    return found
