"""What models are fed: example inputs, batches, and random inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from secateurs.data.call import Call, as_call
from secateurs.data.collectives import first_rank_data
from secateurs.errors import DataError
from secateurs.utils import rng


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


class BatchIterator(Iterator[Batch]):
    """Batches, one after the other; `operator.length_hint` tells how many, where the data has a length."""

    def __init__(self, data: Iterable[Any]):
        self._data = data
        self._items = _batches(data)

    def __next__(self) -> Batch:
        return next(self._items)

    def __length_hint__(self) -> int:
        return len(self._data) if isinstance(self._data, Sized) else NotImplemented


def batches(data: Iterable[Any]) -> BatchIterator:
    """Each item of `data` as a `Batch`.

    An item is a tensor, a dict of keyword arguments, (inputs, targets), or (inputs,); `inputs` is what
    `as_call` takes.

    Raises:
        DataError: `data` is not iterable, holds no batch, or holds an item of another form.
    """
    return BatchIterator(data)


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
        return next(batches(first_rank_data(data)))
