"""The input patches of a convolution: the values that each output position is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import pad

MOST = 256
"""The largest number of patches per sample; for larger feature maps, evenly spaced patches are used."""


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution that is not transposed.

    Attributes:
        kernel: the size of the kernel in each spatial dimension.
        stride: the stride in each spatial dimension.
        padding: the padding on both sides of each spatial dimension.
        dilation: the dilation in each spatial dimension.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def taps(self) -> int:
        """The number of kernel entries per channel."""
        return prod(self.kernel)

    def patches(self, x: Tensor) -> Tensor:
        """Extract the patches [samples, channels × taps, positions] of an input [samples, channels, ...]."""
        x = pad(x, [side for width in reversed(self.padding) for side in (width, width)])
        geometry = zip(self.kernel, self.stride, self.dilation, strict=True)
        for dim, (size, stride, dilation) in enumerate(geometry, 2):
            x = x.unfold(dim, dilation * (size - 1) + 1, stride)[..., ::dilation]
        dims = len(self.kernel)
        grid = x.shape[2 : 2 + dims]
        if prod(grid) > MOST:
            chosen = torch.linspace(0, prod(grid) - 1, MOST, device=x.device).round().long()
            x = x[(slice(None), slice(None), *torch.unravel_index(chosen, grid))]
        else:
            x = x.flatten(2, 1 + dims)
        return x.movedim(2, -1).flatten(1, -2)


def window(kernel: list[int], *geometry: list[int]) -> Window:
    """Create the window of a convolution from operator arguments.

    Args:
        kernel: the size of the kernel, per dimension.
        geometry: stride, padding and dilation; one number for all dimensions, or one per dimension.
    """
    return Window(tuple(kernel), *((tuple(numbers) * len(kernel))[: len(kernel)] for numbers in geometry))
