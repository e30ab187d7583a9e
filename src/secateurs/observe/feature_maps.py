"""Statistics of whole feature maps, which cost far more than a forward pass: only the first samples are looked at."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.observe.samples import FirstSamples
from secateurs.observe.statistics import rows, wide


class MapStatistic(FirstSamples):
    """A number per sample and unit, [samples, units]; None where units have no maps."""

    shareable = False
    LARGEST = 64

    def update(self, x: Tensor, lengths: Tensor | None = None) -> None:
        """Look at as many samples as are still wanted."""
        wanted = self.LARGEST - (0 if self.values is None else len(self.values))
        if wanted > 0:
            super().update(x[:wanted], None if lengths is None else lengths[:wanted])

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
    """By how much the nuclear norm of [units, positions] falls when the row of one unit is set to zero."""

    @classmethod
    def values_of(cls, x: Tensor, lengths: Tensor | None = None) -> Tensor | None:
        """Drops of activations [samples, units, ...] with more than one position, float64; zeros add nothing."""
        return torch.stack([_drops(sample) for sample in rows(x).double()]) if x.ndim > 2 else None


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
