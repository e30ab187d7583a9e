"""Remove the units of a plan from a model in place, and from its optimiser (`apply_`)."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from secateurs.budgets import Plan
from secateurs.data import as_call
from secateurs.structure import Structure, trace
from secateurs.surgery.apply import Cut, apply_and_report, warn_put_back
from secateurs.surgery.inplace import check_unwrapped, replacing
from secateurs.surgery.optimizer_state import check_optimizer, find_successors, replace_parameters


def apply_(
    model: nn.Module,
    plan: Plan,
    example_inputs: Any,
    structure: Structure | None = None,
    optimizer: Optimizer | None = None,
) -> Plan:
    """Remove the units of a plan from a model in place; see `secateurs.apply` for the verification.

    Modules and hooks on modules remain the same objects. Parameters and buffers that lose entries are replaced by new
    objects; hooks on the old objects are lost. All gradients are removed. The optimiser is changed as in
    `carry_optimizer`, so learning rate schedulers continue to work. If an error is raised, nothing is changed.

    Args:
        model: the dense model; neither wrapped for several devices nor compiled.
        plan: from `allocate` or `Plan.load`.
        example_inputs: see `apply`.
        structure: from `trace`; by default the model is traced again.
        optimizer: the optimiser of the model. Without it, create a new optimiser after the cut.

    Returns:
        The executed plan. A group that fails verification keeps all units, and a `PutBackWarning` names it.

    Raises:
        ModelError: the model is wrapped.
        UsageError: the optimiser does not belong to the model, or its state cannot be sliced.
        SecateursError: see `apply`.

    Example:
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        >>> structure = sc.trace(model, example_inputs)
        >>> plan = sc.allocate(structure, sc.score(model, data, "l2", structure), "macs:0.5")
        >>> done = sc.apply_(model, plan, example_inputs, structure, optimizer)
        >>> model[0].out_channels == done.widths["0"]
        True
    """
    check_unwrapped(model)
    structure = structure or trace(model, example_inputs, kinds="all")
    cut = apply_and_report(model, plan, example_inputs, structure)
    warn_put_back(cut.put_back)
    put_in_place(model, cut, as_call(example_inputs), structure, optimizer)
    return cut.plan


def put_in_place(
    model: nn.Module, cut: Cut, example_inputs: Any, structure: Structure, optimizer: Optimizer | None
) -> None:
    """Make the model equal to the cut copy, and adapt the optimiser. If one of the two fails, neither is changed.

    Args:
        model: the dense model; changed in place.
        cut: the cut copy.
        example_inputs: see `apply`.
        structure: of the dense model.
        optimizer: the optimiser of the model; changed in place.

    Raises:
        UsageError: the optimiser does not belong to the model, or its state cannot be sliced.
        VerificationError: the model computes other outputs than the copy.
    """
    if optimizer is not None:
        check_optimizer(optimizer, model)
    successors = find_successors(model, cut.model, cut.plan, structure)
    smaller = {old: new for old, new in successors.items() if old.shape != new.parameter.shape}
    with replacing(model, cut, example_inputs):
        if optimizer is not None:
            replace_parameters(optimizer, smaller)
