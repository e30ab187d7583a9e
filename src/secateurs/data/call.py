"""The arguments of one call of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only

from secateurs.errors import DataError


@dataclass(frozen=True)
class Call:
    """The arguments of one call of a model."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def run(self, model: nn.Module) -> Any:
        """Call `model` with these arguments."""
        return model(*self.args, **self.kwargs)

    def tensors(self) -> list[Tensor]:
        """Every tensor among the arguments."""
        return [leaf for leaf in tree_flatten((self.args, self.kwargs))[0] if isinstance(leaf, Tensor)]

    def named(self, model: nn.Module) -> dict[str, Tensor]:
        """The arguments that are tensors, by the names that `model` gives them."""
        try:
            bound = signature(model.forward).bind(*self.args, **self.kwargs)
        except TypeError:  # the model will say so itself
            return {}
        named = bound.arguments | bound.kwargs  # with those that the signature does not name
        return {name: tensor for name, tensor in named.items() if isinstance(tensor, Tensor)}

    def samples(self) -> int:
        """Number of samples: the first dimension of most tensors.

        Raises:
            DataError: as many tensors have one first dimension as have another.
        """
        counts = Counter(len(tensor) for tensor in self.tensors() if tensor.ndim).most_common(2)
        if len(counts) > 1 and counts[0][1] == counts[1][1]:
            raise DataError(
                f"the number of samples cannot be told from {self.describe()}: is it {counts[0][0]} or {counts[1][0]}? "
                "Give batches of (inputs, targets), or tensors whose first dimension is the samples'"
            )
        return counts[0][0] if counts else 1

    def copy(self) -> Call:
        """The same call on copies of the tensors, for models that write into their inputs."""
        return self.map(lambda t: t.clone())

    def map(self, change: Any) -> Call:
        """The same call with `change` applied to every tensor."""
        return Call(*tree_map_only(Tensor, change, (self.args, self.kwargs)))

    def to(self, device: torch.device) -> Call:
        """The same call with every tensor on `device`."""
        return self.map(lambda t: t.to(device))

    def describe(self) -> str:
        """Types and shapes of the arguments, for messages."""
        shapes = tree_map_only(Tensor, lambda t: f"{str(t.dtype)[6:]}{list(t.shape)}", (self.args, self.kwargs))
        return ", ".join([str(a) for a in shapes[0]] + [f"{k}={v}" for k, v in shapes[1].items()])


def as_call(inputs: Any) -> Call:
    """Example inputs as a call.

    Args:
        inputs: a tensor, a tuple or list of positional arguments, a dict of keyword arguments, or a call.

    Raises:
        DataError: `inputs` is of another type or holds no tensor.
    """
    if isinstance(inputs, Call):
        call = inputs
    elif isinstance(inputs, Tensor):
        call = Call((inputs,))
    elif isinstance(inputs, Mapping):
        call = Call((), dict(inputs))
    elif isinstance(inputs, (tuple, list)):
        call = Call(tuple(inputs))
    else:
        raise DataError(
            f"example inputs must be a tensor, a tuple or a dict of keyword arguments, not {type(inputs).__name__}"
        )
    if not call.tensors():
        raise DataError("the example inputs hold no tensor")
    return call
