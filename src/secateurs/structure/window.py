"""The patches of a convolution's input: the values that each output position is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import pad

MOST = 256
"""The largest number of positions per sample that are looked at; of larger maps, evenly spaced ones."""


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution that is not transposed, one number per spatial dimension."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def taps(self) -> int:
        """The number of entries of a channel that one output position depends on."""
        return prod(self.kernel)

    def patches(self, x: Tensor) -> Tensor:
        """The patches [samples, channels × taps, positions] of an input [samples, channels, ...]."""
        x = pad(x, [side for width in reversed(self.padding) for side in (width, width)])
        geometry = zip(self.kernel, self.stride, self.dilation, strict=True)
        for dim, (size, stride, dilation) in enumerate(geometry, 2):
            x = x.unfold(dim, dilation * (size - 1) + 1, stride)[..., ::dilation]
        places = len(self.kernel)
        grid = x.shape[2 : 2 + places]
        if prod(grid) > MOST:
            chosen = torch.linspace(0, prod(grid) - 1, MOST, device=x.device).round().long()
            x = x[(slice(None), slice(None), *torch.unravel_index(chosen, grid))]
        else:
            x = x.flatten(2, 1 + places)
        return x.movedim(2, -1).flatten(1, -2)


def window(kernel: list[int], *geometry: list[int]) -> Window:
    """The window of a convolution.

    Args:
        kernel: the size of the kernel, per dimension.
        geometry: stride, padding and dilation; one number for all dimensions, or one per dimension.
    """
    return Window(tuple(kernel), *((tuple(numbers) * len(kernel))[: len(kernel)] for numbers in geometry))
