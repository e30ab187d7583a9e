"""Optimisers over a cut: they go on with the parameters of the cut model, and with what they know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from secateurs.budgets import Plan
from secateurs.data import as_call
from secateurs.errors import PlanError, UsageError
from secateurs.structure import Structure, check_shapes, sliced, trace
from secateurs.surgery.apply import Cut, apply_and_report, warn_of
from secateurs.surgery.inplace import check_bare, replacing
from secateurs.utils import device_of


class Successor(NamedTuple):
    """What takes the place of a parameter.

    Attributes:
        name: of both.
        parameter: the new one.
        keep: which indices of each dimension of the old one stay, as bool masks.
    """

    name: str
    parameter: nn.Parameter
    keep: Sequence[Tensor]


def apply_(
    model: nn.Module,
    plan: Plan,
    example_inputs: Any,
    structure: Structure | None = None,
    optimizer: Optimizer | None = None,
) -> Plan:
    """Remove units in place: `secateurs.apply`, but the model itself shrinks, and its optimiser with it.

    Modules, and hooks on them, remain the objects that they are; parameters and buffers that lose entries are new
    ones, which no hook on the old ones follows. No parameter has a gradient afterwards. See `carry_optimizer` for what
    becomes of the optimiser; schedulers of its learning rate go on. If an error is raised, nothing was changed.

    Args:
        model: the dense model; not wrapped for several devices, and not compiled.
        plan: from `allocate`, or loaded.
        example_inputs: see `apply`.
        structure: from `trace`; by default the model is traced again.
        optimizer: that trains the model; without it, make one anew afterwards.

    Returns:
        What was removed in the end: a group that fails verification is left whole, with a `PutBackWarning`.

    Raises:
        ModelError: the model is wrapped.
        UsageError: the optimiser is not the model's, or keeps what cannot be sliced.
        SecateursError: of the kind that `apply` raises.
    """
    check_bare(model)
    structure = structure or trace(model, example_inputs, kinds="all")
    cut = apply_and_report(model, plan, example_inputs, structure)
    warn_of(cut.put_back)
    put_in_place(model, cut, as_call(example_inputs), structure, optimizer)
    return cut.plan


def put_in_place(
    model: nn.Module, cut: Cut, example_inputs: Any, structure: Structure, optimizer: Optimizer | None
) -> None:
    """Make the model what the cut copy of it is, and its optimiser one of that; both or neither."""
    if optimizer is not None:
        check_optimizer(optimizer, model)
    found = successors(model, cut.model, cut.plan, structure)
    smaller = {old: its for old, its in found.items() if old.shape != its.parameter.shape}
    with replacing(model, cut, example_inputs):
        if optimizer is not None:
            carry(optimizer, smaller)


def carry_optimizer(optimizer: Optimizer, small: nn.Module, dense: nn.Module, plan: Plan, structure: Structure) -> None:
    """Let the optimiser of the dense model go on as that of a cut copy of it.

    Its groups then hold the parameters of the cut model, with the same hyperparameters, and what it keeps of each
    parameter (momentum, second moments) is sliced as the parameter was. Where every entry of a parameter is updated by
    itself, as in SGD and Adam, the next step is that which the dense model's kept entries would have taken, had the
    units been zero. Parameters that are not the dense model's stay.

    For a model that is cut in place, `apply_` does this.

    Args:
        optimizer: of the dense model; changed in place, so that schedulers of its learning rate go on. It may be
            prepared by Accelerate.
        small: the model that `apply` made of `dense` by `plan`.
        dense: the model before.
        plan: what was removed.
        structure: of `dense`, from `trace`.

    Raises:
        ModelError: the structure is not that of `dense`.
        PlanError: `small` is not what `plan` makes of `dense`.
        UsageError: the optimiser holds no parameter of the dense model, or keeps what cannot be sliced, such as one
            vector for all parameters. It is as it was then.
    """
    check_shapes(dense, structure)
    plan.check(structure)
    found = successors(dense, small, plan, structure)
    if not any(p in found for p in held_by(optimizer)):
        raise UsageError(
            "the optimiser holds no parameter of the dense model (was it carried over already?): make it anew, or give "
            "the one that trains it"
        )
    carry(optimizer, found)


def successors(dense: nn.Module, small: nn.Module, plan: Plan, structure: Structure) -> dict[nn.Parameter, Successor]:
    """For each parameter of the dense model, what takes its place in the model that the plan makes of it.

    Raises:
        PlanError: the plan makes another model.
    """
    masks, cut = structure.keep_masks(plan.keep), dict(small.named_parameters())
    found = {}
    for name, old in dense.named_parameters():
        foretold = [int(keep.sum()) for keep in masks[name]]
        if name not in cut or list(cut[name].shape) != foretold:
            shape = list(cut[name].shape) if name in cut else "not there"
            raise PlanError(f"the plan did not make this model: its {name!r} should be {foretold}, but is {shape}")
        found[old] = Successor(name, cut[name], masks[name])
    return found


def carry(optimizer: Optimizer, successors: Mapping[Any, Successor]) -> None:
    """Put successors in the place of parameters, in the optimiser's groups and in its state; see `carry_optimizer`."""
    optimizer = _inner(optimizer)

    def after(parameter: Any) -> Any:
        return successors[parameter].parameter if parameter in successors else parameter

    state = {after(p): _sliced(its, p, successors[p]) if p in successors else its for p, its in optimizer.state.items()}
    for group in optimizer.param_groups:
        group["params"][:] = map(after, group["params"])
    optimizer.state.clear()
    optimizer.state.update(state)


def _sliced(state: Mapping[str, Any], old: Tensor, successor: Successor) -> dict[str, Any]:
    """What an optimiser keeps of a parameter, as it would keep it of the successor."""

    def slice_one(key: str, tensor: Tensor) -> Tensor:
        if tensor.ndim == 0 or tensor.shape == (1,):  # of the parameter as a whole, such as a number of steps
            return tensor
        if tensor.ndim != old.ndim or any(n not in (1, size) for n, size in zip(tensor.shape, old.shape, strict=True)):
            raise UsageError(
                f"the optimiser keeps {key!r} of shape {list(tensor.shape)} for {successor.name!r} of shape "
                f"{list(old.shape)}, so the one cannot be sliced as the other: make the optimiser anew after the cut"
            )
        whole = torch.ones(1, dtype=torch.bool)
        keeps = zip(tensor.shape, successor.keep, strict=True)
        return sliced(tensor, [keep if size == len(keep) else whole for size, keep in keeps])

    return {key: tree_map_only(Tensor, partial(slice_one, key), value) for key, value in state.items()}


def check_optimizer(optimizer: Optimizer, model: nn.Module) -> None:
    """See that an optimiser holds parameters of this model and no others, as one made before a cut does.

    Parameters of the model that the optimiser does not hold are no error: they are not trained.

    Args:
        optimizer: of torch, or prepared by Accelerate.
        model: that is going to be trained.

    Raises:
        UsageError: it holds a parameter that is not the model's, and so would train what nobody uses.
    """
    device_of(model)
    own = set(model.parameters())
    held = held_by(optimizer)
    gone = [list(p.shape) for p in held if p not in own]
    if gone:
        shapes = ", ".join(map(str, gone[:5])) + (", …" if len(gone) > 5 else "")
        raise UsageError(
            f"{len(gone)} of the {len(held)} parameters that the optimiser holds are not those of this "
            f"{type(model).__name__} (of shapes {shapes}), so it would not train the model: carry it over the cut "
            "(secateurs.carry_optimizer), or make it anew"
        )


def held_by(optimizer: Optimizer) -> list[nn.Parameter]:
    """The parameters of all groups of an optimiser."""
    return [p for group in _inner(optimizer).param_groups for p in group["params"]]


def _inner(optimizer: Any) -> Optimizer:
    """The optimiser itself, where Accelerate has prepared it."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    if not isinstance(optimizer, Optimizer):
        raise UsageError(f"expected a torch.optim.Optimizer, not {type(optimizer).__name__}")
    return optimizer
