"""A cut on the way to a budget: from the model that earlier cuts left to what this one leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from secateurs.budgets import AllowedWidths, Budget, Limits, Plan, Scope, allocate
from secateurs.errors import BudgetError
from secateurs.structure import Structure
from secateurs.surgery import Cut, apply_and_report


class StepResult(NamedTuple):
    """A cut, and what all cuts so far come to.

    Attributes:
        plan: what is left of the dense model; `plan.frozen` tells of the groups put back too.
        cut: this cut, with the plan for the model that it was made of.
        put_back: groups that failed verification, now or before, and how.
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
    """Cut a model that may have been cut before to a budget of the dense model.

    A group whose removal fails verification stays as wide as it is, and the budget is met by the others.

    Args:
        model: as it is now; it is not changed.
        structure: of `model`.
        scores: of its units.
        budget: see `allocate`.
        example_inputs: see `apply`.
        dense: the structure of the dense model.
        earlier: what was left of the dense model, if that is not the model itself.
        put_back: groups to leave alone because they failed before, and how.
        limits, scope, allowed_widths: see `allocate`.

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
