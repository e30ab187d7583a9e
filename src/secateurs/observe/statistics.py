"""Statistics of activations: small states that are updated batch by batch and merged in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self


class Statistic(ABC):
    """What is remembered of one tap's activations.

    `merge` is associative, so batches, resumed runs and ranks are all the same operation.
    """

    shareable: ClassVar[bool] = True
    """Whether what is remembered of a batch does not depend on the batches before."""

    @abstractmethod
    def update(self, x: Tensor) -> None:
        """Take in activations [samples, units, ...], the other dimensions being positions."""

    @abstractmethod
    def merge(self, other: Self) -> Self:
        """The statistic of both data together."""

    @classmethod
    def of(cls, x: Tensor) -> Self:
        """The statistic of one batch."""
        statistic = cls()
        statistic.update(x)
        return statistic

    def add(self, other: Self) -> None:
        """Take in another statistic."""
        vars(self).update(vars(self.merge(other)))

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything remembered, as tensors and numbers."""

    @staticmethod
    @abstractmethod
    def size(samples: int, units: int, positions: int) -> int:
        """The bytes that the state takes after so many samples."""


def rows(x: Tensor) -> Tensor:
    """Activations [samples, units, ...] as [samples, units, positions]."""
    return x.reshape(*x.shape[:2], -1)


def wide(x: Tensor) -> Tensor:
    """Activations in float32 or better."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
