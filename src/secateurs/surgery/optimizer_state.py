"""Optimisers across a cut: the parameters of the cut model and the sliced state take the place of the dense ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from secateurs.budgets import Plan
from secateurs.errors import PlanError, UsageError
from secateurs.structure import Structure, check_shapes, sliced
from secateurs.utils import device_of


class Successor(NamedTuple):
    """The parameter that takes the place of a dense parameter.

    Attributes:
        name: the name of both.
        parameter: the parameter of the cut model.
        keep: per dimension of the dense parameter, a bool mask of the kept indices.
    """

    name: str
    parameter: nn.Parameter
    keep: Sequence[Tensor]


def carry_optimizer(optimizer: Optimizer, small: nn.Module, dense: nn.Module, plan: Plan, structure: Structure) -> None:
    """Turn the optimiser of the dense model into the optimiser of a cut copy.

    The parameter groups then hold the parameters of the cut model, with the same hyperparameters, and the state of each
    parameter (momentum, second moments) is sliced as the parameter was. If the optimiser updates every entry
    independently, as SGD and Adam do, the next step is the step that the kept entries of the dense model would take
    with the removed units at zero. Parameters of other models stay. `apply_` does this for a model that is cut in
    place.

    Args:
        optimizer: the optimiser of the dense model, which Accelerate may have prepared; changed in place, so that
            schedulers of the learning rate continue.
        small: the model that `apply` made of `dense` with `plan`.
        dense: the model before the cut.
        plan: the units that are kept.
        structure: of `dense`, from `trace`.

    Raises:
        ModelError: the structure is not that of `dense`.
        PlanError: `small` is not what `plan` makes of `dense`.
        UsageError: the optimiser holds no parameter of the dense model, or its state cannot be sliced, as one vector
            for all parameters cannot. The optimiser is unchanged.

    Example:
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> structure = sc.trace(model, example_inputs)
        >>> plan = sc.allocate(structure, sc.score(model, data, "l2", structure), "macs:0.5")
        >>> small = sc.apply(model, plan, example_inputs, structure)
        >>> sc.carry_optimizer(optimizer, small, model, plan, structure)
        >>> optimizer.param_groups[0]["params"][0] is small[0].weight
        True
    """
    check_shapes(dense, structure)
    plan.check(structure)
    successors = find_successors(dense, small, plan, structure)
    if not any(parameter in successors for parameter in parameters_of(optimizer)):
        raise UsageError(
            "the optimiser holds no parameter of the dense model (was it carried over already?): give the optimiser "
            "that trains the dense model, or make a new one"
        )
    replace_parameters(optimizer, successors)


def find_successors(
    dense: nn.Module, small: nn.Module, plan: Plan, structure: Structure
) -> dict[nn.Parameter, Successor]:
    """Map each parameter of the dense model to its successor in the model that the plan makes of it.

    Raises:
        PlanError: the plan makes another model.
    """
    masks, cut = structure.keep_masks(plan.keep), dict(small.named_parameters())
    successors = {}
    for name, old in dense.named_parameters():
        expected = [int(keep.sum()) for keep in masks[name]]
        if name not in cut or list(cut[name].shape) != expected:
            shape = f"has the shape {list(cut[name].shape)}" if name in cut else "is missing"
            raise PlanError(
                f"the cut model was not made by this plan: the parameter {name!r} should have the shape {expected}, "
                f"but {shape}"
            )
        successors[old] = Successor(name, cut[name], masks[name])
    return successors


def replace_parameters(optimizer: Optimizer, successors: Mapping[Any, Successor]) -> None:
    """Put successors in the place of parameters, in the groups and the state of an optimiser."""
    optimizer = _unwrap(optimizer)

    def new(parameter: Any) -> Any:
        return successors[parameter].parameter if parameter in successors else parameter

    state = {
        new(old): _slice_state(values, old, successors[old]) if old in successors else values
        for old, values in optimizer.state.items()
    }
    for group in optimizer.param_groups:
        group["params"][:] = map(new, group["params"])
    optimizer.state.clear()
    optimizer.state.update(state)


def _slice_state(state: Mapping[str, Any], old: Tensor, successor: Successor) -> dict[str, Any]:
    """The state of a parameter, sliced as the parameter was."""

    def slice_one(key: str, tensor: Tensor) -> Tensor:
        if tensor.ndim == 0 or tensor.shape == (1,):  # one value for the parameter, such as the number of steps
            return tensor
        if tensor.ndim != old.ndim or any(n not in (1, size) for n, size in zip(tensor.shape, old.shape, strict=True)):
            raise UsageError(
                f"the state {key!r} of the optimiser for {successor.name!r} has the shape {list(tensor.shape)}, which "
                f"cannot be sliced as the shape {list(old.shape)} of the parameter: make a new optimiser after the cut"
            )
        whole = torch.ones(1, dtype=torch.bool)
        keeps = zip(tensor.shape, successor.keep, strict=True)
        return sliced(tensor, [keep if size == len(keep) else whole for size, keep in keeps])

    return {key: tree_map_only(Tensor, partial(slice_one, key), value) for key, value in state.items()}


def check_optimizer(optimizer: Optimizer, model: nn.Module) -> None:
    """Check that every parameter of an optimiser belongs to this model; after a cut, those of an old optimiser do not.

    The optimiser need not hold all parameters of the model; the others are not trained.

    Args:
        optimizer: an optimiser of torch, which Accelerate may have prepared.
        model: the model that will be trained.

    Raises:
        UsageError: the optimiser holds a parameter that does not belong to the model.

    Example:
        >>> small = sc.prune(model, data, criterion="l2", budget="macs:0.5").model
        >>> sc.check_optimizer(torch.optim.SGD(small.parameters(), lr=0.1), small)
        >>> sc.check_optimizer(torch.optim.SGD(model.parameters(), lr=0.1), small)
        Traceback (most recent call last):
        ...
        secateurs.errors.UsageError: 10 of the 10 parameters of the optimiser do not belong to this Sequential ...
    """
    device_of(model)
    own, trained = set(model.parameters()), parameters_of(optimizer)
    foreign = [list(parameter.shape) for parameter in trained if parameter not in own]
    if foreign:
        shapes = ", ".join(map(str, foreign[:5])) + (", …" if len(foreign) > 5 else "")
        raise UsageError(
            f"{len(foreign)} of the {len(trained)} parameters of the optimiser do not belong to this "
            f"{type(model).__name__} (shapes {shapes}), so it would not train the model: carry the optimiser over the "
            "cut (secateurs.carry_optimizer), or make a new one"
        )


def parameters_of(optimizer: Optimizer) -> list[nn.Parameter]:
    """The parameters of all groups of an optimiser."""
    return [parameter for group in _unwrap(optimizer).param_groups for parameter in group["params"]]


def _unwrap(optimizer: Any) -> Optimizer:
    """The optimiser itself, without the wrappers of Accelerate."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    if not isinstance(optimizer, Optimizer):
        raise UsageError(f"expected a torch.optim.Optimizer, not {type(optimizer).__name__}")
    return optimizer
