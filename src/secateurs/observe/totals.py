"""Statistics that are sums over samples: counts of positive values, means and variances, and second moments."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from typing_extensions import Self

from secateurs.errors import DataError
from secateurs.observe.statistics import Statistic, present, rows, wide


class FiringCounts(Statistic):
    """The number of samples for which each unit is positive, at each position.

    Samples may differ in length along the first position dimension. Positions are numbered from the first position of
    a sample that is not padding.

    Attributes:
        samples: the number of samples that have each position, int64 [first positions, other positions]; None without
            data.
        counts: the number of samples with a positive value, int64 [units, first positions, other positions]; None
            without data.
    """

    def __init__(self, samples: Tensor | None = None, counts: Tensor | None = None):
        self.samples = samples
        self.counts = counts

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor | None = None) -> Self:
        """Count the positive entries."""
        first = x.shape[2] if x.ndim > 2 else 1
        x = x.reshape(*x.shape[:2], first, -1)
        positive = torch.gt(x, 0, out=torch.empty_like(x, dtype=torch.float32))  # numbers add up faster than booleans
        counts = positive.sum(0).long()
        samples = torch.full_like(counts[0], len(x))
        if lengths is not None:
            samples = present(x, lengths).sum((0, 1)).reshape(samples.shape)
        return cls(samples, counts)

    def merge(self, other: FiringCounts) -> FiringCounts:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Add the counts.

        Raises:
            DataError: the feature maps differ in width.
        """
        if self.samples is None or self.counts is None or other.samples is None or other.counts is None:
            return other if self.counts is None else self
        if self.counts.shape[2] != other.counts.shape[2]:
            raise DataError(
                f"all inputs must have one size, but feature maps have rows of {self.counts.shape[2]} and of "
                f"{other.counts.shape[2]} positions; resize or pad the inputs"
            )
        return FiringCounts(_sum(self.samples, other.samples), _sum(self.counts, other.counts))

    def state(self) -> dict[str, Any]:
        """`samples` and `counts`."""
        return {"samples": self.samples, "counts": self.counts}

    @classmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """One integer per unit and position, and one per position."""
        return 8 * (units + 1) * positions


def _sum(first: Tensor, second: Tensor) -> Tensor:
    """Add two tensors [..., rows, columns]; the tensor with fewer rows is extended with zeros."""
    long, short = (first, second) if first.shape[-2] >= second.shape[-2] else (second, first)
    return long + pad(short, (0, 0, 0, long.shape[-2] - short.shape[-2]))


class Totals(Statistic):
    """Means and variances over samples and positions, in float64.

    Squared deviations are taken from the mean of each batch and merged by the formulas of Chan, Golub & LeVeque (1983).
    So a small variance next to a large mean does not get lost in rounding errors.

    Attributes:
        rows: the number of values per unit.
        mean: the mean of the values [units].
        mean_magnitude: the mean of the magnitudes [units].
        deviations: the sum of the squared deviations from the mean [units].
    """

    def __init__(
        self,
        rows: int = 0,
        mean: Tensor | None = None,
        mean_magnitude: Tensor | None = None,
        deviations: Tensor | None = None,
    ):
        zero = torch.zeros(())
        self.rows = rows
        self.mean = zero if mean is None else mean
        self.mean_magnitude = zero if mean_magnitude is None else mean_magnitude
        self.deviations = zero if deviations is None else deviations

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor | None = None) -> Self:
        """Means and deviations of one batch."""
        counted = None if lengths is None else present(x, lengths)
        x = wide(rows(x))
        number = x.shape[0] * x.shape[2] if counted is None else int(counted.sum())
        divisor = max(number, 1)  # an expert may get no row of the batch
        mean = x.sum((0, 2)) / divisor
        centre = mean[:, None] if counted is None else mean[:, None] * counted
        deviations = (x - centre).square_().sum((0, 2))
        return cls(number, mean.double(), (x.abs().sum((0, 2)) / divisor).double(), deviations.double())

    def merge(self, other: Totals) -> Totals:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Average the means with the numbers of values as weights, and add the deviations from the joint mean."""
        if not self.rows or not other.rows:
            return self if self.rows else other
        total = self.rows + other.rows
        share, difference = other.rows / total, other.mean - self.mean
        return Totals(
            total,
            self.mean + share * difference,
            self.mean_magnitude + share * (other.mean_magnitude - self.mean_magnitude),
            self.deviations + other.deviations + self.rows * share * difference.square(),
        )

    @property
    def variance(self) -> Tensor:
        """Variance per unit, with the number of values as divisor: float64 [units]; 0 without data."""
        return self.deviations / max(self.rows, 1)

    @property
    def mean_square(self) -> Tensor:
        """Mean square per unit, float64 [units]."""
        return self.variance + self.mean.square()

    def state(self) -> dict[str, Any]:
        """`rows`, `mean`, `mean_magnitude` and `deviations`."""
        return {
            "rows": self.rows,
            "mean": self.mean,
            "mean_magnitude": self.mean_magnitude,
            "deviations": self.deviations,
        }

    @classmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """Three numbers per unit."""
        return 24 * units


class Moments(Statistic):
    """Second moments of the units and a constant 1, over samples and positions, in float64.

    Attributes:
        rows: the number of summed vectors.
        products: the sums of products, float64 [units + 1, units + 1]; the last row and column belong to the constant.
            None without data.
    """

    def __init__(self, rows: int = 0, products: Tensor | None = None):
        self.rows = rows
        self.products = products

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor | None = None) -> Self:
        """The sums of products of all pairs of units."""
        number = x[:, 0].numel() if lengths is None else int(present(x, lengths).sum())
        x = wide(rows(x)).movedim(1, 0).flatten(1)
        products = x.new_empty(len(x) + 1, len(x) + 1, dtype=torch.float64)
        products[:-1, :-1] = x @ x.T
        products[-1, :-1] = products[:-1, -1] = x.sum(1, dtype=torch.float64)
        products[-1, -1] = number
        return cls(number, products)

    def merge(self, other: Moments) -> Moments:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Add the sums."""
        if self.products is None or other.products is None:
            return other if self.products is None else self
        return Moments(self.rows + other.rows, self.products + other.products)

    @property
    def mean(self) -> Tensor:
        """Mean products, float64 [units + 1, units + 1]."""
        assert self.products is not None, "observe() feeds every statistic or raises"
        return self.products / max(self.rows, 1)

    def state(self) -> dict[str, Any]:
        """`rows` and `products`."""
        return {"rows": self.rows, "products": self.products}

    @classmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """One number per pair of units."""
        return 8 * (units + 1) ** 2
