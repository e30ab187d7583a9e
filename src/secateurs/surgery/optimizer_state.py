"""Adapt optimisers to a cut: replace the parameters, and slice the state of each parameter."""

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
    """The parameter of the cut model that replaces a parameter of the dense model.

    Attributes:
        name: the name of both parameters.
        parameter: the parameter of the cut model.
        keep: one bool mask of the kept indices for each dimension of the dense parameter.
    """

    name: str
    parameter: nn.Parameter
    keep: Sequence[Tensor]


def carry_optimizer(optimizer: Optimizer, small: nn.Module, dense: nn.Module, plan: Plan, structure: Structure) -> None:
    """Turn the optimiser of the dense model into the optimiser of a cut copy.

    The parameters are replaced by the parameters of the cut model, in the same parameter groups with the same
    hyperparameters. The state of each parameter (momentum, second moments) is sliced in the same way as the parameter.
    If the optimiser updates each entry independently, as SGD and Adam do, the next step is the same as for the kept
    entries of the dense model with the removed units at zero. Parameters of other models are not changed. For a cut in
    place, use `apply_`.

    Args:
        optimizer: the optimiser of the dense model, possibly prepared by Accelerate; changed in place, so that learning
            rate schedulers continue to work.
        small: the result of `apply` for `dense` and `plan`.
        dense: the model before the cut.
        plan: the kept units.
        structure: of `dense`, from `trace`.

    Raises:
        ModelError: the structure does not belong to `dense`.
        PlanError: `small` is not the result of `plan` for `dense`.
        UsageError: the optimiser holds no parameter of the dense model, or its state cannot be sliced, for example
            because it is one vector for all parameters. The optimiser is unchanged.

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
            "the optimiser holds no parameter of the dense model (perhaps it was carried over already); give the "
            "optimiser of the dense model, or create a new optimiser for the cut model"
        )
    replace_parameters(optimizer, successors)


def find_successors(
    dense: nn.Module, small: nn.Module, plan: Plan, structure: Structure
) -> dict[nn.Parameter, Successor]:
    """Map each parameter of the dense model to its successor in the cut model.

    Args:
        dense: the model before the cut.
        small: the cut model.
        plan: the kept units.
        structure: of the dense model.

    Raises:
        PlanError: the cut model is not the result of the plan.
    """
    masks, cut = structure.keep_masks(plan.keep), dict(small.named_parameters())
    successors = {}
    for name, old in dense.named_parameters():
        expected = [int(keep.sum()) for keep in masks[name]]
        if name not in cut or list(cut[name].shape) != expected:
            shape = f"has the shape {list(cut[name].shape)}" if name in cut else "is missing"
            raise PlanError(
                f"the cut model is not the result of this plan: the parameter {name!r} should have the shape "
                f"{expected}, but it {shape}"
            )
        successors[old] = Successor(name, cut[name], masks[name])
    return successors


def replace_parameters(optimizer: Optimizer, successors: Mapping[Any, Successor]) -> None:
    """Replace parameters by their successors in the parameter groups and the state of an optimiser.

    Args:
        optimizer: changed in place.
        successors: parameter of the dense model to successor.

    Raises:
        UsageError: the state of a parameter cannot be sliced. The optimiser is unchanged.
    """
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
    """Slice the state of a parameter in the same way as the parameter."""

    def slice_one(key: str, tensor: Tensor) -> Tensor:
        if tensor.ndim == 0 or tensor.shape == (1,):  # one value for the whole parameter, such as the step count
            return tensor
        if tensor.ndim != old.ndim or any(n not in (1, size) for n, size in zip(tensor.shape, old.shape, strict=True)):
            raise UsageError(
                f"the state {key!r} of the optimiser for {successor.name!r} cannot be sliced: its shape "
                f"{list(tensor.shape)} does not match the shape {list(old.shape)} of the parameter; create a new "
                "optimiser after the cut"
            )
        keep_one = torch.ones(1, dtype=torch.bool)
        keeps = zip(tensor.shape, successor.keep, strict=True)
        return sliced(tensor, [keep if size == len(keep) else keep_one for size, keep in keeps])

    return {key: tree_map_only(Tensor, partial(slice_one, key), value) for key, value in state.items()}


def check_optimizer(optimizer: Optimizer, model: nn.Module) -> None:
    """Check that every parameter of an optimiser belongs to a model.

    After a cut, an optimiser that was not carried over holds parameters of the dense model, and would not train the cut
    model. An optimiser that holds only some parameters of the model passes the check.

    Args:
        optimizer: a torch optimiser, possibly prepared by Accelerate.
        model: the model to train.

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
            f"{type(model).__name__} (shapes {shapes}), so it would not train the model; carry the optimiser over the "
            "cut with secateurs.carry_optimizer, or create a new one"
        )


def parameters_of(optimizer: Optimizer) -> list[nn.Parameter]:
    """List the parameters of all parameter groups of an optimiser."""
    return [parameter for group in _unwrap(optimizer).param_groups for parameter in group["params"]]


def _unwrap(optimizer: Any) -> Optimizer:
    """Remove the wrappers of Accelerate from an optimiser."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    if not isinstance(optimizer, Optimizer):
        raise UsageError(f"expected a torch.optim.Optimizer, not {type(optimizer).__name__}")
    return optimizer
