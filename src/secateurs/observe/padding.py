"""Padding, which counts in no statistic: taken out where it leads, zero where it follows."""

from __future__ import annotations

import torch
from torch import Tensor

from secateurs.structure import ObservedUnits


def without_padding(seen: ObservedUnits) -> tuple[Tensor, Tensor | None]:
    """Units from each sample's first position on that is no padding, and how many of these there are.

    Returns:
        x: [samples, units, ...] of which the first position dimension is as long as the longest sample; zero beyond the
            end of a sample.
        lengths: of the samples, int64 [samples]; None if they are all equal.
    """
    x, counted = seen
    if counted is None or counted.all():
        return x, None
    lengths = counted.sum(1)
    longest = int(lengths.max())
    has = torch.arange(longest, device=x.device) < lengths[:, None]
    if not torch.equal(counted[:, :longest], has):
        order = counted.int().sort(dim=1, descending=True, stable=True).indices[:, :longest]
        x = torch.take_along_dim(x, _aligned(order, x), 2)
    x = x[:, :, :longest]
    return (x, None) if has.all() else (x.masked_fill(~_aligned(has, x), 0), lengths)


def _aligned(marks: Tensor, x: Tensor) -> Tensor:
    """[samples, positions] as [samples, 1, positions, 1...]."""
    return marks.reshape(len(marks), 1, -1, *[1] * (x.ndim - 3))
