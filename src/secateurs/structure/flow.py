"""The tracer: axes flow through the operators of one forward pass.

`Flow` is what a rule gets as its first argument.  A rule looks up the axes of its tensors, says which must be
equal, which may not be cut, which are contracted, and returns the axes of its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from secateurs.structure import axis as ax
from secateurs.structure.axis import Axis, Var
from secateurs.structure.dispatch import Site, Watcher
from secateurs.structure.records import OUTPUT, Activation, Arrival, Consumption, Seen, SizeUse, Source
from secateurs.structure.unify import unify
from secateurs.structure.values import Values
from secateurs.structure.window import Window
from secateurs.utils import device_of, named_tensors

INPUT = "model input"
CONSTANT = "a tensor that is neither a parameter nor a buffer nor made from one"


class Flow(Watcher):
    """Lets axes flow through one forward pass and records what the structure is made of.

    Attributes:
        home: the axes that the dimensions of each parameter and buffer started with.
        first_name: for each parameter and buffer, the first name of that tensor, which differs where it is shared.
        used: parameters and buffers in the order in which operators first saw them.
        results: the axes of what each operator returned.
        orders: for operators that return rows sorted by expert, where those were sorted.
        contracted: those (name, dimension) that some operator summed over.
        macs: for each contraction, the axes whose sizes multiply to its multiply-accumulate operations.
        counted_macs: all such operations, as torch counts them.
        sizes, consumptions, activations, arrivals: see the classes; arrivals by where the layer's product runs.
        splits: (module, parts): what a module split something into.
        produced: the results of convolutions and matrix products, before anything else happens to them.
        heads: axes over which an attention runs in parallel.
        head_dims: axes of the vectors of an attention's heads.
        repeated: axes made by repeating something.
        tables: weights in which rows are looked up.
        experts: axes whose indices are sub-networks, each run on the rows that a router sends to it.
        least: (axis, number): that many indices must be left, because as many are chosen.
        inputs: the axes of the tensors that the model is called on, by name.
        batch: the axis of the samples.
        operator: the name of the operator whose rule is being applied.
        values: those that are known of a model on the meta device.
    """

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.home: dict[str, tuple[Axis, ...]] = {}
        self.first_name: dict[str, str] = {}
        self.results: dict[Site, list[tuple[Axis, ...]]] = {}
        self.orders: dict[Site, Site] = {}
        self.used: dict[str, None] = {}
        self.contracted: set[tuple[str, int]] = set()
        self.macs: list[tuple[Axis, ...]] = []
        self.counted_macs = 0
        self.sizes: list[SizeUse] = []
        self.splits: list[tuple[str, tuple[Axis, ...]]] = []
        self.consumptions: list[Consumption] = []
        self.activations: list[Activation] = []
        self.arrivals: dict[Site, Arrival] = {}
        self.produced: list[Source] = []
        self.heads: list[Axis] = []
        self.head_dims: list[Axis] = []
        self.repeated: list[Axis] = []
        self.tables: set[str] = set()
        self.experts: list[Axis] = []
        self.least: list[tuple[Axis, int]] = []
        self.multiples: list[tuple[Axis, int]] = []
        self.operator = ""
        self.inputs: dict[str, tuple[Axis, ...]] = {}
        self.batch: Axis = ax.ONE
        self.values = Values()
        self._modules = dict(model.named_modules())
        self._abstract = device_of(model).type == "meta"
        self._seen: Any = WeakTensorKeyDictionary()
        self._pointed: Any = WeakTensorKeyDictionary()
        self._origin: dict[Axis, tuple[str, int]] = {}
        self._attended: Source | None = None
        self._site, self._args = Site("", "", 0), ()
        for name, tensor in named_tensors(model):
            self._register(name, tensor)

    def enter(self, inputs: Sequence[Tensor], samples: int) -> None:
        """Make known the tensors that the model is called on; their axes are frozen.

        The first dimensions that are as long as there are samples are taken to hold them.
        """
        for tensor in inputs:
            new = Seen(tuple(ax.new(size, INPUT) for size in tensor.shape), constant=False)
            self.freeze(self._seen.setdefault(tensor, new).axes, INPUT)
        self.batch = ax.new(samples, INPUT)
        for tensor in inputs:
            if tensor.ndim and len(tensor) == samples:
                unify(self.axes(tensor)[0], self.batch)

    # What rules use.

    def axes(self, tensor: Tensor) -> tuple[Axis, ...]:
        """The axes of a tensor, one per dimension."""
        return self._look(tensor).axes

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether the tensor depends on parameters and buffers only, not on the model's inputs."""
        return self._look(tensor).constant

    def freeze(self, axes: Axis | Sequence[Axis], reason: str) -> None:
        """Forbid removal along one or more axes."""
        for axis in axes if isinstance(axes, Sequence) else (axes,):
            ax.freeze(axis, reason)

    def contract(
        self, x: Tensor, dim: int, other: Tensor, axis: Axis, home: Axis | None = None, window: Window | None = None
    ) -> None:
        """Note that `x` is summed over `dim` against `axis` of `other` (a part of its axis `home`), both unified."""
        seen, home = self._look(x), axis if home is None else home
        weight = self._origin.get(home) if self._look(other).constant and isinstance(home, Var) else None
        if weight is not None:
            self.contracted.add(weight)
        if not seen.constant:
            source = Source(self._site, next(i for i, arg in enumerate(self._args) if arg is x), seen.axes)
            self.consumptions.append(Consumption(axis, source, dim, seen.passed, weight, window))

    def point(self, tensor: Tensor, axis: Axis, least: int) -> None:
        """Note that the values of `tensor` are indices of `axis`, `least` different ones at once."""
        self._pointed[tensor] = axis
        self.least.append((axis, least))

    def pointed(self, tensor: Tensor) -> Axis | None:
        """The axis that the values of `tensor` are indices of, if that is known."""
        return self._pointed.get(tensor) if self._pointed else None

    def look_up(self, table: Tensor) -> None:
        """Note that rows of `table` are looked up."""
        if (name := self._look(table).name) is not None:
            self.tables.add(name)

    def produce(self, *axes: Axis) -> None:
        """Note that the running operator makes a tensor with these axes out of weights."""
        self.produced.append(Source(self._site, OUTPUT, axes))

    def attend(self, values: Tensor) -> None:
        """Note that the running operator is an attention to these values."""
        self._attended = self._look(values).passed.made

    def sized(self, axis: Axis, name: str | None = None, weight: Tensor | None = None) -> None:
        """Note that the running module, or the one that owns `weight`, may hold the size of `axis` in an attribute."""
        origins = [self._origin[its] for its in self.axes(weight) if its in self._origin] if weight is not None else []
        modules = {self._site.module, *(name.rpartition(".")[0] for name, _ in origins)}
        self.sizes.extend(SizeUse(module, name, axis) for module in sorted(modules))

    def holds(self, size: int) -> bool:
        """Whether the running module has an integer attribute of that value."""
        module = self._modules.get(self._site.module)
        return any(type(value) is int and value == size for value in vars(module).values())

    def split_into(self, parts: Sequence[Axis]) -> None:
        """Note that the running module named the sizes of all these parts at once; an attribute may hold them."""
        self.splits.append((self._site.module, tuple(parts)))

    def _register(self, name: str, tensor: Tensor) -> None:
        if tensor not in self._seen:
            reason = None if tensor.is_floating_point() or tensor.is_complex() else "integer or boolean buffer"
            axes = tuple(ax.new(size, reason) for size in tensor.shape)
            self._seen[tensor] = Seen(axes, constant=True, name=name)
            self._origin.update({axis: (name, dim) for dim, axis in enumerate(axes) if isinstance(axis, Var)})
        self.home[name] = self._seen[tensor].axes
        self.first_name[name] = self._seen[tensor].name

    def _look(self, tensor: Tensor) -> Seen:
        seen = self._seen.get(tensor)
        if seen is None:
            seen = self._seen[tensor] = Seen(tuple(ax.new(size, CONSTANT) for size in tensor.shape), constant=True)
        if seen.name is not None:
            self.used.setdefault(seen.name)
        return seen
