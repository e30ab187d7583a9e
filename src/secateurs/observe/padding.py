"""Remove padding from observed units, so that no statistic contains it."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.structure import ObservedUnits


def without_padding(observed: ObservedUnits) -> tuple[Tensor, Tensor | None]:
    """Move the positions that are not padding to the start of each sample, and set the rest to zero.

    Args:
        observed: the units, and the positions that are not padding.

    Returns:
        The units [samples, units, ...], where the first position dimension is as long as the longest sample; and the
        number of positions of each sample, int64 [samples], or None if all samples have the same length.
    """
    x, counted = observed
    if counted is None or counted.all():
        return x, None
    lengths = counted.sum(1)
    longest = int(lengths.max())
    present = torch.arange(longest, device=x.device) < lengths[:, None]
    if not torch.equal(counted[:, :longest], present):
        order = counted.int().sort(dim=1, descending=True, stable=True).indices[:, :longest]
        x = torch.take_along_dim(x, _aligned(order, x), 2)
    x = x[:, :, :longest]
    return (x, None) if present.all() else (x.masked_fill(~_aligned(present, x), 0), lengths)


def _aligned(marks: Tensor, x: Tensor) -> Tensor:
    """[samples, positions] as [samples, 1, positions, 1...]."""
    return marks.reshape(len(marks), 1, -1, *[1] * (x.ndim - 3))
