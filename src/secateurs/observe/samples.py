"""Activations of single samples, as few of them as will do."""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from secateurs.errors import DataError
from secateurs.observe.statistics import Statistic, rows, wide


class FirstSamples(Statistic):
    """Numbers per unit of each of the first samples.

    Attributes:
        values: [samples, units, ...]; None where there are none.
    """

    LARGEST: ClassVar[int]
    """No more samples are kept than this, so that memory is bounded."""

    def __init__(self, values: Tensor | None = None):
        self.values = values

    @classmethod
    @abstractmethod
    def values_of(cls, x: Tensor) -> Tensor | None:
        """The numbers for activations [samples, units, ...], or None if they have none."""

    @classmethod
    def of(cls, x: Tensor) -> Self:
        """The first samples."""
        return cls(cls.values_of(x[: cls.LARGEST]))

    def merge(self, other: Self) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The samples of both, this one's first."""
        if self.values is None or other.values is None:
            return copy(other if self.values is None else self)
        return type(self)(torch.cat([self.values, other.values])[: self.LARGEST])

    def state(self) -> dict[str, Any]:
        """`values`."""
        return {"values": self.values}


class Pooled(FirstSamples):
    """The mean over positions, z: float32 or better [samples, units]."""

    LARGEST = 4096

    @classmethod
    def values_of(cls, x: Tensor) -> Tensor:
        """Means over positions."""
        return wide(rows(x)).mean(2)

    @classmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """One number per sample and unit."""
        return 4 * min(samples, cls.LARGEST) * units


class Sampled(FirstSamples):
    """Values at a few positions, evenly spaced: float32 or better [samples, units, positions]."""

    LARGEST = 256
    POSITIONS = 64
    """No more positions are kept than these."""

    @classmethod
    def values_of(cls, x: Tensor) -> Tensor:
        """Values at these positions."""
        x = rows(x)
        chosen = torch.linspace(0, x.shape[2] - 1, min(x.shape[2], cls.POSITIONS), device=x.device).round().long()
        return wide(x[:, :, chosen])

    def merge(self, other: Self) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The samples of both, this one's first.

        Raises:
            DataError: the numbers of positions differ.
        """
        if self.values is not None and other.values is not None and self.values.shape[2] != other.values.shape[2]:
            raise DataError(
                f"all inputs must have one size: {self.values.shape[2]} positions per unit became "
                f"{other.values.shape[2]}; resize or pad the inputs"
            )
        return super().merge(other)

    @classmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """One number per sample, unit and position."""
        return 4 * min(samples, cls.LARGEST) * units * min(positions, cls.POSITIONS)
