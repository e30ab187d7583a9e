"""Statistics that keep values of single samples; only the first samples are kept to bound the memory."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad
from typing_extensions import Self

from secateurs.observe.statistics import Statistic, present, rows, wide


class FirstSamples(Statistic):
    """Values per unit for each of the first samples.

    Attributes:
        values: [samples, units, ...]; None without data, or if the activations have no such values.
    """

    LARGEST: ClassVar[int]
    """The largest number of samples that are kept."""

    def __init__(self, values: Tensor | None = None):
        self.values = values

    @classmethod
    @abstractmethod
    def values_of(cls, x: Tensor, lengths: Tensor | None = None) -> Tensor | None:
        """The values for activations [samples, units, ...]; None if they have no such values. See `Statistic.of`."""

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor | None = None) -> Self:
        """The statistic of the first samples of a batch."""
        return cls(cls.values_of(x[: cls.LARGEST], None if lengths is None else lengths[: cls.LARGEST]))

    def merge(self, other: Self) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Join the samples of both statistics, in this order."""
        if self.values is None or other.values is None:
            return other if self.values is None else self
        return type(self)(torch.cat([self.values, other.values])[: self.LARGEST])

    def state(self) -> dict[str, Any]:
        """`values`."""
        return {"values": self.values}


class Pooled(FirstSamples):
    """The mean over positions, z: float32 or better [samples, units]."""

    LARGEST = 4096

    @classmethod
    def values_of(cls, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Means over positions."""
        if lengths is None:
            return wide(rows(x)).mean(2)
        return wide(rows(x)).sum(2) / present(x, lengths).sum(2)

    @classmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """One number per sample and unit."""
        return 4 * min(samples, cls.LARGEST) * units


class Sampled(FirstSamples):
    """Values at a few positions that are evenly spaced over each sample: float32 or better [samples, units, positions].

    Missing positions of shorter samples are NaN.
    """

    LARGEST = 256
    POSITIONS = 64
    """The largest number of positions that are kept."""

    @classmethod
    def values_of(cls, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The values at evenly spaced positions."""
        if lengths is None:
            x = rows(x)
            chosen = torch.linspace(0, x.shape[2] - 1, min(x.shape[2], cls.POSITIONS), device=x.device).round().long()
            return wide(x[:, :, chosen])
        samples = [cls.values_of(x[i : i + 1, :, :length]) for i, length in enumerate(lengths.tolist())]
        positions = max(values.shape[2] for values in samples)
        return torch.cat([_filled(values, positions) for values in samples])

    def merge(self, other: Self) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Join the samples of both statistics, in this order."""
        if self.values is None or other.values is None:
            return super().merge(other)
        positions = max(self.values.shape[2], other.values.shape[2])
        both = torch.cat([_filled(self.values, positions), _filled(other.values, positions)])
        return type(self)(both[: self.LARGEST])

    @classmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """One number per sample, unit and position."""
        return 4 * min(samples, cls.LARGEST) * units * min(positions, cls.POSITIONS)


def _filled(values: Tensor, positions: int) -> Tensor:
    """Values [samples, units, positions], extended with NaN to this number of positions."""
    return pad(values, (0, positions - values.shape[2]), value=torch.nan)
