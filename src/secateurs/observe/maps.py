"""Statistics of whole feature maps, which cost far more than a forward pass: only the first samples are looked at."""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from secateurs.observe.statistics import Statistic, rows, wide


class MapStatistic(Statistic):
    """The sum over samples of a number per unit.

    Attributes:
        samples: how many were looked at.
        sums: float64 [units]; None where units have no maps.
    """

    shareable = False
    LARGEST = 64
    """No more samples of one process are looked at than this."""

    def __init__(self, samples: int = 0, sums: Tensor | None = None):
        self.samples = samples
        self.sums = sums

    @staticmethod
    @abstractmethod
    def sums_of(x: Tensor) -> Tensor | None:
        """The sum over the samples of x [samples, units, ...] of a number per unit, or None if they have no maps."""

    def update(self, x: Tensor) -> None:
        """Look at as many samples as are still wanted."""
        x = x[: max(self.LARGEST - self.samples, 0)]
        if len(x) and (sums := self.sums_of(wide(x))) is not None:
            merged = self.merge(type(self)(len(x), sums.double()))
            self.samples, self.sums = merged.samples, merged.sums

    def merge(self, other: Self) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Sums add up."""
        if self.sums is None or other.sums is None:
            return copy(other if self.sums is None else self)
        return type(self)(self.samples + other.samples, self.sums + other.sums)

    def state(self) -> dict[str, Any]:
        """`samples` and `sums`."""
        return {"samples": self.samples, "sums": self.sums}

    @staticmethod
    def size(samples: int, units: int, positions: int) -> int:
        """One number per unit."""
        return 8 * units


class MapRanks(MapStatistic):
    """The rank of each unit's map, a matrix of rows and columns."""

    @staticmethod
    def sums_of(x: Tensor) -> Tensor | None:
        """Ranks of maps [samples, units, height, width]."""
        return torch.linalg.matrix_rank(x).sum(0) if x.ndim == 4 else None


class NuclearDrops(MapStatistic):
    """By how much the nuclear norm of [units, positions] falls when the row of one unit is set to zero."""

    @staticmethod
    def sums_of(x: Tensor) -> Tensor | None:
        """Drops of activations [samples, units, ...] with more than one position."""
        if x.ndim < 3:
            return None
        return torch.stack([_drops(sample) for sample in rows(x).double()]).sum(0)


def _drops(a: Tensor) -> Tensor:
    """Without row c, a Gram matrix loses that row and column, or the outer product of that row with itself."""
    units, positions = a.shape
    others = ~torch.eye(units, dtype=torch.bool, device=a.device)
    if units <= positions:
        gram = a @ a.T
        left = [_nuclear(gram[keep][:, keep]) for keep in others]
    else:
        gram = a.T @ a
        left = [_nuclear(gram - torch.outer(row, row)) for row in a]
    return _nuclear(gram) - torch.stack(left)


def _nuclear(gram: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().sum()
