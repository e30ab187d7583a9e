"""Remove the units of a plan from a copy of a model, and verify the result (`apply`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from secateurs.budgets import Plan
from secateurs.data import as_call
from secateurs.errors import PlanError, PutBackWarning
from secateurs.structure import Structure, trace
from secateurs.surgery.config import config_changes
from secateurs.surgery.copy_check import check_copy
from secateurs.surgery.stale_attributes import Attributes, assign
from secateurs.surgery.trials import Trials
from secateurs.utils import check_has_values, device_of, warn_user


@dataclass(frozen=True)
class Cut:
    """A cut model, and a record of the cut.

    Attributes:
        model: the cut model.
        plan: the executed plan.
        attributes: module name to the changed attributes and the new values.
        put_back: the names of groups that keep all units because verification failed, with the failures.
        inexact: the names of cut groups whose removed units change the outputs of the remaining units, with the
            reasons. For these groups only the shapes and the finiteness of the outputs were verified.
    """

    model: nn.Module
    plan: Plan
    attributes: Attributes
    put_back: dict[str, str]
    inexact: dict[str, str]


def apply(model: nn.Module, plan: Plan, example_inputs: Any, structure: Structure | None = None) -> nn.Module:
    """Remove the units of a plan from a copy of a model.

    The cut model is verified before it is returned. The reference is the dense model with the parameters of the removed
    units set to zero. For groups that can be removed exactly, the outputs of both models on the example inputs must be
    equal in float64, with a tolerance of 1e-10 of the largest output. For the other groups, the result of every
    operator must have the size that the structure predicts. A group that fails keeps all units, and a `PutBackWarning`
    names it.

    Args:
        model: the dense model; not changed.
        plan: from `allocate` or `Plan.load`.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        structure: from `trace`; by default the model is traced again.

    Returns:
        A new module of the same class.

    Raises:
        ModelError: the model is on the meta device.
        PlanError: the plan belongs to another model.
        VerificationError: the outputs of the dense model differ from run to run or are not finite, or the model cannot
            be cut.

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
    """Warn of the groups that failed verification; see `Cut.put_back`."""
    if put_back:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in put_back.items())
        warn_user(f"these groups keep all units, because verification failed: {reasons}", PutBackWarning)


def apply_and_report(model: nn.Module, plan: Plan, example_inputs: Any, structure: Structure | None = None) -> Cut:
    """Do the same as `apply`, but return a record of the cut and do not warn."""
    if not isinstance(plan, Plan):
        raise PlanError(f"expected a Plan, not {type(plan).__name__}; read a plan from a file with Plan.load")
    check_has_values(model, "cutting")
    structure = structure or trace(model, example_inputs, kinds="all")
    plan.check(structure)
    call = as_call(example_inputs).to(device_of(model))
    check_copy(model, call)
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
