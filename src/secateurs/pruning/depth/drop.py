"""`drop_layers`: remove whole layers, verified against the model in which they are the identity."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from secateurs.data import as_call
from secateurs.errors import NoMatchError, PlanError, VerificationError
from secateurs.pruning.depth.find_layers import Layers, find_layers
from secateurs.pruning.depth.hooks import forward_hooks
from secateurs.surgery import (
    Dropped,
    adopt_config,
    containers,
    depth_changes,
    difference,
    drop,
    in_double,
    run_model,
    without_layers,
)
from secateurs.utils import check_has_values, device_of


def drop_layers(model: nn.Module, names: Sequence[str], example_inputs: Any) -> nn.Module:
    """Return a copy of a model without some of its layers.

    The remaining layers are renumbered, in their list and in attributes that hold a layer's own index. The
    configuration of a Hugging Face model is updated if a model built from it computes the same with the remaining
    weights. The result is verified before it is returned: in float64 on the example inputs, it equals the dense model
    with these layers replaced by the identity, within 1e-10 of the largest output.

    Args:
        model: the dense model; it is not changed.
        names: the names of the layers to drop, such as `LayerRanking.lowest` returns them.
        example_inputs: a tensor, a tuple of arguments, or a dict of keyword arguments.

    Returns:
        A new module of the same class, which can be trained and pruned further. It records the dropped layers, so
        that `Result.save` and `sc.load` restore it.

    Raises:
        ModelError: the model has no residual layers, or is on the meta device.
        NoMatchError: a name is not the name of a layer that can be dropped.
        PlanError: no name is given, or a list of layers would become empty.
        TraceError: the model does not run on the example inputs.
        VerificationError: the smaller model does not compute the expected outputs.

    Example:
        >>> class Residual(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.linear = nn.Linear(6, 6)
        ...     def forward(self, x):
        ...         return x + self.linear(x).relu()
        >>> small = sc.drop_layers(nn.Sequential(Residual(), Residual(), Residual()), ["1"], torch.randn(2, 6))
        >>> len(small)
        2
    """
    check_has_values(model, "dropping layers")
    call = as_call(example_inputs).to(device_of(model))
    _check_names(model, find_layers(model, call), names)
    dense, call, _ = in_double(model, call)
    expected = run_model(dense, call, _identity_layers(dense, names))
    trial = without_layers(dense, names, share=True)
    config_changes = depth_changes(
        trial, containers(dense, names), lambda built: not difference(run_model(built, call), expected)
    )
    adopt_config(trial, config_changes)
    try:
        failure = difference(run_model(trial, call), expected)
    except Exception as error:  # the model's own code may rely on its number of layers
        failure = f"it does not run: {error}"
    if failure:
        raise VerificationError(
            f"the model without {', '.join(names)} does not match the model with these layers replaced by the "
            f"identity: {failure}; drop other layers"
        )
    return drop(model, Dropped(tuple(names), config_changes))


def _check_names(model: nn.Module, layers: Layers, names: Sequence[str]) -> None:
    if isinstance(names, str) or not names:
        raise PlanError(f"names must be a list of layers to drop, not {names!r}")
    for name in names:
        if name not in layers.names:
            reason = f"cannot be dropped ({layers.frozen[name]})" if name in layers.frozen else "is not a layer"
            raise NoMatchError(f"{name!r} {reason}; the layers that can be dropped are {', '.join(layers.names)}")
    for path, kept in containers(model, names).items():
        if not kept.indices:
            raise PlanError(f"all layers of {path!r} would be dropped; keep at least one of them")


def _identity_layers(model: nn.Module, names: Sequence[str]) -> AbstractContextManager[None]:
    """Make layers return their first input in place of their first output tensor."""
    inputs: dict[str, Tensor] = {}

    def before(name: str, tensors: list[Tensor]) -> None:
        inputs[name] = tensors[0].clone()  # the layer may modify it in place

    def after(name: str, output: Any) -> Any:
        leaves, tree = tree_flatten(output)
        first = next(index for index, leaf in enumerate(leaves) if isinstance(leaf, Tensor))
        leaves[first] = inputs.pop(name)
        return tree_unflatten(leaves, tree)

    return forward_hooks({name: model.get_submodule(name) for name in names}, before, after)
