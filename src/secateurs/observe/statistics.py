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

    `merge` is associative, so batches, resumed runs and ranks are all the same operation.
    """

    @abstractmethod
    def update(self, x: Tensor) -> None:
        """Take in activations [samples, units, ...], the other dimensions being positions."""

    @abstractmethod
    def merge(self, other: Self) -> Self:
        """The statistic of both data together."""

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
        """Count the positive entries.

        Raises:
            DataError: the number of positions differs from that of earlier batches.
        """
        merged = self.merge(FiringCounts(len(x), torch.count_nonzero(rows(x) > 0, dim=0)))
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

    @staticmethod
    def size(samples: int, units: int, positions: int) -> int:
        """One integer per unit and position."""
        return 8 * units * positions


class Totals(Statistic):
    """Sums over samples and positions, in float64.

    Attributes:
        rows: number of values summed per unit.
        sums: [3, units]: of the values, of their magnitudes, of their squares.
    """

    def __init__(self, rows: int = 0, sums: Tensor | None = None):
        self.rows = rows
        self.sums = sums

    def update(self, x: Tensor) -> None:
        """Add up."""
        x = wide(rows(x))
        dims, last = (0, 2), x.shape[0] * x.shape[2]
        sums = torch.stack([x.sum(dims, dtype=torch.float64), _magnitudes(x), x.square().sum(dims)])
        merged = self.merge(Totals(last, sums.double()))
        self.rows, self.sums = merged.rows, merged.sums

    def merge(self, other: Totals) -> Totals:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Sums add up."""
        if self.sums is None or other.sums is None:
            return other if self.sums is None else self
        return Totals(self.rows + other.rows, self.sums + other.sums)

    @property
    def mean(self) -> Tensor:
        """Mean value per unit, float64 [units]."""
        return self._sums[0] / self.rows

    @property
    def mean_magnitude(self) -> Tensor:
        """Mean magnitude per unit, float64 [units]."""
        return self._sums[1] / self.rows

    @property
    def mean_square(self) -> Tensor:
        """Mean square per unit, float64 [units]."""
        return self._sums[2] / self.rows

    @property
    def variance(self) -> Tensor:
        """Variance per unit (with the number of values as divisor), float64 [units]."""
        return (self.mean_square - self.mean.square()).clamp(min=0)

    @property
    def _sums(self) -> Tensor:
        assert self.sums is not None, "observe() feeds every statistic or raises"
        return self.sums

    def state(self) -> dict[str, Any]:
        """`rows` and `sums`."""
        return {"rows": self.rows, "sums": self.sums}

    @staticmethod
    def size(samples: int, units: int, positions: int) -> int:
        """Three numbers per unit."""
        return 24 * units


def _magnitudes(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, 1, dim=(0, 2))


class Pooled(Statistic):
    """The mean over positions of each unit for each sample, of the first samples that it sees.

    Attributes:
        values: z, float32 or better [samples, units].
    """

    LARGEST = 4096
    """No more samples are kept than this, so that memory is bounded."""

    def __init__(self, values: Tensor | None = None):
        self.values = values

    def update(self, x: Tensor) -> None:
        """Append the samples."""
        self.values = self.merge(Pooled(wide(rows(x)).mean(2))).values

    def merge(self, other: Pooled) -> Pooled:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The samples of both, this one's first."""
        if self.values is None or other.values is None:
            return other if self.values is None else self
        return Pooled(torch.cat([self.values, other.values])[: self.LARGEST])

    def state(self) -> dict[str, Any]:
        """`values`."""
        return {"values": self.values}

    @staticmethod
    def size(samples: int, units: int, positions: int) -> int:
        """One number per sample and unit."""
        return 4 * min(samples, Pooled.LARGEST) * units


class Sampled(Statistic):
    """Values at a few positions, evenly spaced, of the first samples that it sees.

    Attributes:
        values: float32 or better [samples, units, positions].
    """

    LARGEST = 256
    POSITIONS = 64
    """No more samples and positions are kept than these, so that memory is bounded."""

    def __init__(self, values: Tensor | None = None):
        self.values = values

    def update(self, x: Tensor) -> None:
        """Append the samples.

        Raises:
            DataError: the number of positions differs from that of earlier batches.
        """
        x = rows(x)
        chosen = torch.linspace(0, x.shape[2] - 1, min(x.shape[2], self.POSITIONS), device=x.device).round().long()
        self.values = self.merge(Sampled(wide(x[: self.LARGEST, :, chosen]))).values

    def merge(self, other: Sampled) -> Sampled:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The samples of both, this one's first."""
        if self.values is None or other.values is None:
            return other if self.values is None else self
        if self.values.shape[2] != other.values.shape[2]:
            raise DataError(
                f"all inputs must have one size: {self.values.shape[2]} positions per unit became "
                f"{other.values.shape[2]}; resize or pad the inputs"
            )
        return Sampled(torch.cat([self.values, other.values])[: self.LARGEST])

    def state(self) -> dict[str, Any]:
        """`values`."""
        return {"values": self.values}

    @staticmethod
    def size(samples: int, units: int, positions: int) -> int:
        """One number per sample, unit and position."""
        return 4 * min(samples, Sampled.LARGEST) * units * min(positions, Sampled.POSITIONS)


class Moments(Statistic):
    """Second moments of the units and the constant 1, over samples and positions, in float64.

    Attributes:
        rows: number of vectors summed.
        products: sums of products, float64 [units + 1, units + 1]; the constant comes last.
    """

    def __init__(self, rows: int = 0, products: Tensor | None = None):
        self.rows = rows
        self.products = products

    def update(self, x: Tensor) -> None:
        """Add the products of every two units."""
        x = wide(rows(x)).movedim(1, 0).flatten(1)
        products = x.new_empty(len(x) + 1, len(x) + 1, dtype=torch.float64)
        products[:-1, :-1] = x @ x.T
        products[-1, :-1] = products[:-1, -1] = x.sum(1, dtype=torch.float64)
        products[-1, -1] = x.shape[1]
        merged = self.merge(Moments(x.shape[1], products))
        self.rows, self.products = merged.rows, merged.products

    def merge(self, other: Moments) -> Moments:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Sums add up."""
        if self.products is None or other.products is None:
            return other if self.products is None else self
        return Moments(self.rows + other.rows, self.products + other.products)

    @property
    def mean(self) -> Tensor:
        """Mean products, float64 [units + 1, units + 1]."""
        assert self.products is not None, "observe() feeds every statistic or raises"
        return self.products / self.rows

    def state(self) -> dict[str, Any]:
        """`rows` and `products`."""
        return {"rows": self.rows, "products": self.products}

    @staticmethod
    def size(samples: int, units: int, positions: int) -> int:
        """One number per pair of units."""
        return 8 * (units + 1) ** 2
