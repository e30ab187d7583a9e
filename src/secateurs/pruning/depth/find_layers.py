"""Layers: the residual blocks of a model, found by watching one forward pass, whatever they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from secateurs.data import as_call
from secateurs.errors import ModelError, TraceError
from secateurs.pruning.depth.hooks import following, tensors
from secateurs.structure import Site, Watcher, tensors_in
from secateurs.structure.rules import operator_name
from secateurs.surgery import container
from secateurs.utils import device_of, evaluating

COPIES = {"aten::clone", "aten::_to_copy", "aten::detach", "aten::alias", "aten::view"}
"""Operators after which a tensor of the same shape is still the stream that went in."""


@dataclass(frozen=True)
class Layers:
    """The layers of a model: modules in a list or a sequence that add something to the stream that they are given.

    Attributes:
        names: of those that can be dropped, in the order in which they run.
        frozen: modules of the same classes in such places that cannot be dropped, and why.
        room: by the name of each list or sequence that layers are in, how many modules it holds.
    """

    names: tuple[str, ...]
    frozen: Mapping[str, str]
    room: Mapping[str, int]


def find_layers(model: nn.Module, example_inputs: Any) -> Layers:
    """Find the layers of a model by running it once, in evaluation mode and without gradients.

    A layer is a module in an `nn.ModuleList` or `nn.Sequential`, called once, whose first output has the shape and type
    of its first input, and which adds something to that very input. There are at least two of its class; of nested
    ones the outermost is taken.

    Args:
        model: any module; it is not changed. It may be on the meta device.
        example_inputs: a tensor, a tuple, or a dict of keyword arguments.

    Raises:
        ModelError: there is no layer, or not a module.
        TraceError: the model does not run on the inputs.
    """
    call = as_call(example_inputs).to(device_of(model)).copy()
    seen = _Seen(model)
    with evaluating(model):
        try:
            with following(seen.places, seen.enter, seen.leave), seen:
                call.run(model)
        except Exception as error:
            raise TraceError(f"the model does not run on the example inputs ({call.describe()}): {error}") from error
    able = Counter(type(seen.places[name]) for name in seen.order if not seen.why_not(name))
    found: dict[str, str] = {}
    for name in seen.order:  # a module that encloses others is entered first
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if able[type(seen.places[name])] > 1 and not inside:
            found[name] = seen.why_not(name)
    names = tuple(name for name, why in found.items() if not why)
    if not names:
        raise ModelError(
            f"{type(model).__name__} has no layers that could be dropped: no two modules of one class, in an "
            "nn.ModuleList or nn.Sequential, that add something to what they are given and keep its shape"
        )
    room = {path: len(model.get_submodule(path)._modules) for path in map(container, names)}
    return Layers(names, {name: why for name, why in found.items() if why}, room)


class _Seen(Watcher):
    """What the modules in lists and sequences do with what they are given.

    Attributes:
        places: those that hold parameters, by name; a sequence is a stage, whose modules may be layers.
        order: the names of those that ran, in the order in which they were entered first.
    """

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.places = {
            f"{container}.{child}".lstrip("."): module
            for container, parent in model.named_modules()
            if isinstance(parent, (nn.ModuleList, nn.Sequential))
            for child, module in parent.named_children()
            if not isinstance(module, nn.Sequential) and next(module.parameters(), None) is not None
        }
        self.order: dict[str, None] = {}
        self._times: Counter[str] = Counter()
        self._given: dict[str, list[Tensor]] = {}
        self._streams: dict[str, list[Tensor]] = {}
        self._others: dict[int, tuple[str, Tensor]] = {}  # by identity, which the tensor here keeps
        self._missed: set[str] = set()
        self._adding: set[str] = set()
        self._reasons: dict[str, str] = {}

    def why_not(self, name: str) -> str:
        """Why this one cannot be dropped; empty if it can."""
        if self._times[name] > 1:
            return f"runs {self._times[name]} times"
        if name in self._missed:
            return "makes another tensor, which is used after it"
        return self._reasons[name]

    def enter(self, name: str, given: list[Tensor]) -> None:
        """Note what a module is given."""
        self.order.setdefault(name)
        self._times[name] += 1
        self._given[name] = given
        self._streams[name] = given[:1]

    def leave(self, name: str, output: Any) -> None:
        """Note what is to be said against dropping a module, now that it has run."""
        given, made = self._given.pop(name), tensors(output)
        self._streams.pop(name)
        self._reasons[name] = ""
        if not given or not made:
            self._reasons[name] = "takes or gives no tensor"
        elif (made[0].shape, made[0].dtype) != (given[0].shape, given[0].dtype):
            self._reasons[name] = f"makes {list(made[0].shape)} of {list(given[0].shape)}"
        elif name not in self._adding:
            self._reasons[name] = "adds nothing to what it is given"
        for tensor in made[1:]:
            if all(tensor is not its for its in given):
                self._others[id(tensor)] = name, tensor

    def visit(self, site: Site, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operator, and see whether it adds something to a stream, or uses what else a module has made."""
        out, operator = func(*args, **kwargs), operator_name(func)
        self._missed.update(self._others[id(its)][0] for its in tensors_in(args, kwargs) if id(its) in self._others)
        if operator != "aten::add" and operator not in COPIES:
            return out
        for name, streams in self._streams.items():
            if any(arg is stream for arg in args for stream in streams):
                if operator == "aten::add":
                    self._adding.add(name)
                elif out.shape == streams[0].shape:
                    streams.append(out)
        return out
