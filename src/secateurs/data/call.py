"""The arguments of one forward pass of a model."""

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
    """The arguments of one forward pass of a model.

    Attributes:
        args: positional arguments.
        kwargs: keyword arguments.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def run(self, model: nn.Module) -> Any:
        """Call `model` with these arguments."""
        return model(*self.args, **self.kwargs)

    def tensors(self) -> list[Tensor]:
        """List all tensors in the arguments, also those inside lists, tuples and dicts."""
        return [leaf for leaf in tree_flatten((self.args, self.kwargs))[0] if isinstance(leaf, Tensor)]

    def named_tensors(self, model: nn.Module) -> dict[str, Tensor]:
        """Map the parameter names of `model.forward` to the arguments that are tensors."""
        try:
            bound = signature(model.forward).bind(*self.args, **self.kwargs)
        except TypeError:  # the arguments do not fit the signature: the forward pass will raise the error
            return {}
        named = bound.arguments | bound.kwargs  # `kwargs` includes arguments that are passed through **kwargs
        return {name: tensor for name, tensor in named.items() if isinstance(tensor, Tensor)}

    def samples(self) -> int:
        """Number of samples: the most frequent length of the first dimension over all tensors.

        Raises:
            DataError: two lengths are equally frequent.
        """
        counts = Counter(len(tensor) for tensor in self.tensors() if tensor.ndim).most_common(2)
        if len(counts) > 1 and counts[0][1] == counts[1][1]:
            raise DataError(
                f"the number of samples of {self.describe()} is ambiguous: {counts[0][0]} or {counts[1][0]}. Give "
                "batches of (inputs, targets), or tensors whose first dimension is the number of samples"
            )
        return counts[0][0] if counts else 1

    def copy(self) -> Call:
        """Copy the call and its tensors, for models that modify their inputs in place."""
        return self.map(lambda t: t.clone())

    def map(self, change: Any) -> Call:
        """Apply `change` to every tensor."""
        return Call(*tree_map_only(Tensor, change, (self.args, self.kwargs)))

    def to(self, device: torch.device) -> Call:
        """Copy the call with every tensor on `device`."""
        return self.map(lambda t: t.to(device))

    def describe(self) -> str:
        """Describe the types and shapes of the arguments, for messages."""
        shapes = tree_map_only(Tensor, lambda t: f"{str(t.dtype)[6:]}{list(t.shape)}", (self.args, self.kwargs))
        return ", ".join([str(a) for a in shapes[0]] + [f"{k}={v}" for k, v in shapes[1].items()])


def as_call(inputs: Any) -> Call:
    """Convert example inputs to a `Call`.

    Args:
        inputs: a tensor, a tuple or list of positional arguments, a dict of keyword arguments, or a `Call`.

    Raises:
        DataError: `inputs` has another type or contains no tensor.
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
        raise DataError("the example inputs contain no tensor")
    return call
