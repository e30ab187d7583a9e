"""Choose the units to keep (`allocate`): from scores and a budget to a plan.

Units are removed in one fixed order, lowest values first. Bisection finds the shortest prefix of this order that meets
the budget. The last removal may save more than necessary, so units that still fit are restored, highest values first.
Limits apply to the widths after each prefix, so the amount never grows with the length of the prefix. If widths are
uniform, each step removes the worst unit of every group of a role (see `RemovalOrder`).
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
from secateurs.budgets.quantity import QUANTITIES
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
    remaining: Mapping[str, Sequence[int]] | None = None,
    allowed_widths: AllowedWidths | None = None,
) -> Plan:
    """Choose the units to keep.

    Of units with equal scores, the unit with the lower index is kept.

    Args:
        structure: of the dense model, from `trace`.
        scores: group name to one score per unit, [units], higher = keep. Groups without scores keep all units.
        budget: "keep:F", "macs:F", "params:F" or another quantity (see `sc.quantity`) keeps at most the fraction F of
            the units, MACs or parameters. The result is maximal: no other unit fits into the budget (with uniform
            widths: no other unit in each group of a role). "effective" or "effective:B" keeps B times the effective
            sample size of the scores (arXiv 2509.25606), and the plan has certificates.
        limits: bounds on the width of each group, and whether similar groups get the same width.
        scope: the values by which units are ranked. "global": scores, over all groups. "per-cost": scores divided by
            the amount of the budget's quantity that the removal of one unit from the dense model saves, over all
            groups. "relative": scores divided by the mean score of the remaining units of the group, over all groups;
            this makes all kinds of scores comparable and protects groups that have become narrow. "local": scores
            within each group, so that all groups keep about the same share.
        remaining: for a model that was pruned before: group name to the indices of the units of the dense model that
            are left (see `Plan.keep`), in the order of the scores. Structure, budget, limits and plan still refer to
            the dense model, and removed units stay removed.
        allowed_widths: maps the names of groups of equal width and a width to whether the width is allowed. If it is
            not, the next larger allowed width is used. By default every width is allowed.

    Returns:
        The plan.

    Raises:
        BudgetError: the budget, the limits or the scope is invalid, or no group has scores.
        InfeasibleBudgetError: the budget cannot be reached within the limits; the message names the closest feasible
            budget.
        CriterionError: a score is not finite or not a number, or a group has the wrong number of scores.
        PlanError: `scores` contains a group that the structure does not have.

    Example:
        >>> structure = sc.trace(model, example_inputs)
        >>> scores = sc.score(model, data, "l2", structure)
        >>> plan = sc.allocate(structure, scores, "macs:0.5")
        >>> plan.pruned.macs <= 0.5 * plan.dense.macs
        True
    """
    if not isinstance(scores, Mapping):
        raise CriterionError(f"scores must be a mapping from group names, not a {type(scores).__name__}")
    goal, scope, limits = Budget.parse(budget), Scope.parse(scope), resolve_limits(limits)
    units = {name: np.array(indices) for name, indices in (remaining or {}).items()}
    roles, blocked = uniform_roles(structure, scores) if limits.uniform else ([(name,) for name in scores], {})
    units |= {name: np.arange(structure.group(name).size) for name in scores if name not in {*units, *blocked}}
    values = {name: _as_array(name, s, len(units[name])) for name, s in scores.items() if name not in blocked}
    if not values:
        raise BudgetError(
            "there is nothing to prune: no group has scores; see `Structure.frozen` for the reasons"
            + "".join(f"; {name}: {reason}" for name, reason in blocked.items())
        )
    comparable_values = ranking_values(scope, structure, values, goal)
    first_widths = {name: len(indices) for name, indices in units.items()}
    order = RemovalOrder(structure, roles, comparable_values, first_widths, limits, scope, allowed_widths)
    certificates: dict[str, Certificate] = {}
    if goal.quantity == EFFECTIVE:
        widths, certificates = _effective_widths(order, values, goal.fraction, scope)
    else:
        widths = _widths_within(order, goal)
    best_first = {name: np.argsort(-scores, kind="stable") for name, scores in values.items()}
    keep = {**units, **{name: units[name][ranked[: widths[name]]] for name, ranked in best_first.items()}}
    return Plan(
        groups={
            name: GroupPlan(units=structure.group(name).size, keep=tuple(sorted(map(int, indices))))
            for name, indices in keep.items()
        },
        budget=str(budget),
        scope=scope.value,
        dense=structure.cost(),
        pruned=structure.cost(widths),
        frozen={**structure.frozen, **blocked},
        certificates=certificates,
    )


def _widths_within(order: RemovalOrder, goal: Budget) -> dict[str, int]:
    """The widths after the fewest steps that meet the budget, with all units restored that still fit."""
    quantity = QUANTITIES[goal.quantity]

    def amount(step: int) -> float:
        return quantity.amount(order.structure, order.widths(step))

    dense = quantity.amount(order.structure, order.dense)
    target, lowest = goal.fraction * dense, amount(order.steps)
    if lowest > target:
        raise InfeasibleBudgetError(
            f"budget {str(goal)!r} cannot be reached with {order.limits}: the lowest feasible budget is "
            f'"{goal.quantity}:{np.ceil(lowest / dense * 1e4) / 1e4:g}" ({lowest:,} {quantity.unit}); '
            "raise the budget, relax the limits, or exclude fewer groups from pruning"
        )
    step = bisect_left(range(order.steps), -target, key=lambda step: -amount(step))
    return order.fill(quantity, target, order.widths(step))


def _effective_widths(
    order: RemovalOrder, values: Mapping[str, np.ndarray], beta: float, scope: Scope
) -> tuple[dict[str, int], dict[str, Certificate]]:
    """The widths by the effective number of units, within the limits, and certificates.

    The effective number is computed for all groups together, or for each group in the scope "local". It depends on the
    scores only, so no ranking values are needed. Groups with a common width get the mean of their effective numbers.
    """
    tensors = {name: torch.from_numpy(scores) for name, scores in values.items()}
    if scope is not Scope.LOCAL:
        pooled = torch.cat(list(tensors.values()))
        where = "all groups"
        widths = order.widths(order.steps_to(effective_count(pooled, beta, where)))
        return widths, {where: certificate(pooled, beta, sum(widths[name] for name in values), where)}
    widths, certificates = order.widths(0), {}
    for role in order.roles:
        counts = [effective_count(tensors[name], beta, f"group {name!r}") for name in role]
        widths |= dict.fromkeys(role, order.allowed(role, round(sum(counts) / len(counts))))
    for name, scores in tensors.items():
        certificates[name] = certificate(scores, beta, widths[name], f"group {name!r}")
    return widths, certificates


def _as_array(name: str, scores: Any, units: int) -> np.ndarray:
    """The scores of a group as float64 [units], checked."""
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
