"""Find the residual layers of a model from one forward pass, independent of their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from secateurs.data import as_call
from secateurs.errors import ModelError, TraceError
from secateurs.pruning.depth.hooks import forward_hooks, tensor_leaves
from secateurs.structure import Site, Watcher, tensors_in
from secateurs.structure.rules import operator_name
from secateurs.surgery import container
from secateurs.utils import device_of, evaluating

COPIES = {"aten::clone", "aten::_to_copy", "aten::detach", "aten::alias", "aten::view"}
"""Operators whose output, if it keeps its shape, still is the residual stream that entered the layer."""


@dataclass(frozen=True)
class Layers:
    """The residual layers of a model: modules in a list or sequence that add something to their input.

    Attributes:
        names: the layers that can be dropped, in the order in which they run.
        frozen: modules of the same classes, also in lists, that cannot be dropped, with the reason.
        list_sizes: for each list or sequence that contains layers, the number of its modules.
    """

    names: tuple[str, ...]
    frozen: Mapping[str, str]
    list_sizes: Mapping[str, int]


def find_layers(model: nn.Module, example_inputs: Any) -> Layers:
    """Find the residual layers of a model with one forward pass in evaluation mode, without gradients.

    A layer is a module in an `nn.ModuleList` or `nn.Sequential` that runs once, whose first output tensor has the shape
    and dtype of its first input tensor, and that adds something to this very input. The model has at least two layers
    of the same class. Of nested layers only the outermost counts.

    Args:
        model: any module, also on the meta device; it is not changed.
        example_inputs: a tensor, a tuple of arguments, or a dict of keyword arguments.

    Raises:
        ModelError: the model has no such layer, or is not a module.
        TraceError: the model does not run on the inputs.
    """
    call = as_call(example_inputs).to(device_of(model)).copy()
    watcher = _LayerWatcher(model)
    with evaluating(model):
        try:
            with forward_hooks(watcher.candidates, watcher.before_module, watcher.after_module), watcher:
                call.run(model)
        except Exception as error:
            raise TraceError(f"the model does not run on the example inputs ({call.describe()}): {error}") from error
    reasons = _outermost(watcher)
    names = tuple(name for name, reason in reasons.items() if not reason)
    if not names:
        raise ModelError(
            f"{type(model).__name__} has no layers that can be dropped: no two modules of one class, in an "
            "nn.ModuleList or nn.Sequential, add something to their input and keep its shape"
        )
    list_sizes = {path: len(model.get_submodule(path)._modules) for path in map(container, names)}
    return Layers(names, {name: reason for name, reason in reasons.items() if reason}, list_sizes)


def _outermost(watcher: _LayerWatcher) -> dict[str, str]:
    """The outermost candidates of repeated classes, in order, each with the reason that it cannot be dropped, or ""."""
    droppable = Counter(
        type(watcher.candidates[name]) for name in watcher.order if not watcher.reason_against_dropping(name)
    )
    reasons: dict[str, str] = {}
    for name in watcher.order:  # a module that encloses others is entered before them
        nested = any(name.startswith(f"{outer}.") for outer in reasons)
        if droppable[type(watcher.candidates[name])] > 1 and not nested:
            reasons[name] = watcher.reason_against_dropping(name)
    return reasons


class _LayerWatcher(Watcher):
    """Records what each module of a list or sequence does with its input.

    Attributes:
        candidates: the modules with parameters in lists and sequences, by name. A sequence inside another one is a
            stage: its modules are candidates, the sequence itself is not.
        order: the names of the candidates that ran, in the order in which they were first entered.
    """

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.candidates = {
            f"{path}.{child}".lstrip("."): module
            for path, parent in model.named_modules()
            if isinstance(parent, (nn.ModuleList, nn.Sequential))
            for child, module in parent.named_children()
            if not isinstance(module, nn.Sequential) and next(module.parameters(), None) is not None
        }
        self.order: dict[str, None] = {}
        self._runs: Counter[str] = Counter()
        self._inputs: dict[str, list[Tensor]] = {}
        self._streams: dict[str, list[Tensor]] = {}  # of each running module, its input and copies of it
        self._side_outputs: dict[int, tuple[str, Tensor]] = {}  # by identity; the tensor is kept alive here
        self._used_beside_stream: set[str] = set()
        self._adding: set[str] = set()
        self._shape_reasons: dict[str, str] = {}

    def reason_against_dropping(self, name: str) -> str:
        """The reason that a module cannot be dropped; empty if it can."""
        if self._runs[name] > 1:
            return f"runs {self._runs[name]} times"
        if name in self._used_beside_stream:
            return "returns another tensor that is used after it"
        return self._shape_reasons[name]

    def before_module(self, name: str, inputs: list[Tensor]) -> None:
        """Record a module's inputs."""
        self.order.setdefault(name)
        self._runs[name] += 1
        self._inputs[name] = inputs
        self._streams[name] = inputs[:1]

    def after_module(self, name: str, output: Any) -> None:
        """Compare a module's output with its input."""
        inputs, outputs = self._inputs.pop(name), tensor_leaves(output)
        self._streams.pop(name)
        self._shape_reasons[name] = ""
        if not inputs or not outputs:
            self._shape_reasons[name] = "has no input tensor or no output tensor"
        elif (outputs[0].shape, outputs[0].dtype) != (inputs[0].shape, inputs[0].dtype):
            self._shape_reasons[name] = f"turns shape {list(inputs[0].shape)} into {list(outputs[0].shape)}"
        elif name not in self._adding:
            self._shape_reasons[name] = "adds nothing to its input"
        for tensor in outputs[1:]:
            if all(tensor is not given for given in inputs):
                self._side_outputs[id(tensor)] = name, tensor

    def visit(self, site: Site, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operator; record additions to a residual stream and uses of a module's other outputs."""
        out, operator = func(*args, **kwargs), operator_name(func)
        for tensor in tensors_in(args, kwargs):
            if id(tensor) in self._side_outputs:
                self._used_beside_stream.add(self._side_outputs[id(tensor)][0])
        if operator != "aten::add" and operator not in COPIES:
            return out
        for name, streams in self._streams.items():
            if any(arg is stream for arg in args for stream in streams):
                if operator == "aten::add":
                    self._adding.add(name)
                elif out.shape == streams[0].shape:
                    streams.append(out)
        return out
