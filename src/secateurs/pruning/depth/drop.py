"""`drop_layers`: a model without some of its layers, proved to compute what it would if they did nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from secateurs.data import as_call
from secateurs.errors import NoMatchError, PlanError, VerificationError
from secateurs.pruning.depth.find_layers import Layers, find_layers
from secateurs.pruning.depth.hooks import following
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
from secateurs.utils import device_of, need_values


def drop_layers(model: nn.Module, names: Sequence[str], example_inputs: Any) -> nn.Module:
    """Remove whole layers.

    The others are numbered anew, in their list and where they hold their own number, and the configuration of a
    Hugging Face model follows if its class, built from it, computes the same with the weights that are left. The result
    is verified before it is returned: in float64 on the example inputs it equals the model in which these layers return
    what they are given, to 1e-10 of the largest output.

    Args:
        model: it is not changed.
        names: of layers, such as those of `LayerRanking.lowest`.
        example_inputs: a tensor, a tuple, or a dict of keyword arguments.

    Returns:
        A new module of the same class, which can be trained and pruned like any other. It holds what was dropped, so
        that `Result.save` and `load` know it.

    Raises:
        ModelError: the model has no layers, or is on the meta device.
        NoMatchError: a name is not that of a layer that can be dropped.
        PlanError: no name was given, or a list of layers would be left empty.
        TraceError: the model does not run on the example inputs.
        VerificationError: the model computes something else without these layers.
    """
    need_values(model, "dropping layers")
    call = as_call(example_inputs).to(device_of(model))
    _check(model, find_layers(model, call), names)
    dense, call, _ = in_double(model, call)
    silenced = _Silenced()
    expected = run_model(dense, call, following({name: dense.get_submodule(name) for name in names}, *silenced.hooks))
    trial = without_layers(dense, names, share=True)
    changes = depth_changes(
        trial, containers(dense, names), lambda built: not difference(run_model(built, call), expected)
    )
    adopt_config(trial, changes)
    try:
        failure = difference(run_model(trial, call), expected)
    except Exception as error:  # code that counts on its layers
        failure = f"it does not run: {error}"
    if failure:
        raise VerificationError(
            f"without {', '.join(names)} the model does not compute what it would if they did nothing: {failure}; "
            "drop others"
        )
    return drop(model, Dropped(tuple(names), changes))


def _check(model: nn.Module, layers: Layers, names: Sequence[str]) -> None:
    if isinstance(names, str) or not names:
        raise PlanError(f"give the names of layers to drop, not {names!r}")
    for name in names:
        if name not in layers.names:
            why = f"cannot be dropped ({layers.frozen[name]})" if name in layers.frozen else "is no layer of this model"
            raise NoMatchError(f"{name!r} {why}; its layers are: {', '.join(layers.names)}")
    for path, kept in containers(model, names).items():
        if not kept.indices:
            raise PlanError(f"all layers of {path!r} are to be dropped; one of them must stay")


class _Silenced:
    """Makes layers return what they are given."""

    def __init__(self) -> None:
        self._given: dict[str, Tensor] = {}

    @property
    def hooks(self) -> Any:
        """What `following` is told."""
        return self._enter, self._leave

    def _enter(self, name: str, given: list[Tensor]) -> None:
        self._given[name] = given[0].clone()  # the layer may write into it

    def _leave(self, name: str, output: Any) -> Any:
        leaves, form = tree_flatten(output)
        first = next(number for number, leaf in enumerate(leaves) if isinstance(leaf, Tensor))
        leaves[first] = self._given.pop(name)
        return tree_unflatten(leaves, form)
