"""Statistics of activations: small states that are updated batch by batch and merged in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import reduce
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from typing_extensions import Self

from secateurs.data import gather_ranks


class Statistic(ABC):
    """What is remembered of one tap's activations.

    `merge` is associative, so batches, resumed runs and ranks are all the same operation. The constructor takes what
    `state` gives, by name; without arguments, it makes the statistic of no data.
    """

    shareable: ClassVar[bool] = True
    """Whether what is remembered of a batch does not depend on the batches before."""

    @classmethod
    @abstractmethod
    def of(cls, x: Tensor, lengths: Tensor | None = None) -> Self:
        """The statistic of activations.

        Args:
            x: [samples, units, ...], the other dimensions being positions.
            lengths: of each sample, how many indices of the first of these it has, int64 [samples]; what follows is
                zero and does not count. By default, all.
        """

    @abstractmethod
    def merge(self, other: Self) -> Self:
        """The statistic of both data together."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything remembered, as tensors and numbers."""

    @classmethod
    @abstractmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """The bytes that the state takes after so many samples."""

    def add(self, other: Self) -> None:
        """Take in another statistic."""
        vars(self).update(vars(self.merge(other)))

    def update(self, x: Tensor, lengths: Tensor | None = None) -> None:
        """Take in activations, as `of` does.

        Raises:
            DataError: a map has another width than those of earlier batches, where that matters.
        """
        self.add(self.of(x, lengths))


S = TypeVar("S", bound=Statistic)


def merge_statistics(data: Any, statistic: S) -> S:
    """The statistic of all that the data is spread over, on every rank; of data that is not spread, as it is."""
    parts = (type(statistic)(**state) for state in gather_ranks(data, statistic.state()))
    return reduce(lambda one, other: one.merge(other), parts)


def rows(x: Tensor) -> Tensor:
    """Activations [samples, units, ...] as [samples, units, positions]."""
    return x.reshape(*x.shape[:2], -1)


def present(x: Tensor, lengths: Tensor) -> Tensor:
    """Which positions each sample has: bool [samples, 1, positions] for activations [samples, units, ...]."""
    each = x[0, 0, 0].numel() if len(x) else 1
    has = torch.arange(x.shape[2], device=x.device) < lengths[:, None]
    return has.repeat_interleave(each, 1)[:, None]


def wide(x: Tensor) -> Tensor:
    """Activations in float32 or better."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
