"""Forward hooks on named modules, and the residual stream: a layer's first input tensor and first output tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_leaves

Before = Callable[[str, list[Tensor]], None]
"""Called with a module's name and its input tensors, before the module runs."""

After = Callable[[str, Any], Any]
"""Called with a module's name and its output, after the module has run; returns a replacement output, or None."""


@contextmanager
def forward_hooks(modules: Mapping[str, nn.Module], before: Before, after: After) -> Iterator[None]:
    """Call `before` and `after` whenever one of the modules (name → module) runs; remove the hooks at the end."""
    handles = []
    for name, module in modules.items():

        def pre_hook(module: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
            before(name, tensor_leaves((args, kwargs)))

        def hook(module: nn.Module, args: Any, output: Any, name: str = name) -> Any:
            return after(name, output)

        handles.append(module.register_forward_pre_hook(pre_hook, with_kwargs=True))
        handles.append(module.register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def tensor_leaves(tree: Any) -> list[Tensor]:
    """Every tensor in a module's arguments or output, in order."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def feature_dim(layer: nn.Module, stream: Tensor) -> int:
    """The feature dimension of a layer's residual stream: the channels of its convolutions, or else the last one."""
    convolutions = [module for module in layer.modules() if isinstance(module, _ConvNd)]
    is_feature_map = any(
        conv.in_channels == stream.shape[1] and stream.ndim == len(conv.kernel_size) + 2 for conv in convolutions
    )
    return 1 if is_feature_map else stream.ndim - 1
