"""The same network with other non-linearities."""

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
"""What is swapped in, by name."""

SWAPPED = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish)
"""What is swapped out."""

OPERATORS = {"relu", "hardtanh", "leaky_relu", "_prelu_kernel", "elu", "gelu", "silu", "mish", "hardswish", "celu"}
"""What modules of these kinds, and functions in their place, come down to in ATen."""


def swapped(model: nn.Module, activation: str, call: Call) -> nn.Module:
    """A copy in which every module that is a non-linearity of the kind of ReLU is another one.

    Args:
        model: stays as it is.
        activation: one of `ACTIVATIONS`.
        call: runs the model, to see whether there are others that are no modules.

    Raises:
        ModelError: the model has no such module, or calls a non-linearity as a function, which cannot be swapped.
    """
    bare = _replaced(model, nn.Identity)
    finder = _Finder()
    with evaluating(bare), finder.modules, finder:
        call.run(bare)
    if finder.found:
        raise ModelError(
            f"the activations of {type(model).__name__} cannot be swapped: it calls {', '.join(finder.found)} as a "
            "function; make it a module in __init__ (self.act = nn.ReLU()) and call that"
        )
    return _replaced(model, ACTIVATIONS[activation])


class _Finder(TorchDispatchMode):
    """Notes the operators that are non-linearities, and the module that calls them."""

    def __init__(self):
        super().__init__()
        self.modules = ModuleTracker()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.removesuffix("_")
        if name in OPERATORS:
            where = max(self.modules.parents - {"Global"}, key=len).partition(".")[2]
            self.found.append(f"{name} in {repr(where) if where else 'its own forward'}")
        return func(*args, **(kwargs or {}))


def _replaced(model: nn.Module, new: Callable[[], nn.Module]) -> nn.Module:
    copy = rebuild(model, lambda _, tensor: tensor.clone())
    found = [
        (parent, name)
        for parent in copy.modules()
        for name, module in parent.named_children()
        if isinstance(module, SWAPPED)
    ]
    if not found:
        kinds = ", ".join(kind.__name__ for kind in SWAPPED)
        raise ModelError(f"{type(model).__name__} has no activation that is a module ({kinds}), so nothing to swap")
    for parent, name in found:
        setattr(parent, name, new())
    return copy
