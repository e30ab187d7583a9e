"""Statistics of whole feature maps. They cost far more than a forward pass, so only the first samples are used."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import Self

from secateurs.observe.samples import FirstSamples
from secateurs.observe.statistics import rows, wide


class MapStatistic(FirstSamples):
    """One number per sample and unit, [samples, units]; None if the units have no feature maps."""

    shareable = False
    LARGEST = 64

    def extended(self, x: Tensor, lengths: Tensor | None = None) -> Self:
        """Add samples until `LARGEST` samples are kept."""
        missing = self.LARGEST - (0 if self.values is None else len(self.values))
        if missing <= 0:
            return self
        return super().extended(x[:missing], None if lengths is None else lengths[:missing])

    @classmethod
    def size(cls, samples: int, units: int, positions: int) -> int:
        """One number per sample and unit."""
        return 8 * min(samples, cls.LARGEST) * units


class MapRanks(MapStatistic):
    """The matrix rank of the feature map of each unit."""

    @classmethod
    def values_of(cls, x: Tensor, lengths: Tensor | None = None) -> Tensor | None:
        """The ranks [samples, units] of maps [samples, units, height, width]; padding of zeros has no effect."""
        return torch.linalg.matrix_rank(wide(x)) if x.ndim == 4 else None


class NuclearDrops(MapStatistic):
    """The decrease of the nuclear norm of a sample's [units, positions] when the row of one unit is set to zero."""

    @classmethod
    def values_of(cls, x: Tensor, lengths: Tensor | None = None) -> Tensor | None:
        """The decreases, float64 [samples, units], for activations [samples, units, ...] with several positions.

        Padding of zeros has no effect.
        """
        return torch.stack([_drops(sample) for sample in rows(x).double()]) if x.ndim > 2 else None


def _drops(a: Tensor) -> Tensor:
    """The decreases [units] for one sample [units, positions], from the smaller of the two Gram matrices."""
    units, positions = a.shape
    all_but_one = ~torch.eye(units, dtype=torch.bool, device=a.device)
    if units <= positions:
        gram = a @ a.T
        remaining = [_nuclear_norm(gram[keep][:, keep]) for keep in all_but_one]
    else:
        gram = a.T @ a
        remaining = [_nuclear_norm(gram - torch.outer(row, row)) for row in a]
    return _nuclear_norm(gram) - torch.stack(remaining)


def _nuclear_norm(gram: Tensor) -> Tensor:
    """The nuclear norm of a matrix, from its Gram matrix."""
    return torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().sum()
