"""Watch every operator that a model runs, and give each call a name, the site.

The tracer and the observer are subclasses of `Watcher`, so sites that were traced can be observed in later runs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from secateurs.structure.tensors import tensors_in

ALIKE = {"aten::_unsafe_view": "aten::view", "aten::_reshape_alias": "aten::view", "aten::reshape": "aten::view"}
"""Operators with the same name in sites. `reshape` chooses one of them by the strides of its input, which may differ in
another batch or in the cut model."""

COPY = "aten::clone"
"""An additional operator that `reshape` runs first for some strides."""


class Site(NamedTuple):
    """A place where an operator runs.

    A loop runs one operator many times, and more often for longer data. The parameter tells the loops of a module
    apart, such as the two directions of a recurrent layer.

    Attributes:
        module: the name of the innermost running module; "" for the model itself.
        operator: the qualified name of the operator, such as "aten::relu".
        parameter: the name, within the module, of its parameter that was used last, in this operator or before; "" if
            none was.
        call: the number of earlier calls of the operator in that module after that parameter, in the same forward pass.
    """

    module: str
    operator: str
    parameter: str
    call: int

    def __str__(self) -> str:
        return f"{self.module or 'model'}: {self.operator} #{self.call}"


class Watcher(TorchDispatchMode):
    """A context around one forward pass that calls `visit` for every ATen operator."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self._modules = dict(model.named_modules())
        self._names = {id(module): name for name, module in self._modules.items()}
        self._hooks: list[Any] = []
        self._stack: list[str] = []
        self._latest: dict[str, str] = {}
        self._calls: Counter[tuple[str, str, str]] = Counter()

    def visit(self, site: Site, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run `func` and return its result."""
        raise NotImplementedError

    def __enter__(self) -> Any:
        self._stack, self._calls, self._latest = [""], Counter(), {}
        self._hooks = [
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
        ]
        return super().__enter__()

    def __exit__(self, *exc: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*exc)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        module, name = self._stack[-1], str(func.name())
        operator = ALIKE.get(name, name)
        if parameter := self._parameter_used(module, args):
            self._latest[module] = parameter
        key = module, operator, self._latest.get(module, "")
        call = self._calls[key]
        self._calls[key] = call + 1
        return self.visit(Site(*key, call), func, args, kwargs or {})

    def _parameter_used(self, module: str, args: Any) -> str | None:
        """The name of the first parameter of a module among the arguments of an operator, or None."""
        own = self._modules[module]._parameters.items()  # looked up now: weights may be loaded while the model runs
        owners: dict[int, dict[int, str]] = defaultdict(dict)
        for name, parameter in own:
            if parameter is not None:
                owners[_storage(parameter)][parameter.numel()] = name
        for tensor in tensors_in(args) if owners else ():
            if names := owners.get(_storage(tensor)):
                # Parameters that share their memory, such as weights in which all are zero, differ in size.
                return names.get(tensor.numel(), next(iter(names.values())))
        return None

    def _enter_module(self, module: nn.Module, args: Any) -> None:
        self._stack.append(self._names.get(id(module), self._stack[-1]))

    def _leave_module(self, module: nn.Module, args: Any, output: Any) -> None:
        self._stack.pop()


def _storage(tensor: Tensor) -> int:
    """The identity of the memory of a tensor, which views of the tensor share."""
    try:
        return tensor.untyped_storage()._cdata
    except NotImplementedError:  # tensor subclasses that wrap other tensors
        return id(tensor)
