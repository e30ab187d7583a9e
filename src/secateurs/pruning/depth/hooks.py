"""The stream that goes through a model's layers: the first tensor that each is given, and the first that it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_leaves

Enter = Callable[[str, list[Tensor]], None]
"""Told the name of a module, and the tensors that it is given."""

Leave = Callable[[str, Any], Any]
"""Told the name of a module, and what it returns; returns what it is to return instead, or None."""


@contextmanager
def following(modules: Mapping[str, nn.Module], enter: Enter, leave: Leave) -> Iterator[None]:
    """Tell `enter` and `leave` whenever one of these modules runs."""
    hooks = []
    for name, module in modules.items():

        def before(module: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
            enter(name, tensors((args, kwargs)))

        def after(module: nn.Module, args: Any, output: Any, name: str = name) -> Any:
            return leave(name, output)

        hooks.append(module.register_forward_pre_hook(before, with_kwargs=True))
        hooks.append(module.register_forward_hook(after))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def tensors(tree: Any) -> list[Tensor]:
    """Every tensor among arguments or in a result, in the order in which they are given."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def feature_dim(module: nn.Module, stream: Tensor) -> int:
    """The dimension along which a stream's features lie: the channels of the module's convolutions, or the last."""
    convolutions = (its for its in module.modules() if isinstance(its, _ConvNd))
    maps = any(its.in_channels == stream.shape[1] and stream.ndim == len(its.kernel_size) + 2 for its in convolutions)
    return 1 if maps else stream.ndim - 1
