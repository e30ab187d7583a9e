"""`allocate`: from scores and a budget to a plan.

Units are removed in one fixed order, worst first, and the cost is known for every prefix of that order.  The plan is
the shortest prefix that meets the budget, found by bisection; units whose cost fits into what the last removal freed
too much are then put back, best first.  Limits act on the widths that a prefix leaves, so the cost still only falls as
the prefix grows.  Where widths are uniform, a step removes the worst unit of every group of a role (see `ladder`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from secateurs.budgets.budget import EFFECTIVE, Budget
from secateurs.budgets.certificate import Certificate
from secateurs.budgets.effective import certificate, effective_count
from secateurs.budgets.limits import Limits, resolve_limits
from secateurs.budgets.plan import GroupPlan, Plan
from secateurs.budgets.removal_order import AllowedWidths, RemovalOrder
from secateurs.budgets.scopes import Scope, ranking_values
from secateurs.errors import BudgetError, CriterionError, InfeasibleBudgetError
from secateurs.structure import Structure, uniform_roles


def allocate(
    structure: Structure,
    scores: Mapping[str, Any],
    budget: str | Budget = "macs:0.5",
    limits: Limits | None = None,
    scope: str | Scope = "global",
    left: Mapping[str, Sequence[int]] | None = None,
    takes: AllowedWidths | None = None,
) -> Plan:
    """Choose the units to keep.

    Args:
        structure: from `trace`.
        scores: per group, one score per unit, higher = keep. Groups without scores stay whole.
        budget: "keep:F", "macs:F" or "params:F": at most the fraction F of the units, MACs or parameters is kept,
            and no unit more (where widths are uniform, none more in each of the groups alike) could be kept without
            exceeding it. "effective" or "effective:B": as many units as the scores' effective sample size (times B)
            says, with a certificate in the plan.
        limits: bounds for each group, and whether groups alike get the same width.
        scope: how units compete, see `Scope`: "global" ranks those of all groups together; "per-cost" too, but by
            score over how much of what the budget limits the unit's removal from the dense model saves; "relative" by
            score over the mean of those that are left of its group when it is its turn, which makes any scores
            comparable and spares groups that have thinned; "local" ranks each group by itself, so that all keep about
            the same share.
        left: for a model that was cut before: per group, the units of the dense model that it still has (see
            `Plan.keep`), in the order of the scores. The structure, the budget, the limits and the plan are about the
            dense model then, and what is gone stays gone.
        takes: whether groups that get the same width, by their names, may get this one; by default all may. They get
            the next above it then.

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
    goal, scope = Budget.parse(budget), Scope.parse(scope)
    limits = resolve_limits(limits)
    units = {name: np.array(its) for name, its in (left or {}).items()}
    roles, held = uniform_roles(structure, scores) if limits.uniform else ([(name,) for name in scores], {})
    units |= {name: np.arange(structure.group(name).size) for name in scores if name not in {*units, *held}}
    values = {name: _checked(name, its, len(units[name])) for name, its in scores.items() if name not in held}
    if not values:
        raise BudgetError(
            "there is nothing to prune: no group has scores (see the structure's frozen list for reasons)"
            + "".join(f"; {name}: {why}" for name, why in held.items())
        )
    rates = ranking_values(scope, structure, values, goal)
    ranked = {name: np.argsort(-its, kind="stable") for name, its in values.items()}  # best first
    ladder = RemovalOrder(
        structure, roles, rates, {name: len(its) for name, its in units.items()}, limits, scope, takes
    )
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
        budget=str(budget),
        scope=scope.value,
        dense=structure.cost(),
        pruned=structure.cost(widths),
        frozen={**structure.frozen, **held},
        certificates=certificates,
    )


def _within(ladder: RemovalOrder, structure: Structure, goal: Budget) -> dict[str, int]:
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
    ladder: RemovalOrder, values: Mapping[str, np.ndarray], beta: float, scope: Scope
) -> tuple[dict[str, int], dict[str, Certificate]]:
    """The effective number of units: of all groups together, or of each by itself; limits have the last word.

    This number is about scores and no cost, so those are ranked as they are.

    Groups that have the same width get the mean of their numbers.
    """
    tensors = {name: torch.from_numpy(its) for name, its in values.items()}
    if scope is not Scope.LOCAL:
        everything = torch.cat(list(tensors.values()))
        where = "all groups"
        widths = ladder.widths(ladder.steps_to(effective_count(everything, beta, where)))
        return widths, {where: certificate(everything, beta, sum(widths[name] for name in values), where)}
    widths, certificates = ladder.widths(0), {}
    for role in ladder.roles:
        counts = [effective_count(tensors[name], beta, f"group {name!r}") for name in role]
        widths |= dict.fromkeys(role, ladder.allowed(role, round(sum(counts) / len(counts))))
    for name, its in tensors.items():
        certificates[name] = certificate(its, beta, widths[name], f"group {name!r}")
    return widths, certificates


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
