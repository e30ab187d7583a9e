"""Padding counts in no statistic: it is removed at the start of a sample, and set to zero at the end."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.structure import ObservedUnits


def without_padding(seen: ObservedUnits) -> tuple[Tensor, Tensor | None]:
    """Units from each sample's first position on that is not padding, and the number of these positions.

    Returns:
        x: [samples, units, ...]; the first position dimension is as long as the longest sample, and zero beyond the end
            of a sample.
        lengths: of the samples, int64 [samples]; None if all are equal.
    """
    x, counted = seen
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
