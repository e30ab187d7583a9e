"""Activations of single samples, as few of them as will do."""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from torch import Tensor

from secateurs.errors import DataError
from secateurs.observe.statistics import Statistic, rows, wide


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
        self.values = self.merge(Pooled(wide(rows(x[: self.LARGEST])).mean(2))).values

    def merge(self, other: Pooled) -> Pooled:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The samples of both, this one's first."""
        if self.values is None or other.values is None:
            return copy(other if self.values is None else self)
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
            return copy(other if self.values is None else self)
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
