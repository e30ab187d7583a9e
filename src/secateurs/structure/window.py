"""What a convolution's kernel looks at: the patch of its input that each output position is made of."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import pad

MOST = 256
"""Of larger maps, no more positions of each sample are looked at, evenly spaced."""


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution that is not transposed, one number per spatial dimension."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def taps(self) -> int:
        """How many entries of a channel one output position sees."""
        return prod(self.kernel)

    def patches(self, x: Tensor) -> Tensor:
        """What output positions see: [samples, channels × taps, positions] of an input [samples, channels, ...]."""
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
    """The window of an operator's arguments: stride, padding and dilation, each for all dimensions or for one each."""
    return Window(tuple(kernel), *((tuple(its) * len(kernel))[: len(kernel)] for its in geometry))
