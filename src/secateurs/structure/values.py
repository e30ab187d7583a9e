"""Compute known values of tensors on the meta device, which have sizes but no data.

Models read some values, such as the positions of padding or the start of a sequence. These values depend on the inputs,
which are known, and not on weights. So an operator also runs on the CPU if the values of all arguments are known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from secateurs.structure.tensors import tensors_in

META = torch.device("meta")


class Values:
    """Runs operators on the meta device, and also on the CPU if the values of all arguments are known."""

    def __init__(self):
        self._known: Any = WeakTensorKeyDictionary()

    def know(self, tensor: Tensor, value: Tensor) -> None:
        """Store the value of a tensor on the meta device."""
        if tensor.is_meta and not value.is_meta:
            self._known[tensor] = value.cpu()

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator and return the result, with tensors on the meta device and numbers if they are known."""
        inputs = tensors_in(args, kwargs)
        creates_tensor = not inputs and kwargs.get("device") == META
        if not creates_tensor and not (inputs and all(tensor in self._known for tensor in inputs)):
            out = func(*args, **kwargs)
            if func._schema.is_mutable:
                self._forget(inputs)
            return out
        values = func(*self._on_cpu(args), **self._on_cpu(kwargs))
        if func._schema.is_mutable:
            return func(*args, **kwargs)
        out = tree_map_only(Tensor, lambda value: value.to(META), values)
        self._known.update(zip(tensors_in(out), tensors_in(values), strict=True))
        return out

    def _on_cpu(self, arguments: Any) -> Any:
        """Replace tensors by their known values, and the meta device by the CPU."""

        def move(leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                return self._known[leaf]
            return torch.device("cpu") if isinstance(leaf, torch.device) and leaf == META else leaf

        return tree_map(move, arguments)

    def _forget(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            if tensor in self._known:
                del self._known[tensor]
