"""A chain of residual layers with hidden units, so that both layers and units can be removed."""

import torch
from torch import nn


class HiddenBlock(nn.Module):
    """A residual layer with eight hidden units and an index."""

    def __init__(self, index):
        super().__init__()
        self.into, self.out, self.index = nn.Linear(6, 8), nn.Linear(8, 6), index

    def forward(self, x):
        return x + self.out(self.into(x).relu())


class HiddenChain(nn.Module):
    """Residual layers in a list."""

    def __init__(self, depth):
        super().__init__()
        self.blocks = nn.ModuleList(map(HiddenBlock, range(10, 10 + depth)))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def hidden_chain(depth=4):
    """A chain with the same weights each time."""
    torch.manual_seed(0)
    return HiddenChain(depth)
