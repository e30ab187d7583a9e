"""Replace the activations of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.module_tracker import ModuleTracker

from secateurs.data import Call
from secateurs.errors import ModelError
from secateurs.surgery import rebuild
from secateurs.utils import evaluating

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
"""Name → an activation that can replace the model's activations."""

SWAPPED = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish)
"""The modules that are replaced."""

OPERATORS = {"relu", "hardtanh", "leaky_relu", "_prelu_kernel", "elu", "gelu", "silu", "mish", "hardswish", "celu"}
"""The ATen operators of these modules and of the equivalent functions."""


def swap_activations(model: nn.Module, activation: str, call: Call) -> nn.Module:
    """Copy a model and replace every activation module of the kinds in `SWAPPED`.

    Args:
        model: is not changed.
        activation: one of `ACTIVATIONS`.
        call: a call of the model, which shows activations that are not modules.

    Raises:
        ModelError: the model has no such module, or calls an activation as a function, which cannot be replaced.
    """
    bare = _replaced(model, nn.Identity)
    finder = _Finder()
    with evaluating(bare), finder.modules, finder:
        call.run(bare)
    if finder.calls:
        raise ModelError(
            f"the activations of {type(model).__name__} cannot be replaced: it calls {', '.join(finder.calls)} as a "
            "function; make it a module in __init__ (self.act = nn.ReLU()) and call the module"
        )
    return _replaced(model, ACTIVATIONS[activation])


class _Finder(TorchDispatchMode):
    """Collects the calls of activation operators, with the calling module."""

    def __init__(self):
        super().__init__()
        self.modules = ModuleTracker()
        self.calls: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.removesuffix("_")
        if name in OPERATORS:
            where = max(self.modules.parents - {"Global"}, key=len).partition(".")[2]
            self.calls.append(f"{name} in {repr(where) if where else 'forward of the model itself'}")
        return func(*args, **(kwargs or {}))


def _replaced(model: nn.Module, new: Callable[[], nn.Module]) -> nn.Module:
    """A copy of a model in which every activation module is replaced by a new module."""
    copy = rebuild(model, lambda _, tensor: tensor.clone())
    activations = [
        (parent, name)
        for parent in copy.modules()
        for name, module in parent.named_children()
        if isinstance(module, SWAPPED)
    ]
    if not activations:
        kinds = ", ".join(kind.__name__ for kind in SWAPPED)
        raise ModelError(f"{type(model).__name__} has no activation module ({kinds}), so there is nothing to replace")
    for parent, name in activations:
        setattr(parent, name, new())
    return copy
