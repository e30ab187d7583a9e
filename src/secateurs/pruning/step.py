"""`prune_step`: one of several cuts that together bring a model to a budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from secateurs.budgets import AllowedWidths, Budget, Limits, Plan, Scope, allocate
from secateurs.errors import BudgetError
from secateurs.structure import Structure
from secateurs.surgery import Cut, apply_and_report


class StepResult(NamedTuple):
    """The result of one cut, together with all cuts before it.

    Attributes:
        plan: the units of the dense model that are left; `plan.frozen` also lists the groups in `put_back`.
        cut: this cut alone; its plan refers to the model that was cut.
        put_back: group name → the reason, for each group that failed verification in this cut or an earlier one.
    """

    plan: Plan
    cut: Cut
    put_back: Mapping[str, str]


def prune_step(
    model: nn.Module,
    structure: Structure,
    scores: Mapping[str, Tensor],
    budget: Budget | str,
    example_inputs: Any,
    *,
    dense: Structure,
    earlier: Plan | None,
    put_back: Mapping[str, str],
    limits: Limits | None = None,
    scope: Scope = Scope.GLOBAL,
    allowed_widths: AllowedWidths | None = None,
) -> StepResult:
    """Cut a model, which earlier steps may have cut already, to a budget that refers to the dense model.

    A group whose removal fails verification keeps its width, and the other groups meet the budget.

    Args:
        model: the model before this step; it is not changed.
        structure: the structure of `model`.
        scores: group name → scores [units] of `model`.
        budget: see `allocate`.
        example_inputs: see `apply`.
        dense: the structure of the dense model.
        earlier: the plan that leads from the dense model to `model`; None if `model` is the dense model.
        put_back: group name → the reason, for each group that failed verification earlier; it keeps its width.
        limits, scope, allowed_widths: see `allocate`.

    Returns:
        The cut model, and the plan that leads to it from the dense model.

    Raises:
        SecateursError: of the kind that `allocate` or `apply` raise.
    """
    put_back = dict(put_back)
    while True:
        candidates = {
            name: group_scores for name, group_scores in scores.items() if name in dense.groups and name not in put_back
        }
        try:
            plan = allocate(dense, candidates, budget, limits, scope, earlier.keep if earlier else None, allowed_widths)
        except BudgetError as error:
            if put_back:
                reasons = "; ".join(f"{name}: {reason}" for name, reason in put_back.items())
                error.args = (f"{error}; groups left whole because their removal failed verification: {reasons}",)
            raise
        cut = apply_and_report(model, plan.since(earlier) if earlier else plan, example_inputs, structure)
        if not cut.put_back:
            return StepResult(plan.model_copy(update={"frozen": {**plan.frozen, **put_back}}), cut, put_back)
        put_back |= cut.put_back
