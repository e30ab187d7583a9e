"""What models are fed: example inputs, batches, and random inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only

from secateurs.errors import DataError, ModelError
from secateurs.preserve import rng
from secateurs.together import leading


@dataclass(frozen=True)
class Call:
    """The arguments of one call of a model."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def run(self, model: nn.Module) -> Any:
        """Call `model` with these arguments."""
        return model(*self.args, **self.kwargs)

    def tensors(self) -> list[Tensor]:
        """Every tensor among the arguments."""
        return [leaf for leaf in tree_flatten((self.args, self.kwargs))[0] if isinstance(leaf, Tensor)]

    def named(self, model: nn.Module) -> dict[str, Tensor]:
        """The arguments that are tensors, by the names that `model` gives them."""
        try:
            bound = signature(model.forward).bind(*self.args, **self.kwargs)
        except TypeError:  # the model will say so itself
            return {}
        named = bound.arguments | bound.kwargs  # with those that the signature does not name
        return {name: its for name, its in named.items() if isinstance(its, Tensor)}

    def samples(self) -> int:
        """Number of samples: the first dimension of most tensors.

        Raises:
            DataError: as many tensors have one first dimension as have another.
        """
        counts = Counter(len(tensor) for tensor in self.tensors() if tensor.ndim).most_common(2)
        if len(counts) > 1 and counts[0][1] == counts[1][1]:
            raise DataError(
                f"the number of samples cannot be told from {self.describe()}: is it {counts[0][0]} or {counts[1][0]}? "
                "Give batches of (inputs, targets), or tensors whose first dimension is the samples'"
            )
        return counts[0][0] if counts else 1

    def copy(self) -> Call:
        """The same call on copies of the tensors, for models that write into their inputs."""
        return self.map(lambda t: t.clone())

    def map(self, change: Any) -> Call:
        """The same call with `change` applied to every tensor."""
        return Call(*tree_map_only(Tensor, change, (self.args, self.kwargs)))

    def to(self, device: torch.device) -> Call:
        """The same call with every tensor on `device`."""
        return self.map(lambda t: t.to(device))

    def describe(self) -> str:
        """Types and shapes of the arguments, for messages."""
        shapes = tree_map_only(Tensor, lambda t: f"{str(t.dtype)[6:]}{list(t.shape)}", (self.args, self.kwargs))
        return ", ".join([str(a) for a in shapes[0]] + [f"{k}={v}" for k, v in shapes[1].items()])


def as_call(inputs: Any) -> Call:
    """Example inputs as a call.

    Args:
        inputs: a tensor, a tuple or list of positional arguments, a dict of keyword arguments, or a call.

    Raises:
        DataError: `inputs` is of another type or holds no tensor.
    """
    if isinstance(inputs, Call):
        call = inputs
    elif isinstance(inputs, Tensor):
        call = Call((inputs,))
    elif isinstance(inputs, Mapping):
        call = Call((), dict(inputs))
    elif isinstance(inputs, (tuple, list)):
        call = Call(tuple(inputs))
    else:
        raise DataError(
            f"example inputs must be a tensor, a tuple or a dict of keyword arguments, not {type(inputs).__name__}"
        )
    if not call.tensors():
        raise DataError("the example inputs hold no tensor")
    return call


@dataclass(frozen=True)
class Batch:
    """One batch: how the model is called on it, and its targets where it has any."""

    call: Call
    targets: Any
    index: int

    @property
    def size(self) -> int:
        """Number of samples.

        Raises:
            DataError: the tensors do not tell; see `Call.samples`.
        """
        return len(self.targets) if isinstance(self.targets, Tensor) and self.targets.ndim else self.call.samples()

    @property
    def labels(self) -> Any:
        """The targets, or what a dict holds under `labels`."""
        return self.call.kwargs.get("labels") if self.targets is None else self.targets

    def sample(self, count: int = 1) -> Call:
        """The call on the first samples alone."""
        size = self.size
        return self.call.map(lambda t: t[:count] if t.ndim and len(t) == size else t)

    def singles(self) -> Iterator[Batch]:
        """Each sample as a batch of its own."""
        size = self.size

        def one(number: int) -> Callable[[Tensor], Tensor]:
            return lambda t: t[number : number + 1] if t.ndim and len(t) == size else t

        for number in range(size):
            yield Batch(self.call.map(one(number)), tree_map_only(Tensor, one(number), self.targets), self.index)

    def to(self, device: torch.device) -> Batch:
        """The batch with every tensor on `device`."""
        targets = tree_map_only(Tensor, lambda t: t.to(device), self.targets)
        return Batch(self.call.to(device), targets, self.index)

    def refused(self, error: Exception) -> DataError:
        """The error to raise when the model fails on this batch."""
        return DataError(f"the model refused batch {self.index} ({self.call.describe()}): {error}")


class Batches(Iterator[Batch]):
    """Batches, one after the other; `operator.length_hint` tells how many, where the data has a length."""

    def __init__(self, data: Iterable[Any]):
        self._data = data
        self._items = _batches(data)

    def __next__(self) -> Batch:
        return next(self._items)

    def __length_hint__(self) -> int:
        return len(self._data) if isinstance(self._data, Sized) else NotImplemented


def batches(data: Iterable[Any]) -> Batches:
    """Each item of `data` as a `Batch`.

    An item is a tensor, a dict of keyword arguments, (inputs, targets), or (inputs,); `inputs` is what
    `as_call` takes.

    Raises:
        DataError: `data` is not iterable, holds no batch, or holds an item of another form.
    """
    return Batches(data)


def _batches(data: Iterable[Any]) -> Iterator[Batch]:
    if isinstance(data, (Tensor, Mapping, str)) or not isinstance(data, Iterable):
        raise DataError(
            f"data must be an iterable of batches, not a {type(data).__name__}; put a single batch into a list"
        )
    index = -1
    for index, item in enumerate(_read(data)):
        inputs, targets = item, None
        if isinstance(item, (tuple, list)):
            if len(item) not in (1, 2):
                raise DataError(
                    f"batch {index} has {len(item)} elements; give (inputs, targets), with several inputs as a tuple: "
                    "((a, b), targets)"
                )
            inputs, targets = (*item, None)[:2]
        try:
            yield Batch(as_call(inputs), targets, index)
        except DataError as error:
            raise DataError(f"batch {index}: {error}") from None
    if index < 0:
        raise DataError("the data set is empty: it yielded no batch (was it an iterator that had been read already?)")


def _read(data: Iterable[Any]) -> Iterator[Any]:
    try:
        yield from data
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"the data cannot be read: {type(error).__name__}: {error}") from error


def first_batch(data: Iterable[Any]) -> Batch:
    """The first batch of data that can be read again; of a shard, of all its data, the same on every rank.

    Raises:
        DataError: `data` can be read only once, or is not data (see `batches`).
    """
    if isinstance(data, Iterator):
        raise DataError(
            "the data is an iterator, which can be read only once; give a list or a DataLoader, "
            "or give example_inputs as well"
        )
    with rng():  # a loader may draw random numbers to shuffle
        return next(batches(leading(data)))


def named_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Every parameter and buffer, under every name that it has."""
    return [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter or buffer lives (the CPU if it has none).

    Raises:
        ModelError: not a module that can be worked on.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"expected a torch.nn.Module, not {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError("a TorchScript module cannot be pruned; prune the module that it was made from")
    tensor = next(model.parameters(), None)
    tensor = next(model.buffers(), None) if tensor is None else tensor
    return torch.device("cpu") if tensor is None else tensor.device


def need_values(model: nn.Module, purpose: str) -> None:
    """See that a model has weights, and not only their sizes.

    Raises:
        ModelError: it is on the meta device, or it is no module.
    """
    if device_of(model).type == "meta":
        raise ModelError(
            f"{type(model).__name__} is on the meta device, where weights have sizes but no values: it can be traced, "
            f"checked and planned for, but {purpose} needs its weights"
        )
