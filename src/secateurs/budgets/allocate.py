"""`allocate`: from scores and a budget to a plan.

Units are removed in one fixed order, worst first, and the cost is known for every prefix of that order.  The plan is
the shortest prefix that meets the budget, found by bisection; units whose cost fits into what the last removal freed
too much are then put back, best first.  Limits act on the widths that a prefix leaves, so the cost still only falls as
the prefix grows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from secateurs.budgets.budget import EFFECTIVE, Budget
from secateurs.budgets.effective import certificate, effective_count
from secateurs.budgets.limits import Limits
from secateurs.certificate import Certificate
from secateurs.errors import BudgetError, CriterionError, InfeasibleBudgetError
from secateurs.plan import GroupPlan, Plan
from secateurs.structure import Structure
from secateurs.structure.pricing import Pricing


def allocate(
    structure: Structure,
    scores: Mapping[str, Any],
    budget: str = "macs:0.5",
    limits: Limits | None = None,
    scope: str = "global",
    left: Mapping[str, Sequence[int]] | None = None,
) -> Plan:
    """Choose the units to keep.

    Args:
        structure: from `trace`.
        scores: per group, one score per unit, higher = keep. Groups without scores stay whole.
        budget: "keep:F", "macs:F" or "params:F": at most the fraction F of the units, MACs or parameters is kept,
            and no unit more could be kept without exceeding it. "effective" or "effective:B": as many units as the
            scores' effective sample size (times B) says, with a certificate in the plan.
        limits: bounds for each group.
        scope: "global" ranks the units of all groups together; "local" ranks each group by itself, so that all
            keep about the same share.
        left: for a model that was cut before: per group, the units of the dense model that it still has (see
            `Plan.keep`), in the order of the scores. The structure, the budget, the limits and the plan are about the
            dense model then, and what is gone stays gone.

    Returns:
        The plan; ties between equal scores are broken in favour of the lower index.

    Raises:
        BudgetError: the budget, the limits or the scope cannot be understood.
        InfeasibleBudgetError: the budget cannot be reached within the limits.
        CriterionError: a score is not finite, or the scores do not fit the structure.
        PlanError: scores name a group that the structure does not have.
    """
    if not isinstance(scores, Mapping):
        raise CriterionError(f"scores must be a mapping from group names, not a {type(scores).__name__}")
    if limits is not None and not isinstance(limits, Limits):
        raise BudgetError(f"limits must be made by Limits(...), not {limits!r}")
    goal = Budget.parse(budget)
    limits = limits or Limits()
    units = {name: np.array(its) for name, its in (left or {}).items()}
    units |= {name: np.arange(structure.group(name).size) for name in scores if name not in units}
    values = {name: _checked(name, its, len(units[name])) for name, its in scores.items()}
    if not values:
        raise BudgetError(
            "there is nothing to prune: no group has scores (see the structure's frozen list for reasons)"
        )
    if scope not in ("global", "local"):
        raise BudgetError(f"scope {scope!r} is neither 'global' nor 'local'")
    ranked = {name: np.argsort(-its, kind="stable") for name, its in values.items()}  # best first
    ladder = _Ladder(structure, values, ranked, {name: len(its) for name, its in units.items()}, limits, scope)
    certificates: dict[str, Certificate] = {}
    if goal.quantity == EFFECTIVE:
        widths, certificates = _effective(ladder, values, goal.fraction, scope)
    else:
        widths = _within(ladder, structure, goal)
    keep = {**units, **{name: units[name][order[: widths[name]]] for name, order in ranked.items()}}
    return Plan(
        groups={
            name: GroupPlan(units=structure.group(name).size, keep=tuple(sorted(map(int, its))))
            for name, its in keep.items()
        },
        budget=budget,
        scope=scope,
        dense=structure.cost(),
        pruned=structure.cost(widths),
        frozen=dict(structure.frozen),
        certificates=certificates,
    )


def _within(ladder: _Ladder, structure: Structure, goal: Budget) -> dict[str, int]:
    """The widths of the shortest prefix of removals that meets the budget, filled up."""
    dense = goal.amount(structure.cost(), ladder.units)
    target = goal.fraction * dense
    lowest = ladder.amount(goal, ladder.widths(ladder.steps))
    if lowest > target:
        raise InfeasibleBudgetError(
            f"budget {str(goal)!r} cannot be reached with {ladder.limits}: the least that can be kept is "
            f'"{goal.quantity}:{np.ceil(lowest / dense * 1e4) / 1e4:g}"; relax the limits, or keep or freeze less'
        )
    step = bisect_left(range(ladder.steps), -target, key=lambda s: -ladder.amount(goal, ladder.widths(s)))
    return ladder.fill(goal, target, ladder.widths(step))


def _effective(
    ladder: _Ladder, values: Mapping[str, np.ndarray], beta: float, scope: str
) -> tuple[dict[str, int], dict[str, Certificate]]:
    """The effective number of units: of all groups together, or of each by itself; limits have the last word."""
    tensors = {name: torch.from_numpy(its) for name, its in values.items()}
    if scope == "global":
        everything = torch.cat(list(tensors.values()))
        where = "all groups"
        widths = ladder.widths(ladder.steps - effective_count(everything, beta, where))
        return widths, {where: certificate(everything, beta, sum(widths[name] for name in values), where)}
    widths, certificates = ladder.widths(0), {}
    for name, its in tensors.items():
        where = f"group {name!r}"
        widths[name] = ladder.allowed(name, effective_count(its, beta, where))
        certificates[name] = certificate(its, beta, widths[name], where)
    return widths, certificates


class _Ladder:
    """The widths after each number of removals, worst units first."""

    def __init__(
        self, structure: Structure, values: Any, ranked: Any, left: dict[str, int], limits: Limits, scope: str
    ):
        self.limits = limits
        self._structure = structure
        self._units = {name: structure.group(name).size for name in left}
        self._left = left
        self._scored = list(values)
        self._bounds = {name: self._bounds_of(name) for name in values}
        # A unit's rank from the bottom of its group, as a share, makes groups of all sizes shrink together.
        self._keys: dict[str, np.ndarray] = {}
        owners = []
        for number, (name, its) in enumerate(values.items()):
            worst_first = ranked[name][::-1]
            share = (np.arange(len(its)) + 0.5) / len(its)
            self._keys[name] = its[worst_first] if scope == "global" else share
            owners.append(np.full(len(its), number))
        order = np.argsort(np.concatenate(list(self._keys.values())), kind="stable")
        self._owner = np.concatenate(owners)[order]
        self.steps = len(order)

    def _bounds_of(self, name: str) -> tuple[int, int]:
        try:
            return self.limits.bounds(self._units[name], self._structure.group(name).least)
        except BudgetError as error:
            raise InfeasibleBudgetError(f"group {name!r}: {error}") from None

    @property
    def units(self) -> int:
        """How many the dense model's groups have."""
        return sum(self._units.values())

    def widths(self, step: int) -> dict[str, int]:
        """The widths when the `step` worst units are asked to go."""
        gone = np.bincount(self._owner[:step], minlength=len(self._scored))
        widths = dict(self._left)
        for name, removed in zip(self._scored, gone, strict=True):
            widths[name] = self.allowed(name, widths[name] - int(removed))
        return widths

    def allowed(self, name: str, width: int) -> int:
        """The width that a group gets where this one is wanted."""
        low, high = self._bounds[name]
        return min(max(self.limits.width(width, self._units[name]), low), high, self._left[name])

    def fill(self, goal: Budget, target: float, widths: dict[str, int]) -> dict[str, int]:
        """Put back units, best first, for as long as some fit under the target."""
        widths, pricing = dict(widths), Pricing(self._structure, widths)
        while True:
            units = sum(widths.values())
            wider = {name: self.limits.width(widths[name] + 1, self._units[name]) for name in self._scored}
            fitting = [
                name
                for name, width in wider.items()
                if widths[name] < width <= min(self._bounds[name][1], self._left[name])
                and goal.amount(pricing.at(name, width), units + width - widths[name]) <= target
            ]
            if not fitting:
                return widths
            best = max(fitting, key=lambda name: self._keys[name][self._left[name] - widths[name] - 1])
            widths[best] = wider[best]
            pricing.set(best, wider[best])

    def amount(self, goal: Budget, widths: dict[str, int]) -> int:
        """The budget's quantity at these widths."""
        return goal.amount(self._structure.cost(widths), sum(widths.values()))


def _checked(name: str, scores: Any, units: int) -> np.ndarray:
    try:
        values = torch.as_tensor(scores).detach().double().cpu().numpy()
    except (TypeError, ValueError, RuntimeError) as error:
        raise CriterionError(f"the scores of group {name!r} are not numbers: {error}") from error
    if values.shape != (units,):
        raise CriterionError(f"group {name!r} has {units} units but scores of shape {list(values.shape)}")
    if not np.isfinite(values).all():
        raise CriterionError(
            f"group {name!r}: the scores of units {np.flatnonzero(~np.isfinite(values)).tolist()[:10]} are not finite"
        )
    return values
