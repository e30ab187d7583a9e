"""Batches: the items of a data set in one form."""

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
    """One batch of data.

    Attributes:
        call: the arguments of the model.
        targets: the targets of (inputs, targets); None for other forms of data.
        index: number of the batch in the data, from 0.
    """

    call: Call
    targets: Any
    index: int

    @property
    def size(self) -> int:
        """Number of samples: the length of the targets, or else of the inputs.

        Raises:
            DataError: the inputs have several lengths; see `Call.samples`.
        """
        return len(self.targets) if isinstance(self.targets, Tensor) and self.targets.ndim else self.call.samples()

    @property
    def labels(self) -> Any:
        """The targets; for a dict of keyword arguments, the value of `labels`; None if there is neither."""
        return self.call.kwargs.get("labels") if self.targets is None else self.targets

    def sample(self, count: int = 1) -> Call:
        """The call on the first `count` samples."""
        size = self.size
        return self.call.map(lambda t: t[:count] if t.ndim and len(t) == size else t)

    def split_samples(self) -> Iterator[Batch]:
        """Yield each sample as a batch of one sample."""
        size = self.size

        def select(number: int) -> Callable[[Tensor], Tensor]:
            return lambda t: t[number : number + 1] if t.ndim and len(t) == size else t

        for number in range(size):
            targets = tree_map_only(Tensor, select(number), self.targets)
            yield Batch(self.call.map(select(number)), targets, self.index)

    def to(self, device: torch.device) -> Batch:
        """Copy the batch with every tensor on `device`."""
        targets = tree_map_only(Tensor, lambda t: t.to(device), self.targets)
        return Batch(self.call.to(device), targets, self.index)

    def model_error(self, error: Exception) -> DataError:
        """Make the DataError that is raised when the model fails on this batch with `error`."""
        return DataError(f"the model failed on batch {self.index} ({self.call.describe()}): {error}")


class BatchIterator(Iterator[Batch]):
    """Iterator over batches. `operator.length_hint` gives the number of batches if the data has a length."""

    def __init__(self, data: Iterable[Any]):
        self._data = data
        self._items = _batches(data)

    def __next__(self) -> Batch:
        return next(self._items)

    def __length_hint__(self) -> int:
        return len(self._data) if isinstance(self._data, Sized) else NotImplemented


def batches(data: Iterable[Any]) -> BatchIterator:
    """Convert each item of `data` to a `Batch`.

    Args:
        data: an iterable of batches, such as a DataLoader or a list. Each batch is a tensor, a dict of keyword
            arguments of the model, (inputs, targets), or (inputs,). `inputs` has any form that `as_call` accepts.

    Returns:
        An iterator over the batches.

    Raises:
        DataError: `data` is not iterable, is empty, cannot be read, or contains an item of another form.
    """
    return BatchIterator(data)


def _batches(data: Iterable[Any]) -> Iterator[Batch]:
    """Convert the items of the data one by one."""
    if isinstance(data, (Tensor, Mapping, str)) or not isinstance(data, Iterable):
        raise DataError(
            f"data must be an iterable of batches, not a {type(data).__name__}: put a single batch into a list"
        )
    index = -1
    for index, item in enumerate(_read(data)):
        inputs, targets = item, None
        if isinstance(item, (tuple, list)):
            if len(item) not in (1, 2):
                raise DataError(
                    f"batch {index} has {len(item)} elements: a batch must be (inputs, targets), or ((a, b), targets) "
                    "for several inputs"
                )
            inputs, targets = (*item, None)[:2]
        try:
            yield Batch(as_call(inputs), targets, index)
        except DataError as error:
            raise DataError(f"batch {index}: {error}") from None
    if index < 0:
        raise DataError("the data set is empty: it yielded no batch. If it is an iterator, it was read already")


def _read(data: Iterable[Any]) -> Iterator[Any]:
    """Iterate over the data. Exceptions of the data set are raised as DataError."""
    try:
        yield from data
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"the data cannot be read: {type(error).__name__}: {error}") from error


def first_batch(data: Iterable[Any]) -> Batch:
    """Read the first batch of data that can be read repeatedly. All ranks of a shard get the first batch of rank 0.

    Raises:
        DataError: `data` is an iterator, or has an invalid form (see `batches`).
    """
    if isinstance(data, Iterator):
        raise DataError(
            "the data is an iterator, which can be read only once: give a list or a DataLoader, or give example_inputs "
            "as well"
        )
    with rng():  # a loader that shuffles draws random numbers
        return next(batches(first_rank_data(data)))
