"""`apply`: remove units from a copy of a model, as a plan says, and verify the result."""

from __future__ import annotations

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
from secateurs.utils import check_has_values, device_of, warn_user


@dataclass(frozen=True)
class Cut:
    """A cut model, and a record of the cut.

    Attributes:
        model: the cut model.
        plan: the plan that was carried out.
        attributes: per module name, the new values of attributes that were changed.
        put_back: groups that were left whole because their removal failed verification, and the failures.
        inexact: groups whose removal changes what the remaining units compute, and the reasons; for these only the
            shapes and the finiteness of the outputs were verified.
    """

    model: nn.Module
    plan: Plan
    attributes: Attributes
    put_back: dict[str, str]
    inexact: dict[str, str]


def apply(model: nn.Module, plan: Plan, example_inputs: Any, structure: Structure | None = None) -> nn.Module:
    """Remove units physically from a copy of a model.

    The cut model is verified before it is returned. For groups whose removal is exact, it equals in float64, on the
    example inputs, the dense model with the parameters of the removed units set to zero, to within 1e-10 of the largest
    output. For the other groups, the result of every operator has the size that the structure predicts. A group that
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
        VerificationError: the model cannot be cut at all, or its outputs differ from run to run.

    Example:
        >>> structure = sc.trace(model, example_inputs)
        >>> plan = sc.allocate(structure, sc.score(model, data, "l2", structure), "macs:0.5")
        >>> small = sc.apply(model, plan, example_inputs, structure)
        >>> small[0].out_channels == plan.widths["0"]
        True
    """
    result = apply_and_report(model, plan, example_inputs, structure)
    warn_put_back(result.put_back)
    return result.model


def warn_put_back(put_back: dict[str, str]) -> None:
    """Warn of groups that were left whole, with the reasons; see `Cut`."""
    if put_back:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in put_back.items())
        warn_user(f"left whole, because removal failed verification: {reasons}", PutBackWarning)


def apply_and_report(model: nn.Module, plan: Plan, example_inputs: Any, structure: Structure | None = None) -> Cut:
    """Like `apply`, but return the record of the cut and do not warn."""
    if not isinstance(plan, Plan):
        raise PlanError(f"expected a Plan, not {type(plan).__name__}; Plan.load reads one from a file")
    check_has_values(model, "cutting")
    structure = structure or trace(model, example_inputs, kinds="all")
    plan.check(structure)
    call = as_call(example_inputs).to(device_of(model))
    trials = Trials(model, plan, structure, call)
    removed = trials.removable([name for name, units in plan.removed().items() if units])
    small = trials.cut(model, removed, trials.changes)
    config = config_changes(small, structure, {name: plan.widths[name] for name in removed}, call)
    assign(small, {"": config})
    attributes = {**trials.changes, "": {**trials.changes.get("", {}), **config}} if config else trials.changes
    return Cut(
        model=small,
        plan=plan.without(trials.failures, structure) if trials.failures else plan,
        attributes=attributes,
        put_back=trials.failures,
        inexact={name: reason for name in removed if (reason := structure.group(name).inexact)},
    )
