"""Statistics of activations: small states that are updated batch by batch and merged in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from secateurs.errors import DataError


class Statistic(ABC):
    """What is remembered of one tap's activations.

    `merge` is associative and commutative, so batches, resumed runs and ranks are all the same operation.
    """

    @abstractmethod
    def update(self, x: Tensor) -> None:
        """Take in activations [samples, units, positions]."""

    @abstractmethod
    def merge(self, other: Self) -> Self:
        """The statistic of both data together."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything remembered, as tensors and numbers."""


class FiringCounts(Statistic):
    """How many samples make each unit positive at each position.

    Attributes:
        samples: number of samples seen, N.
        counts: k, int64 [units, positions].
    """

    def __init__(self, samples: int = 0, counts: Tensor | None = None):
        self.samples = samples
        self.counts = counts

    def update(self, x: Tensor) -> None:
        """Count the positive entries of x [samples, units, positions].

        Raises:
            DataError: the number of positions differs from that of earlier batches.
        """
        merged = self.merge(FiringCounts(len(x), torch.count_nonzero(x > 0, dim=0)))
        self.samples, self.counts = merged.samples, merged.counts

    def merge(self, other: FiringCounts) -> FiringCounts:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Counts add up."""
        if self.counts is None or other.counts is None:
            return other if self.counts is None else self
        if self.counts.shape != other.counts.shape:
            raise DataError(
                f"all inputs must have one size: {self.counts.shape[1]} positions per unit became "
                f"{other.counts.shape[1]}; resize or pad the inputs"
            )
        return FiringCounts(self.samples + other.samples, self.counts + other.counts)

    def state(self) -> dict[str, Any]:
        """`samples` and `counts`."""
        return {"samples": self.samples, "counts": self.counts}
