"""`apply`: remove what a plan says from a copy of a model, and prove that the result is right."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from torch import nn

from secateurs.budgets import Plan
from secateurs.data import as_call
from secateurs.errors import PlanError, PutBackWarning
from secateurs.structure import Structure, trace
from secateurs.surgery.config import config_changes
from secateurs.surgery.stale_attributes import Attributes, assign
from secateurs.surgery.trials import Trials
from secateurs.utils import device_of, need_values


@dataclass(frozen=True)
class Cut:
    """A cut model and how it came about.

    Attributes:
        model: the cut model.
        plan: what was removed in the end.
        attributes: attributes of modules that were changed, per module name.
        put_back: groups left whole after all because their removal failed verification, and how it failed.
        inexact: groups whose removal changes what the remaining units compute, and why; only the shapes of the
            outputs were verified for them.
    """

    model: nn.Module
    plan: Plan
    attributes: Attributes
    put_back: dict[str, str]
    inexact: dict[str, str]


def apply(model: nn.Module, plan: Plan, example_inputs: Any, structure: Structure | None = None) -> nn.Module:
    """Remove units physically.

    The cut model is verified before it is returned: in float64 on the example inputs it equals the dense model with
    the removed units' parameters set to zero, to 1e-10 of the largest output, for all groups whose removal is exact.
    For the others, what every operator computes on the way has the size that the structure foretells. A group that
    fails is left whole, with a `PutBackWarning`.

    Args:
        model: the dense model; it is not changed.
        plan: from `allocate`, or loaded.
        example_inputs: a tensor, a tuple, or a dict of keyword arguments.
        structure: from `trace`; by default the model is traced again.

    Returns:
        A new module of the same class.

    Raises:
        ModelError: the model is on the meta device.
        PlanError: the plan is for another model.
        VerificationError: the model cannot be cut at all, or gives other outputs each time it is run.
    """
    result = apply_and_report(model, plan, example_inputs, structure)
    warn_of(result.put_back)
    return result.model


def warn_of(put_back: dict[str, str]) -> None:
    """Warn the caller's caller of groups that were left whole, and why; see `Cut`."""
    if put_back:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in put_back.items())
        warnings.warn(f"left whole, because removal failed verification: {reasons}", PutBackWarning, stacklevel=3)


def apply_and_report(model: nn.Module, plan: Plan, example_inputs: Any, structure: Structure | None = None) -> Cut:
    """As `apply`, but returns everything there is to know about the cut, and does not warn."""
    if not isinstance(plan, Plan):
        raise PlanError(f"expected a Plan, not {type(plan).__name__}; Plan.load reads one from a file")
    need_values(model, "cutting")
    structure = structure or trace(model, example_inputs, kinds="all")
    plan.check(structure)
    call = as_call(example_inputs).to(device_of(model))
    trials = Trials(model, plan, structure, call)
    removed = trials.removable([name for name, gone in plan.removed().items() if gone])
    small = trials.cut(model, removed, trials.changes)
    config = config_changes(small, structure, {name: plan.widths[name] for name in removed}, call)
    assign(small, {"": config})
    attributes = {**trials.changes, "": {**trials.changes.get("", {}), **config}} if config else trials.changes
    return Cut(
        model=small,
        plan=plan.without(trials.failures, structure) if trials.failures else plan,
        attributes=attributes,
        put_back=trials.failures,
        inexact={name: why for name in removed if (why := structure.group(name).inexact)},
    )
