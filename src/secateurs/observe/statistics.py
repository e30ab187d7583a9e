"""The base class of statistics of activations: summaries of batches that can be merged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import reduce
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from typing_extensions import Self

from secateurs.data import gather_ranks


class Statistic(ABC):
    """A summary of the activations at one place in the model.

    To add a statistic, write a subclass and name it in a `Request` of a criterion. `merge` combines the statistics of
    batches, of resumed runs and of processes. It must be associative and leave both operands unchanged. The constructor
    takes the entries of `state` by name; without arguments it creates the statistic of no data.

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
        """Compute the statistic of one batch of activations.

        Args:
            x: [samples, units, ...]; the remaining dimensions are positions.
            lengths: the length of each sample along the first position dimension, int64 [samples]. Entries of x beyond
                the length are zero and must not be counted. None if all samples fill the dimension.
        """

    @abstractmethod
    def merge(self, other: Self) -> Self:
        """Compute the statistic of the data of both operands together."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """The arguments of the constructor that create an equal statistic: tensors and numbers, by name."""

    @classmethod
    @abstractmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """Estimate the memory of the state.

        Args:
            samples: the number of samples that were added.
            units: the number of units.
            positions: the number of positions per sample.

        Returns:
            The number of bytes.
        """

    def extended(self, x: Tensor, lengths: Tensor | None = None) -> Self:
        """Compute the statistic of the data so far together with another batch; see `of` for the arguments.

        Raises:
            DataError: the feature maps of the batch differ in width from earlier batches, and the statistic does not
                allow this.
        """
        return self.merge(self.of(x, lengths))


S = TypeVar("S", bound=Statistic)


def merge_statistics(data: Any, statistic: S) -> S:
    """Merge the statistics of all ranks, on every rank.

    Args:
        data: the data of this rank. If it is not a shard, nothing is merged.
        statistic: the statistic of this rank.

    Returns:
        The statistic of the data of all ranks.
    """
    parts = (type(statistic)(**state) for state in gather_ranks(data, statistic.state()))
    return reduce(lambda first, second: first.merge(second), parts)


def rows(x: Tensor) -> Tensor:
    """Reshape activations [samples, units, ...] to [samples, units, positions]."""
    return x.reshape(*x.shape[:2], -1)


def present(x: Tensor, lengths: Tensor) -> Tensor:
    """Mask the positions that each sample has.

    Args:
        x: activations [samples, units, ...].
        lengths: see `Statistic.of`.

    Returns:
        bool [samples, 1, positions].
    """
    per_index = x[0, 0, 0].numel() if len(x) else 1
    counted = torch.arange(x.shape[2], device=x.device) < lengths[:, None]
    return counted.repeat_interleave(per_index, 1)[:, None]


def wide(x: Tensor) -> Tensor:
    """Convert activations to float32, unless they are of a wider type."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
