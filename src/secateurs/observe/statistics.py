"""What a statistic of activations is: a small value that is computed from one batch and merged with others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import reduce
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from typing_extensions import Self

from secateurs.data import gather_ranks


class Statistic(ABC):
    """A summary of the activations at one place: subclass it, and name the class in a `Request` of a criterion.

    Batches, resumed runs and processes are all the same operation, `merge`, which is associative and changes neither
    side. The constructor takes the entries of `state` by name; without arguments it makes the statistic of no data.

    Attributes:
        shareable: whether the statistic of a batch does not depend on earlier batches.

    Example:
        >>> from secateurs.criteria import Request, temporary_criteria
        >>> from secateurs.observe import Statistic
        >>> class Largest(Statistic):
        ...     "The largest value of each unit."
        ...
        ...     def __init__(self, values=None):
        ...         self.values = values
        ...
        ...     @classmethod
        ...     def of(cls, x, lengths=None):
        ...         return cls(x.movedim(1, 0).flatten(1).amax(1))
        ...
        ...     def merge(self, other):
        ...         if self.values is None or other.values is None:
        ...             return Largest(other.values if self.values is None else self.values)
        ...         return Largest(torch.maximum(self.values, other.values))
        ...
        ...     def state(self):
        ...         return {"values": self.values}
        ...
        ...     @classmethod
        ...     def size(cls, samples, units, positions):
        ...         return 4 * units
        >>> request = Request("after", Largest)
        >>> with temporary_criteria():  # undone at the end of the block
        ...     @sc.criterion("largest", source="this example", requests=(request,))
        ...     def largest(evidence):
        ...         "Largest activation of the unit."
        ...         return evidence.combine([statistic.values for statistic in evidence.statistics(request)])
        ...     scores = sc.score(model, data, "largest")
    """

    shareable: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def of(cls, x: Tensor, lengths: Tensor | None = None) -> Self:
        """The statistic of activations.

        Args:
            x: [samples, units, ...], the other dimensions being positions.
            lengths: how many indices of the first position dimension each sample has, int64 [samples]; the entries
                beyond are zero and do not count. By default all samples have all of them.
        """

    @abstractmethod
    def merge(self, other: Self) -> Self:
        """The statistic of the data of both."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """The arguments of the constructor that make this statistic again, as tensors and numbers."""

    @classmethod
    @abstractmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """The bytes that the state takes after this number of samples."""

    def extended(self, x: Tensor, lengths: Tensor | None = None) -> Self:
        """The statistic of the data so far and of more activations; the arguments are those of `of`.

        Raises:
            DataError: a map has another width than those of earlier batches, where that matters.
        """
        return self.merge(self.of(x, lengths))


S = TypeVar("S", bound=Statistic)


def merge_statistics(data: Any, statistic: S) -> S:
    """The statistic of the data of all ranks, on every rank; the statistic itself if the data is not a shard."""
    parts = (type(statistic)(**state) for state in gather_ranks(data, statistic.state()))
    return reduce(lambda one, other: one.merge(other), parts)


def rows(x: Tensor) -> Tensor:
    """Activations [samples, units, ...] as [samples, units, positions]."""
    return x.reshape(*x.shape[:2], -1)


def present(x: Tensor, lengths: Tensor) -> Tensor:
    """Which positions each sample has: bool [samples, 1, positions] for activations [samples, units, ...]."""
    per_index = x[0, 0, 0].numel() if len(x) else 1
    counted = torch.arange(x.shape[2], device=x.device) < lengths[:, None]
    return counted.repeat_interleave(per_index, 1)[:, None]


def wide(x: Tensor) -> Tensor:
    """Activations in float32 or better."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
