"""Record which layer makes each tensor and which layers use it, in one forward pass."""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from secateurs.errors import ModelError
from secateurs.structure import Site, Watcher, tensors_in

OUTSIDE = ""
"""Stands for a layer's name where code outside of all layers is meant."""


class OutputTensor(NamedTuple):
    """One tensor of a layer's output: `position` counts the leaves of the output."""

    layer: str
    position: int


class PeakMemory:
    """The memory of operator results that are alive at a time.

    Attributes:
        peaks: the largest number of bytes, by the layer that runs.
    """

    def __init__(self) -> None:
        self.peaks: dict[str, int] = defaultdict(int)
        self._alive = 0

    def add(self, tensor: Tensor, layer: str) -> None:
        """Count a tensor's storage until it is freed."""
        size = tensor.untyped_storage().nbytes()
        self._alive += size
        self.peaks[layer] = max(self.peaks[layer], self._alive)
        weakref.finalize(tensor.untyped_storage(), self._subtract, size)

    def _subtract(self, size: int) -> None:
        self._alive -= size


class ExecutionTrace(Watcher):
    """The makers and users of tensors in one forward pass.

    Attributes:
        modules: the layers, by name.
        long_lived: output tensors that other code than the next layer uses.
        output_bytes: the size of each tensor that a layer returns, in bytes.
        memory: the peak memory of each layer.
    """

    def __init__(self, model: nn.Module, names: Iterable[str]):
        super().__init__(model)
        self.modules = {name: model.get_submodule(name) for name in names}
        self.long_lived: set[OutputTensor] = set()
        self.output_bytes: dict[OutputTensor, int] = {}
        self.memory = PeakMemory()
        self._parameters = {id(parameter): name for name, parameter in model.named_parameters()}
        self._runs: Counter[str] = Counter()
        self._current = OUTSIDE
        self._inputs: set[int] = set()
        self._maker: Any = WeakTensorKeyDictionary()  # tensor → the layer whose operator returned it
        self._storage_owner: Any = WeakTensorKeyDictionary()  # tensor → the layer that allocated its storage
        self._output: Any = WeakTensorKeyDictionary()  # tensor → its place in a layer's output
        self._users: dict[str, set[str]] = defaultdict(set)  # parameter → layers

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that ran, in order.

        Raises:
            ModelError: a layer ran more than once.
        """
        if repeated := [(name, count) for name, count in self._runs.items() if count > 1]:
            name, count = repeated[0]
            raise ModelError(f"layer {name!r} runs {count} times, so that its weights cannot be unloaded after it")
        return tuple(self._runs)

    def users_of(self, parameter: str) -> set[str]:
        """The layers that use a parameter; `OUTSIDE` for other code."""
        return self._users[parameter] if parameter in self._parameters.values() else {OUTSIDE}

    def before_layer(self, name: str, inputs: list[Tensor]) -> None:
        """Note that a layer starts."""
        if self._current != OUTSIDE:
            raise ModelError(f"layer {name!r} runs inside layer {self._current!r}")
        previous = next(reversed(self._runs), None)
        for tensor in inputs:
            output = self._output.get(tensor)
            if output is not None and output.layer != previous:
                self.long_lived.add(output)
        self._runs[name] += 1
        self._current, self._inputs = name, {id(tensor) for tensor in inputs}

    def after_layer(self, name: str, output: Any) -> None:
        """Note what a layer returns."""
        for index, leaf in enumerate(tree_leaves(output)):
            if isinstance(leaf, Tensor):
                if (earlier := self._output.get(leaf)) is not None:  # later uses may mean either of the two
                    self.long_lived |= {earlier, OutputTensor(name, index)}
                self._output[leaf] = OutputTensor(name, index)
                self.output_bytes[OutputTensor(name, index)] = leaf.nbytes
            elif leaf is not None and not isinstance(leaf, (bool, int, float, str)):
                raise ModelError(
                    f"layer {name!r} returns a {type(leaf).__name__}, which cannot be searched for tensors, so that "
                    "the layer cannot be run alone; if it is a key-value cache, add use_cache=False to the inputs"
                )
        self._current, self._inputs = OUTSIDE, set()

    def visit(self, site: Site, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operator; record what it uses, makes and modifies."""
        inputs = tensors_in(args, kwargs)
        for tensor in inputs:
            self.use(tensor)
        if func._schema.is_mutable:
            self._check_writes(func, args, kwargs)
        out = func(*args, **kwargs)
        owners = {tensor.untyped_storage()._cdata: self._storage_owner.get(tensor) for tensor in inputs}
        for tensor in tensors_in(out):
            if tensor not in self._maker:
                storage = tensor.untyped_storage()._cdata
                self._maker[tensor] = self._current
                self._storage_owner[tensor] = owners.get(storage, self._current)
                if storage not in owners:
                    owners[storage] = self._current
                    self.memory.add(tensor, self._current)
        return out

    def use(self, tensor: Tensor) -> None:
        """Note that the code that runs now uses a tensor.

        Raises:
            ModelError: another layer made the tensor and did not return it, or the running layer did not receive it as
                an argument.
        """
        if id(tensor) in self._parameters:
            self._users[self._parameters[id(tensor)]].add(self._current)
            return
        maker = self._maker.get(tensor, OUTSIDE)
        if maker in (OUTSIDE, self._current):
            return
        output = self._output.get(tensor)
        if output is None or (self._current != OUTSIDE and id(tensor) not in self._inputs):
            reason = "does not return" if output is None else f"does not pass to {self._current!r} as an argument"
            raise ModelError(
                f"{self._current or 'the model'} uses a tensor that layer {maker!r} makes and that "
                f"{'the layer' if output is None else 'the model'} {reason}, so that the layers cannot be run one by "
                "one; prune the whole model"
            )
        if self._current == OUTSIDE:
            self.long_lived.add(output)

    def _check_writes(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Check that nobody modifies a tensor that other code made: each run would modify it again."""
        for index, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            written = args[index] if index < len(args) else kwargs.get(argument.name)
            for tensor in tensors_in(written):
                owner = self._storage_owner.get(tensor)
                if owner != self._current and (owner is not None or self._current != OUTSIDE):
                    raise ModelError(
                        f"{self._current or 'the model'} modifies in place a tensor that other code made "
                        f"({func.name()}), so that the layers cannot be run one by one; prune the whole model"
                    )
