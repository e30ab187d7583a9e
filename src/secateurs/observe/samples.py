"""Activations of single samples, as few of them as will do."""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad
from typing_extensions import Self

from secateurs.observe.statistics import Statistic, present, rows, wide


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
    def values_of(cls, x: Tensor, lengths: Tensor | None = None) -> Tensor | None:
        """The numbers for activations [samples, units, ...], or None if they have none; see `of`."""

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor | None = None) -> Self:
        """The first samples."""
        return cls(cls.values_of(x[: cls.LARGEST], None if lengths is None else lengths[: cls.LARGEST]))

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
    """Values at a few positions, evenly spaced: float32 or better [samples, units, positions].

    They are spaced over what each sample has. NaN takes the place of those that a sample with fewer positions lacks.
    """

    LARGEST = 256
    POSITIONS = 64
    """No more positions are kept than these."""

    @classmethod
    def values_of(cls, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Values at these positions."""
        if lengths is None:
            x = rows(x)
            chosen = torch.linspace(0, x.shape[2] - 1, min(x.shape[2], cls.POSITIONS), device=x.device).round().long()
            return wide(x[:, :, chosen])
        found = [cls.values_of(x[i : i + 1, :, :length]) for i, length in enumerate(lengths.tolist())]
        most = max(its.shape[2] for its in found)
        return torch.cat([_filled(its, most) for its in found])

    def merge(self, other: Self) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The samples of both, this one's first."""
        if self.values is None or other.values is None:
            return super().merge(other)
        most = max(self.values.shape[2], other.values.shape[2])
        return type(self)(torch.cat([_filled(self.values, most), _filled(other.values, most)])[: self.LARGEST])

    @classmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """One number per sample, unit and position."""
        return 4 * min(samples, cls.LARGEST) * units * min(positions, cls.POSITIONS)


def _filled(values: Tensor, positions: int) -> Tensor:
    return pad(values, (0, positions - values.shape[2]), value=torch.nan)
