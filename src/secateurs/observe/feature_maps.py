"""Statistics of whole feature maps, which cost far more than a forward pass: only the first samples are used."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Self

from secateurs.observe.samples import FirstSamples
from secateurs.observe.statistics import rows, wide


class MapStatistic(FirstSamples):
    """A number per sample and unit, [samples, units]; None where units have no maps."""

    shareable = False
    LARGEST = 64

    def extended(self, x: Tensor, lengths: Tensor | None = None) -> Self:
        """The statistic of the samples so far and of as many more as are still kept."""
        missing = self.LARGEST - (0 if self.values is None else len(self.values))
        if missing <= 0:
            return self
        return super().extended(x[:missing], None if lengths is None else lengths[:missing])

    @classmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """One number per sample and unit."""
        return 8 * min(samples, cls.LARGEST) * units


class MapRanks(MapStatistic):
    """The rank of each unit's map, a matrix of rows and columns."""

    @classmethod
    def values_of(cls, x: Tensor, lengths: Tensor | None = None) -> Tensor | None:
        """Ranks of maps [samples, units, height, width]; rows of zeros add nothing."""
        return torch.linalg.matrix_rank(wide(x)) if x.ndim == 4 else None


class NuclearDrops(MapStatistic):
    """The drop of the nuclear norm of [units, positions] when the row of one unit is set to zero."""

    @classmethod
    def values_of(cls, x: Tensor, lengths: Tensor | None = None) -> Tensor | None:
        """Drops of activations [samples, units, ...] with more than one position, float64; zeros add nothing."""
        return torch.stack([_drops(sample) for sample in rows(x).double()]) if x.ndim > 2 else None


def _drops(a: Tensor) -> Tensor:
    """Without row c, a Gram matrix loses that row and column, or the outer product of that row with itself."""
    units, positions = a.shape
    all_but_one = ~torch.eye(units, dtype=torch.bool, device=a.device)
    if units <= positions:
        gram = a @ a.T
        remaining = [_nuclear(gram[keep][:, keep]) for keep in all_but_one]
    else:
        gram = a.T @ a
        remaining = [_nuclear(gram - torch.outer(row, row)) for row in a]
    return _nuclear(gram) - torch.stack(remaining)


def _nuclear(gram: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().sum()
